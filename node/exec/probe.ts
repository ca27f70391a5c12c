import { readFileSync } from 'node:fs'
import type { ExecutionProvider } from '../../models/session.ts'
import { assetPath } from '../../protocol/assets.ts'
import type { Log } from '../net/log.ts'
import { createExecutor } from './host.ts'

/**
 * Loads the reference model on the execution provider the operator asked for, so that a node which could not serve refuses to
 * start instead of refusing every job. Throws `EP_UNAVAILABLE` with the remedy.
 */
export async function probeExecutionProvider(executionProvider: ExecutionProvider, log: Log): Promise<void> {
  const model = new Uint8Array(readFileSync(assetPath('models/digits/digits.onnx')))
  const executor = await createExecutor({ model, executionProvider, timeoutMs: 60_000, memoryMb: 4_096, log })
  await executor.close()
}
