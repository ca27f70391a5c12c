import { admitModel } from '../../models/lower.ts'
import { rowsApart } from '../../models/rows.ts'
import type { ExecutionProvider } from '../../models/session.ts'
import { checkModel } from '../../models/validate.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import { evaluateHere } from '../attestation/trace.ts'
import type { Tracer } from '../attestation/tracer.ts'
import { type Placement, placements as placementsOf } from '../exec/devices.ts'
import { createGroup, type Group } from '../exec/group.ts'
import type { Content } from '../net/content.ts'
import type { Log } from '../net/log.ts'
import { checkProvable, type ProvingLimits } from './cost.ts'
import type { LoadedModel, ModelLibrary } from './load.ts'
import { batchRows, checkResources, type Resources, resourcesOf } from './resources.ts'
import { createRuntime, type Runtime, tryModel, tryRows } from './runtime.ts'

export type RuntimesComponents = {
  library: ModelLibrary
  content: Pick<Content, 'provide' | 'pin'>
  executionProvider: ExecutionProvider
  /** Where the sessions of a model run. @default one on the provider's default device */
  placements?: Placement[]
  /** Resident memory of one process (MiB). */
  memoryMib: number
  /** Canonical outputs of a model that is tried. @default evaluated in this process, which stands still meanwhile */
  evaluate?: Tracer['evaluate']
  /** What the network asks of attestations: a model that could ask more is refused. */
  proving: ProvingLimits
  /** Milliseconds one job may take. @default 30_000 */
  timeoutMs?: number
  adapt(real: Runtime): Runtime
  /** What a model is worth keeping: of those that nobody uses the least goes first, and of equals the one unused longest. @default 0 */
  worth?(manifest: string): number
  now(): number
  log: Log
}

export type RuntimesInit = {
  /** Models loaded at once, each a process of its own. @default 4 */
  maxModels?: number
  /** Models being fetched and loaded at once. @default 2 */
  maxLoading?: number
  /** A loaded model gives way to another when no job came for this long (ms), a twelfth for one that is worth more. @default 60_000 */
  keepMs?: number
  /** Memory that all loaded models may take together, by their estimates (MiB). @default no limit but `maxModels` */
  totalMib?: number
  /** The same of each device with memory of its own (MiB). @default no limit but `maxModels` */
  deviceMib?: number
  /** Jobs that run when the node stops get this long to end (ms). @default 10_000 */
  drainMs?: number
}

/** Models loaded for serving, each in a child process of its own. */
export type Runtimes = {
  /**
   * Fetches, admits, loads and tries a model; at once when it is loaded. Throws the codes of each of these, `MODELS_BUSY` when too
   * many are loading or in use or the memory for models is taken, and `MODEL_UNPROVABLE` when its jobs might not be attested in time under the policy.
   */
  get(manifest: string, policy?: Policy): Promise<Runtime>
  isWarm(manifest: string): boolean
  /** Manifests of the models that are loaded or being loaded. */
  loaded(): string[]
  /** Names of the models that are loaded, by their manifests. */
  names(): Map<string, string>
  /** Whether one more may be loaded without another going, as far as their number says. */
  hasRoom(): boolean
  /** Takes no more jobs, lets those that run end, and ends the processes. */
  close(): Promise<void>
}

/**
 * Multiply-adds of a model that a provider serves: a few seconds of evaluation, which a new model takes three times before it is
 * bid for. Whether drawn jobs can be committed in time is asked besides (cost.ts).
 */
export const MAX_SERVED_UNITS = 2 ** 33

/** Models loaded at once unless told otherwise. */
export const MAX_MODELS = 4

type Entry = {
  loading: Promise<Runtime>
  ready: Runtime | null
  running: number
  usedAt: number
  /** Policies that its jobs may be attested under. */
  provable: Set<Policy>
  /** What it counts for, once that is known (bytes): in memory, and on each of its devices. */
  held: { memory: number; device: number }
}

const MIB = 2 ** 20

/** A model that is served canonically only: everything else is refused with what is wrong with it. */
const canonicalOnly = (real: Runtime, why: unknown): Runtime => ({
  ...real,
  serve: () => Promise.reject(why),
  close: async () => {},
})

