import { CID } from 'multiformats/cid'
import { MANIFEST_LIMITS, type Manifest, parseManifest } from '../../models/manifest.ts'
import { validateInTurns, validateStructure } from '../../models/validate.ts'
import { equalBytes, fromHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { sha256 } from '../../protocol/hash.ts'

/** A manifest and its integer weights, fetched by content and checked. */
export type LoadedModel = { cid: CID; manifest: Manifest; weights: Uint8Array }

const exact = new WeakMap<LoadedModel, LoadedModel>()

/** The model as a job of it is judged: one that was served canonically has no tolerance. */
export function judgedModel(model: LoadedModel, canonical: boolean): LoadedModel {
  if (!canonical) return model
  const known = exact.get(model)
  if (known !== undefined) return known
  const outputs = model.manifest.outputs.map((output) => ({ ...output, tolerance: { ...output.tolerance, quanta: 0 } }))
  const made = { ...model, manifest: { ...model.manifest, outputs } }
  exact.set(model, made)
  return made
}

/** What the loader asks of the content store. */
export type Fetch = (cid: string, options: { maxBytes: number; signal?: AbortSignal }) => Promise<Uint8Array>

/** The largest model file a node fetches. */
export const MAX_MODEL_BYTES = 2 ** 30

function parseCid(text: string): CID {
  try {
    return CID.parse(text)
  } catch (cause) {
    throw new SinterError('CID_MALFORMED', `not a content id: ${text.slice(0, 80)}`, { cause })
  }
}

/** Fetches a file that a manifest names. Throws `MODEL_HASH` when it is not the one the manifest describes. */
async function fetchFile(fetch: Fetch, file: Manifest['model'], what: string): Promise<Uint8Array> {
  const bytes = await fetch(file.cid, { maxBytes: file.bytes })
  if (bytes.length !== file.bytes || !equalBytes(sha256(bytes), fromHex(file.sha256)))
    throw new SinterError('MODEL_HASH', `the ${what} file is not the one the manifest names`)
  return bytes
}

/** Weights that the library keeps in memory, all models together; the least recently used go first. */
export const KEPT_WEIGHT_BYTES = 2 ** 30

export type ModelLibrary = {
  /** Manifest and weights, fetched and validated, kept while there is room; concurrent calls share one fetch. */
  load(cid: string | CID): Promise<LoadedModel>
  /** The ONNX file of a loaded model, hash-checked. */
  onnx(model: LoadedModel): Promise<Uint8Array>
}

/** Throws `CID_MALFORMED`, `MODEL_TOO_LARGE`, `MODEL_HASH`, and what the content store and `validateInTurns` throw. */
export function createModelLibrary(fetch: Fetch): ModelLibrary {
  /** Least recently used first. */
  const loading = new Map<string, Promise<LoadedModel>>()
  const sizes = new Map<string, number>()

  function keep(key: string, bytes: number): void {
    sizes.set(key, bytes)
    let held = [...sizes.values()].reduce((sum, each) => sum + each, 0)
    for (const old of loading.keys()) {
      if (held <= KEPT_WEIGHT_BYTES || old === key) continue
      held -= sizes.get(old) ?? 0
      if (sizes.delete(old)) loading.delete(old)
    }
  }

  async function fetchModel(cid: CID): Promise<LoadedModel> {
    const manifest = parseManifest(await fetch(cid.toString(), { maxBytes: MANIFEST_LIMITS.bytes }))
    if (manifest.weights.bytes > MANIFEST_LIMITS.weightBytes || manifest.model.bytes > MAX_MODEL_BYTES)
      throw new SinterError('MODEL_TOO_LARGE', `the model's files are larger than this node takes`)
    // Before anything large is fetched.
    validateStructure(manifest)
    const weights = await fetchFile(fetch, manifest.weights, 'weights')
    await validateInTurns(manifest, weights)
    return { cid, manifest, weights }
  }

  return {
    load(id) {
      const cid = typeof id === 'string' ? parseCid(id) : id
      const key = cid.toString()
      const known = loading.get(key)
      if (known) {
        loading.delete(key)
        loading.set(key, known)
        return known
      }
      const promise = fetchModel(cid)
      loading.set(key, promise)
      promise.then(
        // A model's graph counts for something too, whatever its weights.
        ({ weights }) => keep(key, weights.length + MANIFEST_LIMITS.bytes),
        // A failed fetch is not remembered: the content may appear later.
        () => loading.delete(key),
      )
      return promise
    },
    onnx: (model) => fetchFile(fetch, model.manifest.model, 'model'),
  }
}
