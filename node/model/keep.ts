import { describeError } from '../../protocol/errors.ts'
import type { Content } from '../net/content.ts'
import type { Log } from '../net/log.ts'
import type { ModelLibrary } from './load.ts'

/** Keeps the files of exactly these manifests from eviction. */
export type Keeper = (manifests: ReadonlySet<string>) => Promise<void>

/**
 * What jobs are evaluated with again when they are drawn, and voters are handed: manifest and weights, not the ONNX file. They are needed hours
 * after the model was last served, over restarts, and perhaps nobody else has them: without them an honest provider has no trace.
 */
export function createKeeper({
  library,
  content,
  log,
}: {
  library: Pick<ModelLibrary, 'load'>
  content: Pick<Content, 'pin'>
  log: Log
}): Keeper {
  const kept = new Map<string, (() => void)[]>()
  return async (manifests) => {
    for (const [cid, pins] of kept) {
      if (manifests.has(cid)) continue
      kept.delete(cid)
      for (const release of pins) release()
    }
    for (const cid of manifests) {
      if (kept.has(cid)) continue
      const pins = [content.pin(cid)]
      kept.set(cid, pins)
      try {
        pins.push(content.pin((await library.load(cid)).manifest.weights.cid))
      } catch (error) {
        // Tried again with the next look.
        for (const release of pins) release()
        kept.delete(cid)
        log.warn(
          { event: 'model.missing', manifest: cid, error: describeError(error) },
          'the model of jobs that may be drawn is not here',
        )
      }
    }
  }
}
