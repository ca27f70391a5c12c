import { parseModel } from '../../models/onnx.ts'
import type { ExecutionProvider } from '../../models/session.ts'
import { checkModel } from '../../models/validate.ts'
import { createExecutor } from '../exec/host.ts'
import type { Content } from '../net/content.ts'
import type { Log } from '../net/log.ts'
import type { ModelLibrary } from './load.ts'
import { createRuntime, type Runtime, tryModel } from './runtime.ts'

export type RuntimesComponents = {
  library: ModelLibrary
  content: Pick<Content, 'provide'>
  executionProvider: ExecutionProvider
  memoryMib: number
  /** Milliseconds one job may take. @default 30_000 */
  timeoutMs?: number
  adapt(real: Runtime): Runtime
  log: Log
}

/** Models loaded for serving, each in a child process of its own. */
export type Runtimes = {
  /** Fetches, admits, loads and tries a model; at once when it is loaded. Throws the codes of each of these. */
  get(manifest: string): Promise<Runtime>
  isWarm(manifest: string): boolean
  close(): Promise<void>
}

export function createRuntimes(components: RuntimesComponents): Runtimes {
  const { library, content, executionProvider, memoryMib, timeoutMs = 30_000, adapt, log } = components
  const loading = new Map<string, Promise<Runtime>>()
  const warm = new Set<string>()

  async function load(cid: string): Promise<Runtime> {
    const started = performance.now()
    const model = await library.load(cid)
    const onnx = await library.onnx(model)
    // Parsed before it is loaded: what the allow-list does not have never reaches the runtime.
    parseModel(onnx)
    checkModel(model.manifest, onnx)
    const executor = await createExecutor({ model: onnx, executionProvider, timeoutMs, memoryMb: memoryMib, log })
    const real = createRuntime(model, executor)
    try {
      await tryModel(real)
    } catch (error) {
      await real.close()
      throw error
    }
    warm.add(cid)
    const seconds = (performance.now() - started) / 1000
    log.info({ event: 'model.ready', manifest: cid, name: model.manifest.name, seconds }, 'model ready')
    for (const file of [cid, model.manifest.model.cid, model.manifest.weights.cid])
      content
        .provide(file)
        .catch((error: unknown) => log.debug({ error: String(error) }, 'provider record not published'))
    return adapt(real)
  }

  return {
    isWarm: (cid) => warm.has(cid),
    get(cid) {
      const known = loading.get(cid)
      if (known) return known
      const promise = load(cid)
      loading.set(cid, promise)
      promise.catch(() => loading.delete(cid))
      return promise
    },
    async close() {
      const all = await Promise.allSettled(loading.values())
      for (const each of all) if (each.status === 'fulfilled') await each.value.close()
    },
  }
}
