import { describeError } from '../../protocol/errors.ts'
import type { Content } from '../net/content.ts'
import type { Log } from '../net/log.ts'
import type { ModelLibrary } from './load.ts'

/** Keeps the files of exactly these manifests from eviction. */
export type Keeper = (manifests: ReadonlySet<string>) => void

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
  function letGo(cid: string): void {
    for (const release of kept.get(cid) ?? []) release()
    kept.delete(cid)
  }

  function keep(cid: string): void {
    const pins = [content.pin(cid)]
    kept.set(cid, pins)
    library.load(cid).then(
      ({ manifest }) => {
        if (kept.get(cid) === pins) pins.push(content.pin(manifest.weights.cid))
      },
      (error: unknown) => {
        // Tried again with the next look.
        if (kept.get(cid) === pins) letGo(cid)
        log.warn(
          { event: 'model.missing', manifest: cid, error: describeError(error) },
          'the model of jobs that may be drawn is not here',
        )
      },
    )
  }

  return (manifests) => {
    for (const cid of [...kept.keys()]) if (!manifests.has(cid)) letGo(cid)
    for (const cid of manifests) if (!kept.has(cid)) keep(cid)
  }
}
