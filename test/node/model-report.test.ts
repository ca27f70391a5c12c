import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits } from '../../models/digits.ts'
import { allTiles, detection } from '../../models/draw.ts'
import { buildStatements } from '../../models/statements.ts'
import { proofCount } from '../../node/attestation/segments.ts'
import { estimate, workOf } from '../../node/model/estimate.ts'
import { assetPath } from '../../protocol/assets.ts'
import { constant, onnxGraph } from '../models/onnx-fixture.ts'
import { node, weights } from '../models/operator-case.ts'
import { trained } from '../models/trained.ts'

/** What `sinter model check` says, as a user sees it, and the numbers behind it. */

const folder = mkdtempSync(join(tmpdir(), 'sinter-check-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

function check(...args: string[]): { code: number | null; lines: string[]; errors: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [assetPath('node/bin/sinter.js'), 'model', 'check', ...args],
    { encoding: 'utf8' },
  )
  return { code: status, lines: stdout.trimEnd().split('\n'), errors: stderr }
}

test('a model that is covered whole: everything that its manifest fixes, its odds, its lock and its cost', async () => {
  const samples = assetPath('models/breast/calibration.bin')
  const { code, lines, errors } = check(assetPath('models/breast/breast.onnx'), '--samples', samples, '--draws', '8')
  assert.is(code, 0, errors)
  const text = lines.join('\n')
  const { manifest } = await trained('breast')
  const [output] = manifest.outputs as [(typeof manifest.outputs)[number]]
  assert.match(text, /opset 14, 10 nodes, 641 parameters/)
  assert.match(text, /^operators: Add ×3, Cast, MatMul ×3, Relu ×2, Sigmoid$/m)
  assert.match(text, /^coverage: 100\.00% of the work, 641 multiply-adds covered$/m)
  assert.match(text, /^T 6 tiles in L 6 ops:$/m)
  for (const op of manifest.ops) assert.ok(text.includes(`  ${op.name}: ${op.kind} [`), op.name)
  assert.match(text, /^ {2}MatMul: linear \[16\], tiles 1, exponent 10$/m)
  assert.ok(text.includes(`tolerance ${output.tolerance.quanta} quanta`))
  assert.match(text, /^ {2}features: -?[\d.]+ to [\d.]+, exponent 10$/m)
  assert.match(
    text,
    /^ {2}out_activations_result: at most [\d.]+ quanta \([\d.e-]+\) off, 0\.\d+% in relative L2, tolerance/m,
  )
  const off = text.match(
    /^served by ONNX Runtime, 8 samples:\n {2}out_activations_result: at most (\d+) quanta from canonical, tolerance/m,
  )
  assert.ok(Number(off?.[1]) <= output.tolerance.quanta, text)
  // Every op is small enough to be checked always: odds of 1, and a lock of 1.5 / (8 · 1), rounded up.
  assert.match(text, /caught in 100\.00% of drawn jobs \(d1\), one edited leaf in 100\.00% \(d2\)/)
  assert.match(text, /^lock: at least 0\.188 per unit of fees, with 8 jobs drawn per batch$/m)
  assert.match(text, /^attestation of a drawn job: 7\.0 statements, 7\.0 proofs on the average, at most 10 proofs /m)
  assert.match(text, /about [\d.]+ s of one core to prove/)
})

test('a model that is not: each node with its reason, the share that is covered, and no manifest', () => {
  const file = join(folder, 'partly.onnx')
  const model = onnxGraph({
    nodes: [
      { ...node('Conv', ['x', 'w'], 'a'), name: 'conv' },
      { ...node('Resize', ['a', '', 's'], 'b', { mode: 'cubic' }), name: 'larger' },
      { ...node('Relu', ['b'], 'c'), name: 'relu' },
      { ...node('Conv', ['c', 'w2'], 'd'), name: 'last' },
      { ...node('NonMaxSuppression', ['d'], 'y'), name: 'boxes' },
    ],
    inputs: { x: { dims: ['n', 3, 8, 8] } },
    outputs: { y: { dims: ['n', 'm'] } },
    constants: { w: weights([4, 3, 3, 3]), w2: weights([4, 4, 1, 1]), s: weights([4]) },
  })
  writeFileSync(file, model)
  const { code, lines, errors } = check(file)
  assert.is(code, 0, errors)
  const text = lines.join('\n')
  assert.match(text, /opset 18, 5 nodes, 128 parameters/)
  // 36 taps for each of 4·6·6 outputs are covered; of the rest only weights can be counted: 16, and 1 for each other node.
  const covered = 27 * 4 * 6 * 6
  const share = Math.floor((10_000 * covered) / (covered + 16 + 4 + 1 + 1)) / 100
  assert.ok(
    text.includes(
      `coverage: ${share.toFixed(2)}% of the work at most, ${covered.toLocaleString('en-US')} multiply-adds`,
    ),
    text,
  )
  assert.match(text, /^4 of 5 nodes are not covered:$/m)
  assert.match(text, /^ {2}larger \(Resize\): interpolates \(cubic\)$/m)
  assert.match(text, /^ {2}last \(Conv\): after larger$/m)
  assert.match(text, /^ {2}boxes \(NonMaxSuppression\): after larger$/m)
  assert.not.match(text, /^T \d/m)
})

test('a file that ONNX Runtime does not take is refused, whatever its graph means here', () => {
  const file = join(folder, 'mixed.onnx')
  const samples = join(folder, 'samples.json')
  writeFileSync(samples, '[[1, 2], [-1, 0.5]]')
  writeFileSync(
    file,
    onnxGraph({
      nodes: [node('Add', ['x', 'c'], 'y')],
      inputs: { x: { dims: ['n', 2] } },
      outputs: { y: { dims: ['n', 2] } },
      constants: { c: constant('int64', [], [1]) },
    }),
  )
  assert.is(check(file).code, 0)
  const { code, errors } = check(file, '--samples', samples)
  assert.is.not(code, 0)
  assert.match(errors, /MODEL_LOAD/)
})

test('without samples the counts are printed all the same, and that the rest is an example; bad files are refused by code', () => {
  const { code, lines, errors } = check(assetPath('test/models/exported/classifier-17.onnx'))
  assert.is(code, 0, errors)
  const text = lines.join('\n')
  assert.match(text, /made-up inputs, so that exponents and tolerance are examples only/)
  assert.match(text, /rows of ids \[8\], 11 of them/)
  assert.match(text, /of which the consumer takes the index y/)
  const cut = join(folder, 'cut.onnx')
  writeFileSync(cut, loadDigits().model.subarray(0, 1_000))
  const refused = check(cut)
  assert.is.not(refused.code, 0)
  assert.match(refused.errors, /MODEL_/)
})

test('the estimate holds: statements are exact, proofs an upper bound, the lock is what the odds ask for', async () => {
  for (const name of ['breast', 'regressor', 'quantised']) {
    const { manifest, weights: file } = await trained(name)
    const all = allTiles(manifest)
    const statements = buildStatements(manifest, file, all, () => false, 3n)
    const full = workOf(manifest, all)
    assert.is(full.statements, statements.length, name)
    const proofs = statements.reduce((sum, statement) => sum + proofCount(statement), 0)
    assert.ok(full.proofs >= proofs && full.proofs <= 2 * proofs, `${name}: ${full.proofs} for ${proofs}`)
    const terms = { tileDraws: 4, draws: 8 }
    const { mean, worst, d1, lock } = estimate(manifest, terms)
    assert.is(d1, detection(manifest, 4).d1)
    assert.is(lock, 1.5 / (8 * d1))
    assert.ok(mean.statements <= full.statements && mean.proofs <= worst.proofs && mean.leaves <= worst.leaves)
  }
  assert.is(estimate(loadDigits().manifest, { tileDraws: 0, draws: 4 }).lock, Number.POSITIVE_INFINITY)
})

test.run()
