import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildManifest } from '../../models/calibrate.ts'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { fileCid } from '../../models/cid.ts'
import { loadCalibration, loadDigits, loadHeldOut } from '../../models/digits.ts'
import { allTiles, detection, selectTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import { manifestBytes } from '../../models/manifest.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { openSession } from '../../models/session.ts'
import { buildStatements, checkStatement } from '../../models/statements.ts'
import { checkModel, validateManifest } from '../../models/validate.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { SEGMENT_LEAVES } from '../../protocol/statement.ts'
import { numbers } from './onnx-fixture.ts'

const digits = loadDigits()
const { manifest, weights } = digits
const { images, labels } = loadHeldOut()

const argmax = (values: ArrayLike<number>): number => Array.from(values).indexOf(Math.max(...Array.from(values)))

test('the committed manifest and weights are what calibration makes, byte for byte', async () => {
  const rebuilt = await buildManifest({ name: 'digits', model: digits.model, samples: loadCalibration() })
  assert.equal(manifestBytes(rebuilt.manifest), digits.manifestBytes)
  assert.equal(rebuilt.weights, weights)
})

test('the committed files are the ones their hashes and CIDs name, and valid', async () => {
  validateManifest(manifest, weights)
  checkModel(manifest, digits.model)
  assert.is(await fileCid(digits.model), manifest.model.cid)
  assert.is(await fileCid(weights), manifest.weights.cid)
})

test('held out: 360 images of every digit, none of them seen in calibration', () => {
  assert.is(images.length, 360)
  assert.is(labels.length, 360)
  for (let digit = 0; digit < 10; digit++) assert.ok(labels.filter((label) => label === digit).length >= 34)
  const seen = new Set(loadCalibration().map(([sample]) => String(sample)))
  assert.is(seen.size, 128)
  assert.is(images.filter((image) => seen.has(String(image))).length, 0)
})

test('held out: float accuracy ≥ 97%, canonical decisions the same, served within τ everywhere', async () => {
  const session = await openSession(digits.model, { executionProvider: 'cpu', threads: 1 })
  const ex = manifest.tensors[manifest.inputs[0]!.tensor]!.exponent
  const output = manifest.outputs[0]!
  const ey = manifest.tensors[output.tensor]!.exponent
  let float = 0
  let canonicalRight = 0
  let differ = 0
  let worst = 0
  for (const [i, image] of images.entries()) {
    const input = quantise(image, ex)
    const { logits } = await session.run({ image: { data: dequantise(input, ex), shape: [1, 1, 8, 8] } })
    const canonical = traceOutputs(manifest, evaluate(manifest, weights, [input]))[0]!
    const served = quantise(logits!.data, ey)
    const a = argmax(logits!.data)
    const b = argmax(canonical)
    if (a === labels[i]) float++
    if (b === labels[i]) canonicalRight++
    if (a !== b) differ++
    served.forEach((value, j) => {
      worst = Math.max(worst, Math.abs(value - canonical[j]!))
    })
  }
  await session.dispose()
  console.log(
    `float ${float}/360, canonical ${canonicalRight}/360, decisions that differ ${differ}, ` +
      `worst deviation ${worst} quanta, τ ${output.tolerance.quanta}`,
  )
  assert.ok(float / images.length >= 0.97)
  assert.ok(differ <= Math.max(1, 0.005 * images.length))
  assert.ok(worst <= output.tolerance.quanta)
})

test('the vector of protocol/spec/manifest.md', async () => {
  assert.is(await fileCid(digits.manifestBytes), 'bafkreig6pansgjvezluz6ek4kqqz57wtz5zbgli4i2qjot2quwhgxt3hv4')
  const { tensors } = evaluate(manifest, weights, [quantise(images[0]!, 13)])
  assert.equal([...tensors[1]!.value.slice(0, 8)], [334, -14, -711, 1076, 593, 1280, 740, 110])
  assert.equal([...tensors[6]!.value], [-5388, -9261, -6909, -6019, -9585, -9199, -2991, -8043, 10655, -2676])
  assert.equal([...tensors[6]!.rem!], [41913, 64414, 23081, 52206, 1203, 28390, 23066, 28583, 40492, 19276])
  assert.is(
    tensors.some((tensor) => tensor?.flagged?.includes(1)),
    false,
  )
})

test('images that are no digits but lie in [0, 1] stay within τ too', async () => {
  const session = await openSession(digits.model, { executionProvider: 'cpu', threads: 1 })
  const kinds = [() => 1, (x: number) => x, (x: number) => (x < 0.5 ? 0 : 1), (x: number) => (x < 0.9 ? 0 : 1)]
  let worst = 0
  for (let seed = 0; seed < 200; seed++) {
    const noise = numbers(64, 0.5, seed + 1).map((x) => x + 0.5)
    const input = quantise(noise.map(kinds[seed % kinds.length]!), 13)
    const { logits } = await session.run({ image: { data: dequantise(input, 13), shape: [1, 1, 8, 8] } })
    const served = quantise(logits!.data, manifest.tensors[manifest.outputs[0]!.tensor]!.exponent)
    traceOutputs(manifest, evaluate(manifest, weights, [input]))[0]!.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value - served[i]!))
    })
  }
  await session.dispose()
  console.log(`not digits: worst deviation ${worst} quanta`)
  assert.ok(worst <= manifest.outputs[0]!.tolerance.quanta)
})

