import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { countWork } from '../../models/tiling.ts'
import { type CommittedJob, commitJob, commitTrace, type ServedJob } from '../../node/attestation/commit.ts'
import { packedTree } from '../../node/attestation/packed-tree.ts'
import { leavesToCommit } from '../../node/attestation/trace.ts'
import { createTracer, isSmall } from '../../node/attestation/tracer.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { errorCode } from '../../protocol/errors.ts'
import { merkleTree } from '../../protocol/merkle.ts'
import { type LeafRef, TREE } from '../../protocol/statement.ts'
import { gramModel, zooInput, zooModel } from './attestation-models.ts'
import { bytes32, committer, DIGITS, image, nearly } from './attestation-world.ts'

/** Evaluated and committed elsewhere: the same bits. */

const tracer = createTracer({ workers: 2, threads: 2, idleMs: 500 })
test.after(() => tracer.close())

const jobOf = (model: LoadedModel, inputs: Int16Array[]): ServedJob => ({
  receiptHash: bytes32('receipt'),
  jobKey: bytes32('key'),
  inputs,
  served: nearly(model, inputs),
})

/** The same model, said to be so much work that it is never evaluated in the calling process. */
const large = (model: LoadedModel): LoadedModel => ({ ...model, manifest: { ...model.manifest, units: 2 ** 30 } })

const refsOf = ({ trees }: CommittedJob): LeafRef[] =>
  trees.flatMap(({ spec: { tensor, tree, count } }) =>
    Array.from({ length: count }, (_, index) => ({ tensor, tree, index })),
  )

test('a packed tree is the tree of protocol/merkle.ts', () => {
  for (const count of [1, 2, 3, 5, 8, 13]) {
    const leaves = Array.from({ length: count }, (_, i) => bytes32(`leaf ${i}`))
    const [packed, plain] = [packedTree(leaves), merkleTree(leaves)]
    assert.equal([packed.root, packed.count], [plain.root, count])
    for (let i = 0; i < count; i++) assert.equal([packed.path(i), packed.leaf(i)], [plain.path(i), leaves[i]!])
    for (const index of [-1, count, 0.5]) assert.throws(() => packed.path(index))
  }
})

test('a job committed in a child, in this process and from a whole trace has the same leaves, roots and limbs', async () => {
  const models: [LoadedModel, Int16Array[]][] = [
    [DIGITS, [image(3)]],
    [await zooModel(), [zooInput(3)]],
    [await zooModel(), [new Int16Array(16).fill(32_767)]],
  ]
  await Promise.all(
    models.map(async ([model, inputs]) => {
      const job = jobOf(model, inputs)
      const here = await commitJob(committer, model, job)
      const there = await tracer.commit(committer, large(model), job)
      const { manifest, weights } = model
      const trace = withServed(manifest, evaluate(manifest, weights, inputs), job.served)
      const whole = commitTrace(committer, model, job, trace)
      const refs = refsOf(here)
      for (const other of [there, whole]) {
        assert.equal(other.root, here.root)
        assert.equal(other.canonical, here.canonical)
        assert.equal(
          other.trees.map(({ spec, tree }) => [spec, Buffer.from(tree.nodes).toString('base64')]),
          here.trees.map(({ spec, tree }) => [spec, Buffer.from(tree.nodes).toString('base64')]),
        )
        assert.equal(await other.open(refs), await here.open(refs))
      }
      assert.equal(
        await tracer.evaluate(large(model), inputs),
        traceOutputs(manifest, evaluate(manifest, weights, inputs)),
      )
    }),
  )
})

test('several models and jobs at once over few children, and again after the children have ended', async () => {
  const models = [large(DIGITS), large(await gramModel(8))]
  for (let round = 0; round < 2; round++) {
    const roots = await Promise.all(
      [0, 1, 2, 3, 4, 5].map(async (i) => {
        const model = models[i % 2]!
        const inputs = [i % 2 === 0 ? image(i) : new Int16Array(24).fill(100 * i)]
        const job = jobOf(model, inputs)
        const [there, here] = await Promise.all([
          tracer.commit(committer, model, job),
          commitJob(committer, model, job),
        ])
        assert.equal(there.root, here.root)
        return Buffer.from(there.root).toString('hex')
      }),
    )
    assert.is(new Set(roots).size, 6)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  }
})

test('what a model’s own size decides', async () => {
  assert.ok(isSmall(DIGITS) && isSmall(await zooModel()))
  assert.not.ok(isSmall(large(DIGITS)))
  assert.is(countWork(DIGITS.manifest).units, DIGITS.manifest.units)
  const { trees } = await commitJob(committer, DIGITS, jobOf(DIGITS, [image(0)]))
  assert.is(
    leavesToCommit(DIGITS),
    trees.reduce((sum, { spec }) => sum + spec.count, 0),
  )
})

test('failures have the codes of what failed, cost one job, and leave the others', async () => {
  const model = large(DIGITS)
  const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'NONE', errorCode)
  assert.is(await code(tracer.evaluate(model, [])), 'INPUT_SHAPE')
  const job = jobOf(DIGITS, [image(0)])
  assert.is(await code(tracer.commit(committer, model, { ...job, served: [] })), 'OUTPUT_SHAPE')
  assert.is(await code(tracer.commit(committer, model, { ...job, served: [new Int16Array(9)] })), 'OUTPUT_SHAPE')
  const committed = await tracer.commit(committer, model, job)
  for (const [tensor, index] of [
    [0, 99],
    [0, -1],
    [99, 0],
  ] as const)
    assert.is(await code(committed.open([{ tensor, tree: TREE.value, index }])), 'NO_SUCH_LEAF')
  const hasty = createTracer({ timeoutMs: 1, threads: 1 })
  assert.is(await code(hasty.commit(committer, model, job)), 'TRACER_TIMEOUT')
  const cut = code(hasty.evaluate(model, [image(0)]))
  await hasty.close()
  assert.is(await cut, 'TRACER_CLOSED')
  assert.is(await code(hasty.evaluate(model, [image(0)])), 'TRACER_CLOSED')
  assert.throws(() => createTracer({ workers: 0 }))
  assert.throws(() => createTracer({ threads: 0 }))
})

test.run()
