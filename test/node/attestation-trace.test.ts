import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, type StreamOptions } from '../../models/canonical.ts'
import { openMultiplier } from '../../models/multiply-onnx.ts'
import { assembleJob } from '../../node/attestation/commit.ts'
import { openLeafThreads } from '../../node/attestation/leaf-threads.ts'
import { commitTensor, traceJob, treesHere } from '../../node/attestation/trace.ts'
import { PACKAGE_ROOT } from '../../protocol/assets.ts'
import { errorCode } from '../../protocol/errors.ts'
import { TREE } from '../../protocol/statement.ts'
import { loadReference, referenceNames } from '../bench/reference.ts'
import { bytes32, committer, nearly } from './attestation-world.ts'

/** What a trace's root depends on, and how much memory a trace takes. */

type Multiply = NonNullable<StreamOptions['multiply']>

const names = referenceNames()
const threads = openLeafThreads(committer.poseidon, 3)
test.after(() => threads.close())

test('reference models are there', () => {
  for (const name of ['digits', 'residual', 'transformer', 'quantised']) assert.ok(names.includes(name), name)
})

for (const name of names)
  test(`${name}: the trace has one root, evaluated with plain loops or ONNX Runtime and committed on one thread or several`, async () => {
    const { loaded, inputs } = await loadReference(name)
    const kernels: [string, Multiply | undefined][] = [
      ['loops', undefined],
      // Every product goes to the kernels, however small.
      ['one thread', await openMultiplier(1, 0)],
      ['three threads', await openMultiplier(3, 0)],
    ]
    for (const sample of inputs.slice(0, 2)) {
      const job = {
        receiptHash: bytes32('receipt'),
        jobKey: bytes32('key'),
        inputs: sample,
        served: nearly(loaded, sample),
      }
      const roots = new Map<string, string>()
      for (const [kernel, multiply] of kernels) {
        let products = 0
        const counted: Multiply | undefined =
          multiply &&
          ((...request) => {
            products++
            return multiply(...request)
          })
        const graph = { ...loaded, ...(counted && { multiply: counted }) }
        const maker = kernel === 'three threads' ? threads.begin(job.jobKey) : treesHere(committer, job.jobKey)
        const traced = await traceJob(maker, graph, job)
        roots.set(kernel, Buffer.from(assembleJob(committer, loaded, job, traced, async () => []).root).toString('hex'))
        if (multiply !== undefined) assert.ok(products > 0, `${kernel} multiplied nothing`)
      }
      assert.is(new Set(roots.values()).size, 1, JSON.stringify([...roots]))
    }
  })

test('a tree of several blocks, with zero leaves between, is the same over threads; closed in the middle they say so', async () => {
  const { loaded, inputs } = await loadReference('digits')
  const small = evaluate(loaded.manifest, loaded.weights, inputs[0]!).tensors.find((each) => each?.pre != null)!
  const size = 64 * 1_300
  const trace = {
    ...small,
    pre: Int32Array.from({ length: size }, (_, i) => i * 51_239),
    flagged: Uint8Array.from({ length: size / 64 }, (_, i) => (i % 3 === 0 ? 0 : 1)),
  }
  const spec = { tensor: 2, tree: TREE.pre, exponent: 0, shape: [size], count: (2 * size) / 64 }
  const jobKey = bytes32('key')
  const maker = threads.begin(jobKey)
  await maker.add([spec], trace)
  assert.equal(await maker.trees(), commitTensor(committer, [spec], trace, jobKey))
  const others = openLeafThreads(committer.poseidon, 1)
  const cut = others.begin(jobKey)
  const code = (async () => {
    await cut.add([spec], trace)
    await cut.add([spec], trace)
    await cut.trees()
  })().then(() => 'NONE', errorCode)
  await others.close()
  assert.equal([await code, others.alive], ['COMMITTER_DIED', false])
})

test('a trace is evaluated in memory for a few of its tensors, not for all of them', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['test/node/attestation-memory.ts'], {
    cwd: PACKAGE_ROOT,
  })
  const { tensorMb, traceMb, grownMb, wholeMb } = JSON.parse(stdout) as Record<string, number>
  console.log(
    `largest tensor ${tensorMb} MiB, trace ${traceMb} MiB, streamed in ${grownMb} MiB, kept whole in ${wholeMb}`,
  )
  // Accumulators, results and what is read of one op, and what has not been collected yet.
  assert.ok(traceMb! > 2 * grownMb!, `${grownMb} MiB for a trace of ${traceMb}`)
  assert.ok(wholeMb! > 0.8 * traceMb!, 'the measure does not see a trace that is kept')
})

test.run()
