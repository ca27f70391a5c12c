import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { curves } from 'snarkjs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { artifactPath, readArtifactIndex } from '../../circuits/artifacts.ts'
import { type CircuitFiles, fileHash, pinArtifacts } from '../../circuits/ceremony.ts'
import { createCommitter } from '../../circuits/commit.ts'
import { compileCircuit, r1csHeader } from '../../circuits/compile.ts'
import { pointwiseWitnessInput, relationWitnessInput, stageWitnessInput } from '../../circuits/prove.ts'
import { CIRCUIT_KINDS, type CircuitKind, SIGNAL_COUNT } from '../../circuits/signals.ts'
import type { CircuitInput } from '../../circuits/witness.ts'
import { assetPath } from '../../protocol/assets.ts'
import { toHex } from '../../protocol/bytes.ts'
import { mod } from '../../protocol/field.ts'
import { sha256 } from '../../protocol/hash.ts'
import {
  calculator,
  clampInput,
  element,
  extremumInput,
  leaf,
  pointwiseInput,
  productInput,
  relationInput,
} from './fixtures.ts'
import { type Constraint, firstViolation, freeDirections, readConstraints, readWires, singleWireCheck } from './r1cs.ts'

const committer = await createCommitter()
const folder = await mkdtemp(join(tmpdir(), 'sinter-circuits-'))
const constraints = {} as Record<CircuitKind, Constraint[]>
const names = {} as Record<CircuitKind, string[]>
const compiled = {} as Record<CircuitKind, { r1cs: string; wasm: string }>

test.before(async () => {
  for (const kind of CIRCUIT_KINDS) {
    const files = await compileCircuit(kind, folder)
    compiled[kind] = files
    constraints[kind] = await readConstraints(files.r1cs)
    // A line of the sym file: label, wire (−1 when simplified away), component, name.
    for (const line of (await readFile(files.sym, 'utf8')).trim().split('\n')) {
      const [, wire, , name] = line.split(',') as [string, string, string, string]
      names[kind] ??= []
      if (Number(wire) >= 0) names[kind][Number(wire)] ??= name
    }
  }
})
test.after(async () => {
  await (await curves.getCurveFromName('bn128')).terminate()
  await rm(folder, { recursive: true, force: true })
})

/** Real witnesses of every mode. Few limbs and coefficients are zero, which would make other wires irrelevant. */
const samples: [label: string, kind: CircuitKind, input: () => CircuitInput][] = [
  [
    'relation',
    'relation',
    () => {
      const leaves = Array.from({ length: 10 }, (_, k) =>
        leaf(`full ${k}`, (j) => 1 + ((k * 7919 + j * 104729) % 65535)),
      )
      return relationWitnessInput(committer, relationInput({ leaves })).input
    },
  ],
  ['table', 'pointwise', () => pointwiseWitnessInput(committer, pointwiseInput({ tol: 3 })).input],
  ['clamp', 'pointwise', () => pointwiseWitnessInput(committer, clampInput()).input],
  ['product', 'product', () => stageWitnessInput(committer, 'product', productInput()).input],
  ['extremum', 'extremum', () => stageWitnessInput(committer, 'extremum', extremumInput()).input],
]

test('the committed artifacts are what these sources compile to', async () => {
  const index = await readArtifactIndex()
  for (const kind of CIRCUIT_KINDS) {
    const { constraints: count, wires, sha256: hashes } = index[kind]
    assert.is(toHex(sha256(await readFile(compiled[kind].wasm))), hashes.wasm)
    assert.is(toHex(sha256(await readFile(compiled[kind].r1cs))), hashes.r1cs)
    assert.equal(await r1csHeader(compiled[kind].r1cs), { constraints: count, wires })
    assert.ok(count + SIGNAL_COUNT[kind] + 1 <= 2 ** 14, `${kind} fits the domain`)
    assert.is(constraints[kind].length, count)
  }
})

test('pinning the keys with these sources gives the committed artifacts again', async () => {
  const files = {} as Record<CircuitKind, CircuitFiles>
  for (const kind of CIRCUIT_KINDS) files[kind] = { ...compiled[kind], zkey: artifactPath(kind, 'zkey') }
  const out = join(folder, 'pinned')
  assert.equal(await pinArtifacts(out, assetPath('circuits/artifacts/phase1.ptau'), files), await readArtifactIndex())
  for (const name of ['artifacts.json', 'relation.vkey.json', 'extremum.wasm'])
    assert.is(await fileHash(join(out, name)), await fileHash(assetPath(`circuits/artifacts/${name}`)), name)
})

test('every wire is in some constraint', () => {
  for (const kind of CIRCUIT_KINDS) {
    const used = new Set(constraints[kind].flatMap((parts) => parts.flatMap((part) => part.map(({ wire }) => wire))))
    const unused = names[kind].filter((_, wire) => wire > 0 && !used.has(wire))
    assert.equal(unused, [])
  }
})

for (const [label, kind, input] of samples)
  test(`changing any one wire of a ${label} witness violates a constraint`, async () => {
    const wires = readWires((await calculator(kind)).calculate(input()))
    assert.is(firstViolation(constraints[kind], wires), -1)
    const check = singleWireCheck(constraints[kind], wires)
    const free: string[] = []
    for (let wire = 1; wire < wires.length; wire++) {
      // For a bit, the change that its own constraint would let pass is the flip.
      const flip = 1n - 2n * wires[wire]!
      const deltas = wires[wire]! < 2n ? [flip, element(`delta ${wire}`)] : [1n, mod(-wires[wire]!)]
      if (deltas.some((delta) => !check.violates(wire, delta))) free.push(names[kind][wire]!)
    }
    assert.equal(free, [])
  })

for (const [label, kind, input] of samples)
  test(`no wires of a ${label} witness can be changed together while its inputs stay`, async () => {
    const given = input()
    const wires = readWires((await calculator(kind)).calculate(given))
    const fixed = new Set([0])
    names[kind].forEach((name, wire) => {
      if (/^main\.\w+(\[\d+\])*$/.test(name) && name.slice(5).replace(/\[.*/, '') in given) fixed.add(wire)
    })
    assert.is(
      fixed.size - 1,
      Object.values(given).reduce((sum, values) => sum + values.length, 0),
    )
    assert.is(freeDirections(constraints[kind], wires, fixed), 0)
    if (kind !== 'relation') return
    // Two bits of a limb that need not be bits can make up for each other, though changing either alone violates the sum.
    const wireOf = ([, [bit]]: Constraint): number => bit!.wire
    const bits = constraints.relation.filter(([a, b, c]) => c.length === 0 && b.length === 1 && a.length === 2)
    const limb = (each: Constraint): string => names.relation[wireOf(each)]!.replace(/\[\d+\]$/, '')
    const [one, two] = bits.filter((each) => limb(each) === limb(bits[0]!)) as [Constraint, Constraint]
    const loose = constraints.relation.filter((each) => each !== one && each !== two)
    assert.is(freeDirections(loose, wires, fixed), 1)
    const check = singleWireCheck(loose, wires)
    assert.ok([one, two].every((each) => check.violates(wireOf(each), 5n)))
  })

test('the evaluator itself sees a violation', async () => {
  const wires = readWires((await calculator('pointwise')).calculate(samples[1]![2]()))
  assert.not.equal(firstViolation(constraints.pointwise, wires.with(4000, mod(wires[4000]! + 1n))), -1)
})

test.run()
