import { admitModel } from '../../models/lower.ts'
import type { ExecutionProvider } from '../../models/session.ts'
import { checkModel } from '../../models/validate.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import { evaluateHere } from '../attestation/trace.ts'
import type { Tracer } from '../attestation/tracer.ts'
import { createExecutor } from '../exec/host.ts'
import type { Content } from '../net/content.ts'
import type { Log } from '../net/log.ts'
import { checkProvable, type ProvingLimits } from './cost.ts'
import type { LoadedModel, ModelLibrary } from './load.ts'
import { createRuntime, type Runtime, tryModel } from './runtime.ts'

export type RuntimesComponents = {
  library: ModelLibrary
  content: Pick<Content, 'provide' | 'pin'>
  executionProvider: ExecutionProvider
  memoryMib: number
  /** Canonical outputs of a model that is tried. @default evaluated in this process, which stands still meanwhile */
  evaluate?: Tracer['evaluate']
  /** What the network asks of attestations: a model that could ask more is refused. */
  proving: ProvingLimits
  /** Milliseconds one job may take. @default 30_000 */
  timeoutMs?: number
  adapt(real: Runtime): Runtime
  now(): number
  log: Log
}

export type RuntimesInit = {
  /** Models loaded at once, each a process of its own. @default 4 */
  maxModels?: number
  /** Models being fetched and loaded at once. @default 2 */
  maxLoading?: number
  /** A loaded model gives way to another when no job came for this long (ms). @default 60_000 */
  keepMs?: number
}

/** Models loaded for serving, each in a child process of its own. */
export type Runtimes = {
  /**
   * Fetches, admits, loads and tries a model; at once when it is loaded. Throws the codes of each of these, `MODELS_BUSY` when too
   * many are loading or in use, and `MODEL_UNPROVABLE` when its jobs might not be attested in time under the policy.
   */
  get(manifest: string, policy?: Policy): Promise<Runtime>
  isWarm(manifest: string): boolean
  close(): Promise<void>
}

/**
 * Multiply-adds of a model that a provider serves: a few seconds of evaluation, which a new model takes three times before it is
 * bid for. Whether drawn jobs can be committed in time is asked besides (cost.ts).
 */
export const MAX_SERVED_UNITS = 2 ** 33

type Entry = { loading: Promise<Runtime>; ready: Runtime | null; running: number; usedAt: number }

export function createRuntimes(components: RuntimesComponents, init: RuntimesInit = {}): Runtimes {
  const { library, content, executionProvider, memoryMib, proving, timeoutMs = 30_000, adapt, now, log } = components
  const { evaluate = evaluateHere } = components
  const { maxModels = 4, maxLoading = 2, keepMs = 60_000 } = init
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

  async function load(cid: string, policy: Policy): Promise<Runtime> {
    const started = performance.now()
    const model = await library.load(cid)
    const { manifest } = model
    if (manifest.units > MAX_SERVED_UNITS)
      throw new SinterError('MODEL_TOO_LARGE', `the model has ${manifest.units} units, more than ${MAX_SERVED_UNITS}`)
    if (manifest.model.bytes > memoryMib * 2 ** 20)
      throw new SinterError('MODEL_TOO_LARGE', 'the model is larger than the memory that jobs may use')
    checkProvable(manifest, proving, policy)
    // From here on no eviction takes them: jobs that are drawn later need them too.
    const files = [cid, manifest.model.cid, manifest.weights.cid]
    const pins = files.map((file) => content.pin(file))
    const unpin = (): void => {
      for (const release of pins) release()
    }
    try {
      const runtime = await ready(cid, model, started)
      void announce(files)
      return { ...runtime, close: () => runtime.close().finally(unpin) }
    } catch (error) {
      unpin()
      throw error
    }
  }

  async function ready(cid: string, model: LoadedModel, started: number): Promise<Runtime> {
    const { manifest } = model
    const onnx = await library.onnx(model)
    // Parsed before it is loaded: what the allow-list does not have never reaches the runtime.
    admitModel(onnx, manifest)
    checkModel(manifest, onnx)
    const executor = await createExecutor({ model: onnx, executionProvider, timeoutMs, memoryMb: memoryMib, log })
    const real = createRuntime(model, executor, evaluate)
    try {
      await tryModel(real, evaluate)
    } catch (error) {
      await real.close()
      throw error
    }
    const seconds = (performance.now() - started) / 1000
    log.info({ event: 'model.ready', manifest: cid, name: manifest.name, seconds }, 'model ready')
    return adapt(real)
  }

  /** Makes room for one more, or says that there is none. */
  async function makeRoom(): Promise<void> {
    const all = [...entries.entries()]
    if (all.filter(([, { ready }]) => ready === null).length >= maxLoading)
      throw new SinterError('MODELS_BUSY', `${maxLoading} models are already loading`)
    if (all.length < maxModels) return
    const idle = all.filter(([, each]) => each.ready !== null && each.running === 0 && now() - each.usedAt >= keepMs)
    const [oldest] = idle.sort(([, a], [, b]) => a.usedAt - b.usedAt)
    if (oldest === undefined) throw new SinterError('MODELS_BUSY', `${maxModels} models are loaded and in use`)
    const [cid, entry] = oldest
    entries.delete(cid)
    log.info({ event: 'model.unloaded', manifest: cid }, 'model unloaded: another takes its place')
    await entry.ready!.close()
  }

  async function busy<T>(entry: Entry, job: () => Promise<T>): Promise<T> {
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
    const room = makeRoom()
    const entry: Entry = { loading: Promise.resolve(null as never), ready: null, running: 0, usedAt: now() }
    entry.loading = room
      .then(() => load(cid, policy))
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
    async get(cid, policy = 'zk') {
      if (closed) throw new SinterError('EXEC_CLOSED', 'the node is stopping')
      const known = entries.get(cid)
      if (known === undefined) return start(cid, policy)
      known.usedAt = now()
      const runtime = await known.loading
      // It was loaded for another policy, perhaps.
      checkProvable(runtime.model.manifest, proving, policy)
      return runtime
    },
    async close() {
      closed = true
      // What is still loading ends itself when it is done; a fetch may take a minute, and nobody waits for that.
      await Promise.all([...entries.values()].map((entry) => entry.ready?.close()))
    },
  }
}
