import { readFileSync } from 'node:fs'
import type { ExecutionProvider } from '../../models/session.ts'
import { assetPath } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { Log } from '../net/log.ts'
import { type Placement, placements as placementsOf } from './devices.ts'
import { createExecutor } from './host.ts'

/**
 * Runs the reference model once on each device that the operator asked for, so that a node which could not serve refuses to start
 * instead of refusing every job. Throws `EP_UNAVAILABLE` with the remedy, naming the device.
 */
export async function probeExecutionProvider(
  executionProvider: ExecutionProvider,
  log: Log,
  placements: readonly Placement[] = placementsOf({ executionProvider }),
): Promise<void> {
  const model = new Uint8Array(readFileSync(assetPath('models/digits/digits.onnx')))
  const devices = new Map(placements.map((each) => [each.device, each]))
  for (const { device, env, deviceId } of devices.values()) {
    try {
      const executor = await createExecutor({
        ...{ model, executionProvider, env, deviceId, log },
        ...{ timeoutMs: 60_000, memoryMb: 4_096 },
      })
      try {
        await executor.run({ image: { data: new Float32Array(64), shape: [1, 1, 8, 8] } })
      } finally {
        await executor.close()
      }
    } catch (error) {
      if (device === null || !(error instanceof SinterError)) throw error
      throw new SinterError(error.code, `device ${device}: ${error.message}`, { cause: error })
    }
  }
}
