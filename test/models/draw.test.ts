import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits } from '../../models/digits.ts'
import { allTiles, alwaysChecked, detection, outputTiles, selectTiles } from '../../models/draw.ts'
import type { Manifest } from '../../models/manifest.ts'
import { opTiles } from '../../models/tiling.ts'
import { randomModel } from './random-model.ts'

const { manifest: digits } = loadDigits()

/** A fast generator for simulations; the real one is seededRandomness of protocol/draw.ts. */
function simulated(seed: number): (domain: string, bound: number) => number {
  let state = seed >>> 0
  return (_, bound) => {
    state = (state + 0x9e3779b9) >>> 0
    let t = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    t = Math.imul(t ^ (t >>> 15), 0x735a2d97)
    return Math.floor((((t ^ (t >>> 15)) >>> 0) / 2 ** 32) * bound)
  }
}

test('small ops and the last linear op are always selected whole', () => {
  const always = alwaysChecked(digits)
  assert.equal(always, [false, false, false, false, true, true])
  const selected = selectTiles(digits, simulated(1), 0)
  assert.equal(selected, [
    { op: 4, tile: 0 },
    { op: 4, tile: 1 },
    { op: 5, tile: 0 },
    { op: 5, tile: 1 },
  ])
})

test('a selection is sorted, without duplicates, inside the graph, and asks for the domains the spec names', () => {
  for (let seed = 0; seed < 50; seed++) {
    const { manifest } = randomModel(seed)
    const domains: string[] = []
    const random = simulated(seed)
    const selected = selectTiles(
      manifest,
      (domain, bound) => {
        domains.push(domain)
        return random(domain, bound)
      },
      5,
    )
    const keys = selected.map(({ op, tile }) => op * 1e6 + tile)
    assert.equal(
      keys,
      [...new Set(keys)].sort((a, b) => a - b),
    )
    for (const { op, tile } of selected) assert.ok(tile >= 0 && tile < opTiles(manifest, manifest.ops[op]!))
    assert.equal(domains, ['tile/0', 'tile/1', 'tile/2', 'op/3', 'op/3/tile', 'op/4', 'op/4/tile'])
  }
})

test('full selects every tile, and every output tile is compared', () => {
  assert.is(allTiles(digits).length, digits.tiles)
  assert.equal(outputTiles(digits), [{ output: 0, tile: 0 }])
})

/** Measured share of selections that contain some of `bad`. */
function measured(manifest: Manifest, s: number, bad: (op: number, tile: number) => boolean, runs: number): number {
  const random = simulated(s * 7919)
  let caught = 0
  for (let run = 0; run < runs; run++)
    if (selectTiles(manifest, random, s).some(({ op, tile }) => bad(op, tile))) caught++
  return caught / runs
}

test('the stated odds are those of the selection, measured over 30,000 draws for every op and tile', () => {
  const runs = 30_000
  for (const s of [1, 2, 4, 8]) {
    const stated = detection(digits, s)
    let worstOp = 1
    let worstTile = 1
    digits.ops.forEach((_, index) => {
      worstOp = Math.min(
        worstOp,
        measured(digits, s, (op) => op === index, runs),
      )
      worstTile = Math.min(
        worstTile,
        measured(digits, s, (op, tile) => op === index && tile === 0, runs),
      )
    })
    // Four standard deviations of a measured share.
    const slack = 4 * Math.sqrt(0.25 / runs)
    assert.ok(Math.abs(worstOp - stated.d1) < slack, `s ${s}: d1 stated ${stated.d1}, measured ${worstOp}`)
    assert.ok(Math.abs(worstTile - stated.d2) < slack, `s ${s}: d2 stated ${stated.d2}, measured ${worstTile}`)
    console.log(
      `s ${s}: d1 ${stated.d1} (measured ${worstOp.toFixed(4)}), d2 ${stated.d2} (measured ${worstTile.toFixed(4)})`,
    )
  }
})

test('odds are rounded down, grow with s, and are 1 where everything is always checked', () => {
  let last = { d1: 0, d2: 0 }
  for (let s = 0; s <= 64; s++) {
    const now = detection(digits, s)
    assert.ok(now.d1 >= last.d1 && now.d2 >= last.d2 && now.d2 <= now.d1 && now.d1 < 1)
    assert.is(Math.round(now.d1 * 1e6) / 1e6, now.d1)
    last = now
  }
  assert.equal(detection(digits, 0), { d1: 0, d2: 0 })
  // One draw over T = 40 tiles: 6/40 and 1/40, cut off after six decimals.
  assert.equal(detection(digits, 1), { d1: 0.15, d2: 0.025 })
  const small: Manifest = { ...digits, ops: digits.ops.slice(4), tiles: 4, layers: 2 }
  assert.equal(detection(small, 0), { d1: 1, d2: 1 })
})

test.run()
