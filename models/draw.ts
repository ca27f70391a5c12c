import type { Randomness } from '../protocol/draw.ts'
import type { Manifest } from './manifest.ts'
import { elementCount, leavesFor, opTiles } from './tiling.ts'

/** Ops with at most this many tiles are always checked whole. */
export const FEW_TILES = 2
/** The last linear op is always checked whole while it has at most this many tiles. */
export const LAST_OP_TILES = 16

export type SelectedTile = { op: number; tile: number }

/** Per op: whether all its tiles are checked in every drawn job. */
export function alwaysChecked(manifest: Manifest): boolean[] {
  const last = manifest.ops.findLastIndex((op) => op.kind === 'linear')
  return manifest.ops.map((op, index) => opTiles(manifest, op) <= (index === last ? LAST_OP_TILES : FEW_TILES))
}

/** Draws over all T tiles; the other draws are over the L ops. An odd draw goes to the tiles. */
const tileDraws = (s: number): number => Math.ceil(s / 2)

/**
 * Tiles that a drawn job's attestation must prove (DESIGN §5.4): every tile of the ops that are always checked, then s
 * draws with replacement, the first ⌈s/2⌉ uniform over all T tiles, the rest uniform over the L ops and then over that op's tiles.
 * Sorted by op, then tile, without duplicates. `random` is asked for the domains `tile/i`, or `op/i` and then `op/i/tile`,
 * with i = 0 … s − 1.
 */
export function selectTiles(manifest: Manifest, random: Randomness, s: number): SelectedTile[] {
  const tiles = manifest.ops.map((op) => opTiles(manifest, op))
  const drawn = tiles.map(() => new Set<number>())
  alwaysChecked(manifest).forEach((always, op) => {
    if (always) for (let tile = 0; tile < tiles[op]!; tile++) drawn[op]!.add(tile)
  })
  for (let i = 0; i < s; i++) {
    if (i < tileDraws(s)) {
      let at = random(`tile/${i}`, manifest.tiles)
      let op = 0
      while (at >= tiles[op]!) at -= tiles[op++]!
      drawn[op]!.add(at)
    } else {
      const op = random(`op/${i}`, tiles.length)
      drawn[op]!.add(random(`op/${i}/tile`, tiles[op]!))
    }
  }
  return drawn.flatMap((set, op) => [...set].sort((a, b) => a - b).map((tile) => ({ op, tile })))
}

/** Every tile of every op: the policy `full`. */
export function allTiles(manifest: Manifest): SelectedTile[] {
  return manifest.ops.flatMap((op, index) =>
    Array.from({ length: opTiles(manifest, op) }, (_, tile) => ({ op: index, tile })),
  )
}

/** Every tile of every graph output: each is compared with what was served. `output` indexes the manifest's outputs. */
export function outputTiles(manifest: Manifest): { output: number; tile: number }[] {
  return manifest.outputs.flatMap(({ shape }, output) =>
    Array.from({ length: leavesFor(elementCount(shape)) }, (_, tile) => ({ output, tile })),
  )
}

/** Cut off after six decimals rather than rounded: odds are never stated too high. */
const roundDown = (p: number): number => Math.floor(p * 1e6) / 1e6

/**
 * Odds per drawn job of catching each of the two cheats of DESIGN §5.4 with s draws, rounded down to six decimals.
 * d1: a whole op is broken, the cheat choosing the op that is least likely to be drawn.
 * d2: a single tile is wrong, the cheat choosing the least likely tile.
 * Both are exact for `selectTiles`: draws are independent, so the odds of missing are a product. Ops that are always
 * checked cannot be chosen by the cheat; where there are no others both odds are 1.
 */
export function detection(manifest: Manifest, s: number): { d1: number; d2: number } {
  const overTiles = tileDraws(s)
  const overOps = s - overTiles
  const always = alwaysChecked(manifest)
  const layers = manifest.ops.length
  let missOp = 0
  let missTile = 0
  manifest.ops.forEach((op, index) => {
    if (always[index]) return
    const tiles = opTiles(manifest, op)
    missOp = Math.max(missOp, (1 - tiles / manifest.tiles) ** overTiles * (1 - 1 / layers) ** overOps)
    missTile = Math.max(missTile, (1 - 1 / manifest.tiles) ** overTiles * (1 - 1 / (layers * tiles)) ** overOps)
  })
  return { d1: roundDown(1 - missOp), d2: roundDown(1 - missTile) }
}