export function createRuntimes(components: RuntimesComponents, init: RuntimesInit = {}): Runtimes {
  const { library, content, executionProvider, memoryMib, proving, timeoutMs = 30_000, adapt, now, log } = components
  const { evaluate = evaluateHere, worth = () => 0 } = components
  const { maxModels = MAX_MODELS, maxLoading = 2, keepMs = 60_000, drainMs = 10_000 } = init
  const { totalMib = Number.POSITIVE_INFINITY, deviceMib = Number.POSITIVE_INFINITY } = init
  const places = components.placements ?? placementsOf({ executionProvider })
  const devices = new Set(places.map(({ device }) => device)).size
  const entries = new Map<string, Entry>()
  let closed = false

  /** In the DHT under all of its files, so that verifiers find them; tried again until it works. */
  async function announce(files: string[]): Promise<void> {
    for (const file of files)
      for (let pauseMs = 2_000; !closed; pauseMs = Math.min(2 * pauseMs, 60_000)) {
        const error = await content.provide(file).then(
          () => null,
          (cause: unknown) => cause,
        )
        if (error === null) break
        log.debug({ event: 'model.unannounced', file, error: describeError(error) }, 'provider record not published')
        await new Promise((resolve) => setTimeout(resolve, pauseMs).unref())
      }
  }

  async function load(cid: string, policy: Policy, entry: Entry): Promise<Runtime> {
    const model = await library.load(cid)
    const { manifest } = model
    if (manifest.units > MAX_SERVED_UNITS)
      throw new SinterError('MODEL_TOO_LARGE', `the model has ${manifest.units} units, more than ${MAX_SERVED_UNITS}`)
    const resources = resourcesOf(manifest)
    checkResources(resources, { memoryMib, timeoutMs })
    checkProvable(manifest, proving, policy)
    // From here on no eviction takes them. What jobs that are drawn later need stays beyond that (keep.ts).
    const files = [cid, manifest.model.cid, manifest.weights.cid]
    const pins = files.map((file) => content.pin(file))
    const unpin = (): void => {
      for (const release of pins) release()
    }
    try {
      const runtime = await ready(cid, model, resources, entry)
      void announce(files)
      return { ...runtime, close: () => runtime.close().finally(unpin) }
    } catch (error) {
      unpin()
      throw error
    }
  }

  async function ready(cid: string, model: LoadedModel, resources: Resources, entry: Entry): Promise<Runtime> {
    const started = performance.now()
    const { manifest } = model
    const onnx = await library.onnx(model)
    // Parsed before it is loaded: what the allow-list does not have never reaches the runtime.
    const { graph, shapes } = admitModel(onnx, manifest)
    checkModel(manifest, onnx)
    await reserve(cid, entry, resources)
    const group = await createGroup({
      ...{ model: onnx, executionProvider, timeoutMs, memoryMb: memoryMib, placements: places, log },
    })
    let real = createRuntime(model, group, evaluate)
    try {
      await tryModel(real, evaluate)
      if (rowsApart(graph, shapes)) await together(model, group, resources)
    } catch (error) {
      await real.close()
      if (errorCode(error) !== 'MODEL_OFF_TOLERANCE') throw error
      // Kernels of floats stray from the manifest here. Its canonical evaluation does not, and some offers ask for that.
      log.info({ event: 'model.canonical-only', manifest: cid, error: describeError(error) }, 'served canonically only')
      real = canonicalOnly(real, error)
    }
    const seconds = (performance.now() - started) / 1000
    log.info({ event: 'model.ready', manifest: cid, name: manifest.name, seconds }, 'model ready')
    return adapt(real)
  }

  /** Lets rows run together when they mean the same as alone; where they do not, each runs by itself. */
  async function together(model: Runtime['model'], group: Group, resources: Resources): Promise<void> {
    const rows = batchRows(model.manifest, resources, memoryMib)
    if (rows < 2) return
    const error = await tryRows(model, group, evaluate).then(
      () => null,
      (cause: unknown) => cause,
    )
    if (error === null) group.setMaxBatch(rows)
    else
      log.info(
        { event: 'model.unbatched', name: model.manifest.name, error: describeError(error) },
        'requests of this model do not run together',
      )
  }

  /** Unloads the model that is worth least among those that may give way to another; false when there is none. */
  async function unloadLeast(other: string): Promise<boolean> {
    const wanted = worth(other)
    const [least] = [...entries.entries()]
      .filter(([, { ready, running }]) => ready !== null && running === 0)
      .map(([cid, entry]) => [cid, entry, worth(cid)] as const)
      .filter(([, { usedAt }, value]) => now() - usedAt >= (wanted > value ? keepMs / 12 : keepMs))
      .sort(([, a, x], [, b, y]) => x - y || a.usedAt - b.usedAt)
    if (least === undefined) return false
    const [cid, entry] = least
    entries.delete(cid)
    log.info({ event: 'model.unloaded', manifest: cid }, 'model unloaded: another takes its place')
    await entry.ready!.close()
    return true
  }

  /** Makes room for one more, or says that there is none. */
  async function makeRoom(cid: string): Promise<void> {
    if ([...entries.values()].filter(({ ready }) => ready === null).length >= maxLoading)
      throw new SinterError('MODELS_BUSY', `${maxLoading} models are already loading`)
    if (entries.size >= maxModels && !(await unloadLeast(cid)))
      throw new SinterError('MODELS_BUSY', `${maxModels} models are loaded and in use`)
  }

  /** Memory for the model, taken from those that nobody uses. Throws `MODEL_TOO_LARGE` or `MODELS_BUSY`. */
  async function reserve(cid: string, entry: Entry, { bytes, deviceBytes }: Resources): Promise<void> {
    const needs = { memory: bytes * places.length, device: (deviceBytes * places.length) / devices }
    const limits = { memory: totalMib * MIB, device: deviceMib * MIB }
    for (const kind of ['memory', 'device'] as const) {
      const what = kind === 'memory' ? 'memory' : 'device memory'
      if (needs[kind] > limits[kind])
        throw new SinterError('MODEL_TOO_LARGE', `the model needs more ${what} than all models may take`)
      const held = (): number => [...entries.values()].reduce((sum, each) => sum + each.held[kind], 0)
      while (held() + needs[kind] > limits[kind])
        if (!(await unloadLeast(cid)))
          throw new SinterError('MODELS_BUSY', `the ${what} for models is taken by others that are in use`)
      entry.held[kind] = needs[kind]
    }
  }

  async function busy<T>(entry: Entry, job: () => Promise<T>): Promise<T> {
    if (closed) throw new SinterError('EXEC_CLOSED', 'the node is stopping')
    entry.running++
    try {
      return await job()
    } finally {
      entry.running--
      entry.usedAt = now()
    }
  }

  /** Counts the jobs that run, so that a model in use is not taken away. */
  const counted = (runtime: Runtime, entry: Entry): Runtime => ({
    ...runtime,
    serve: (inputs) => busy(entry, () => runtime.serve(inputs)),
    serveCanonical: (inputs) => busy(entry, () => runtime.serveCanonical(inputs)),
  })

  function start(cid: string, policy: Policy): Promise<Runtime> {
    const room = makeRoom(cid)
    const entry: Entry = {
      ...{ loading: Promise.resolve(null as never), ready: null, running: 0, usedAt: now() },
      provable: new Set(),
      held: { memory: 0, device: 0 },
    }
    entry.loading = room
      .then(() => load(cid, policy, entry))
      .then(async (runtime) => {
        if (closed) {
          await runtime.close()
          throw new SinterError('EXEC_CLOSED', 'the node is stopping')
        }
        entry.ready = counted(runtime, entry)
        entry.usedAt = now()
        return entry.ready
      })
    entries.set(cid, entry)
    entry.loading.catch(() => {
      if (entries.get(cid) === entry) entries.delete(cid)
    })
    return entry.loading
  }

  return {
    isWarm: (cid) => (entries.get(cid)?.ready ?? null) !== null,
    loaded: () => [...entries.keys()],
    names: () =>
      new Map([...entries].flatMap(([cid, { ready }]) => (ready === null ? [] : [[cid, ready.model.manifest.name]]))),
    hasRoom: () => entries.size < maxModels,
    async get(cid, policy = 'zk') {
      if (closed) throw new SinterError('EXEC_CLOSED', 'the node is stopping')
      const known = entries.get(cid)
      if (known === undefined) return start(cid, policy)
      known.usedAt = now()
      const runtime = await known.loading
      // It was loaded for another policy, perhaps.
      if (!known.provable.has(policy)) checkProvable(runtime.model.manifest, proving, policy)
      known.provable.add(policy)
      return runtime
    },
    async close() {
      closed = true
      const deadline = Date.now() + drainMs
      const working = (): boolean => [...entries.values()].some(({ running }) => running > 0)
      while (working() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
      // What is still loading ends itself when it is done; a fetch may take a minute, and nobody waits for that.
      await Promise.all([...entries.values()].map((entry) => entry.ready?.close()))
    },
  }
}
