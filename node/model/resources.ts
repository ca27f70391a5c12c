import type { Manifest } from '../../models/manifest.ts'
import { elementCount } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'

/** What serving a model takes, as its manifest and file say before anything of it is loaded. Meant to be too much rather than too little. */
export type Resources = {
  /** Resident bytes of one process, weights and activations of one row. */
  bytes: number
  /** The part of it that a further row adds. */
  rowBytes: number
  /** Bytes that the weights and one row take on a device of its own. */
  deviceBytes: number
  /** Milliseconds of one row on one core of a slow machine. */
  ms: number
}

/** A process without a model: Node, the runtime's library and its thread pool. */
const PROCESS_BYTES = 160 * 2 ** 20
/** The file's bytes, the runtime's copy of the weights, and the same packed for its kernels. */
const WEIGHT_COPIES = 3
/** An activation is float32; the runtime reuses what is read no more, and some kernels unfold their input. */
const ACTIVATION_BYTES = 8
/** Multiply-adds per second of one core without vector units worth the name. */
const UNITS_PER_S = 2 ** 29

export function resourcesOf(manifest: Manifest): Resources {
  const elements = manifest.tensors.reduce(
    (sum, { shape, viewOf }) => sum + (viewOf === null ? elementCount(shape) : 0),
    0,
  )
  const rowBytes = ACTIVATION_BYTES * elements
  const deviceBytes = 2 * manifest.model.bytes + rowBytes
  return {
    bytes: PROCESS_BYTES + WEIGHT_COPIES * manifest.model.bytes + rowBytes,
    rowBytes,
    deviceBytes,
    ms: (1000 * manifest.units) / UNITS_PER_S,
  }
}

const MIB = 2 ** 20
const mib = (bytes: number): number => Math.ceil(bytes / MIB)

export type ResourceLimits = {
  /** Resident memory of one process (MiB). */
  memoryMib: number
  /** Longest run (ms). */
  timeoutMs: number
}

/** Refuses before the file is fetched. Throws `MODEL_TOO_LARGE` or `MODEL_TOO_SLOW`, with estimate and limit. */
export function checkResources({ bytes, ms }: Resources, { memoryMib, timeoutMs }: ResourceLimits): void {
  if (bytes > memoryMib * MIB)
    throw new SinterError(
      'MODEL_TOO_LARGE',
      `the model needs about ${mib(bytes)} MiB to run, and a model may use ${memoryMib} (--memory)`,
      { detail: { bytes, memoryMib } },
    )
  if (ms > timeoutMs)
    throw new SinterError(
      'MODEL_TOO_SLOW',
      `the model may take about ${Math.ceil(ms)} ms a job, and a job has ${timeoutMs}`,
      { detail: { ms, timeoutMs } },
    )
}

/** Most multiply-adds and rows of one shared run: nobody waits much longer for company than for the model itself. */
const BATCH_UNITS = 2 ** 30
const BATCH_ROWS = 32

/** Rows that may run as one: few of a large model, and no more than its memory holds. */
export function batchRows(manifest: Manifest, { bytes, rowBytes }: Resources, memoryMib: number): number {
  const byMemory = 1 + Math.floor((memoryMib * MIB - bytes) / Math.max(1, rowBytes))
  return Math.max(1, Math.min(BATCH_ROWS, Math.floor(BATCH_UNITS / Math.max(1, manifest.units)), byMemory))
}
