import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { StreamOptions } from '../../models/canonical.ts'
import { openMultiplier } from '../../models/multiply-onnx.ts'
import { assembleJob } from '../../node/attestation/commit.ts'
import { traceJob } from '../../node/attestation/trace.ts'
import { PACKAGE_ROOT } from '../../protocol/assets.ts'
import { loadReference, referenceNames } from '../bench/reference.ts'
import { bytes32, committer, nearly } from './attestation-world.ts'

/** What a trace's root depends on, and how much memory a trace takes. */

type Multiply = NonNullable<StreamOptions['multiply']>

const names = referenceNames()

test('reference models are there', () => {
  for (const name of ['digits', 'residual', 'transformer', 'quantised']) assert.ok(names.includes(name), name)
})

for (const name of names)
  test(`${name}: the trace has one root, with plain loops and with ONNX Runtime on one thread or several`, async () => {
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
        const traced = await traceJob(committer, graph, job)
        roots.set(kernel, Buffer.from(assembleJob(committer, loaded, job, traced, async () => []).root).toString('hex'))
        if (multiply !== undefined) assert.ok(products > 0, `${kernel} multiplied nothing`)
      }
      assert.is(new Set(roots.values()).size, 1, JSON.stringify([...roots]))
    }
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