test('an input that saturates every layer: flagged tiles, and all statements still hold', () => {
  const trace = evaluate(manifest, weights, [new Int16Array(64).fill(32_767)])
  const served = withServed(manifest, trace, traceOutputs(manifest, trace))
  const limbs = (ref: Parameters<typeof leafLimbs>[2]): Uint16Array =>
    leafLimbs(manifest, served, ref) ?? new Uint16Array(64)
  const statements = buildStatements(manifest, weights, allTiles(manifest), flagsOf(manifest, served), 999n)
  const clamps = statements.filter((statement) => statement.kind === 'pointwise' && statement.mode === 'clamp')
  assert.ok(clamps.length >= 4)
  for (const statement of statements) assert.ok(checkStatement(statement, limbs))
})

test('a whole attestation: every statement of a held-out image holds, drawn or in full', () => {
  const input = quantise(images[0]!, manifest.tensors[0]!.exponent)
  const trace = evaluate(manifest, weights, [input])
  const served = withServed(manifest, trace, traceOutputs(manifest, trace))
  const limbs = (ref: Parameters<typeof leafLimbs>[2]): Uint16Array =>
    leafLimbs(manifest, served, ref) ?? new Uint16Array(64)
  const started = performance.now()
  const full = buildStatements(manifest, weights, allTiles(manifest), flagsOf(manifest, served), 12_345n)
  const builtMs = performance.now() - started
  for (const statement of full) assert.ok(checkStatement(statement, limbs))
  const segments = (statements: typeof full): number =>
    statements.reduce(
      (sum, one) => sum + (one.kind === 'relation' ? Math.ceil(one.terms.length / SEGMENT_LEAVES) : 1),
      0,
    )
  console.log(
    `T ${manifest.tiles}, L ${manifest.layers}, ${manifest.units} multiply-adds; full: ${full.length} statements, ` +
      `${segments(full)} proofs, coefficients in ${builtMs.toFixed(0)} ms`,
  )
  for (const s of [2, 4, 8]) {
    const counts = Array.from({ length: 200 }, (_, seed) => {
      const selected = selectTiles(manifest, seededRandomness(new Uint8Array(32).fill(seed)), s)
      const statements = buildStatements(manifest, weights, selected, flagsOf(manifest, served), 12_345n + BigInt(seed))
      if (seed < 20) for (const statement of statements) assert.ok(checkStatement(statement, limbs))
      return { statements: statements.length, proofs: segments(statements) }
    })
    const mean = (pick: (count: (typeof counts)[number]) => number): string =>
      (counts.reduce((sum, count) => sum + pick(count), 0) / counts.length).toFixed(1)
    const { d1, d2 } = detection(manifest, s)
    console.log(
      `s ${s}: d1 ${d1}, d2 ${d2}; per job ${mean((count) => count.statements)} statements, ${mean((count) => count.proofs)} proofs ` +
        `(at most ${Math.max(...counts.map((count) => count.proofs))})`,
    )
  }
})

test.run()
