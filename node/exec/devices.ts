import { availableParallelism } from 'node:os'
import type { ExecutionProvider } from '../../models/session.ts'
import { SinterError } from '../../protocol/errors.ts'

/** Where one session of a model runs: each is a process of its own. */
export type Placement = {
  /** As the operator named it; null where there is nothing to choose. */
  device: string | null
  /** Variables of the process: CUDA then sees that device only, as its first one. */
  env: Record<string, string>
  /** Number that the execution provider is given, for those that select devices by number. */
  deviceId: number | null
  /** Threads inside one operator, CPU only; null leaves it to the runtime. */
  threads: number | null
}

export type DeviceConfig = {
  executionProvider: ExecutionProvider
  /** Devices to use, in the form that the provider knows; empty for its default. */
  devices?: readonly string[]
  /** Sessions of one model on each device. @default 1 */
  sessionsPerDevice?: number
}

/** How a provider's devices are named. */
type Naming = 'cuda' | 'number' | 'none'

const NAMING: Record<ExecutionProvider, Naming> = {
  cpu: 'none',
  cuda: 'cuda',
  tensorrt: 'cuda',
  dml: 'number',
  // Neither takes a choice through this runtime.
  webgpu: 'none',
  coreml: 'none',
}

const NUMBER = /^(0|[1-9]\d{0,2})$/
/** As `nvidia-smi -L` prints them: a GPU, a MIG slice, or a slice in the form of older drivers. */
const UUID = /^(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const OLD_MIG = /^MIG-GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\/\d{1,2}\/\d{1,2}$/i

const bad = (code: string, message: string): SinterError => new SinterError(code, message)

function checkDevice(device: string, naming: Naming): void {
  const known = NUMBER.test(device) || (naming === 'cuda' && [UUID, OLD_MIG].some((form) => form.test(device)))
  if (known) return
  throw bad(
    'DEVICE_MALFORMED',
    naming === 'cuda'
      ? `${device} names no device: use a number, or a GPU-… or MIG-… id as \`nvidia-smi -L\` prints it`
      : `${device} names no device: use a number`,
  )
}

/**
 * Sessions of one model: `sessionsPerDevice` on each device. Those of a GPU with MIG are named by the ids of its slices, since a process
 * sees one slice at most. Throws `DEVICE_MALFORMED`, `DEVICE_TWICE`, `DEVICE_UNSUPPORTED` where the provider has no choice of device, and
 * `DEVICE_SESSIONS`.
 */
export function placements({ executionProvider, devices = [], sessionsPerDevice = 1 }: DeviceConfig): Placement[] {
  if (!Number.isInteger(sessionsPerDevice) || sessionsPerDevice < 1 || sessionsPerDevice > 64)
    throw bad('DEVICE_SESSIONS', 'sessions per device are a number from 1 to 64')
  const naming = NAMING[executionProvider]
  if (devices.length > 0 && naming === 'none')
    throw bad('DEVICE_UNSUPPORTED', `execution provider ${executionProvider} does not let one choose a device`)
  for (const device of devices) checkDevice(device, naming)
  // The same id in other letters is the same device.
  if (new Set(devices.map((device) => device.toLowerCase())).size !== devices.length)
    throw bad('DEVICE_TWICE', 'a device is named twice: say how many sessions it runs instead')
  const threads =
    executionProvider === 'cpu' && sessionsPerDevice > 1
      ? Math.max(1, Math.floor(availableParallelism() / sessionsPerDevice))
      : null
  return (devices.length === 0 ? [null] : devices).flatMap((device) =>
    Array.from({ length: sessionsPerDevice }, () => ({
      device,
      env:
        naming === 'cuda' && device !== null ? { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: device } : {},
      deviceId: naming === 'number' && device !== null ? Number(device) : null,
      threads,
    })),
  )
}
