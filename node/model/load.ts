import { CID } from 'multiformats/cid'
import { MANIFEST_LIMITS, type Manifest, parseManifest } from '../../models/manifest.ts'
import { validateManifest } from '../../models/validate.ts'
import { equalBytes, fromHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { sha256 } from '../../protocol/hash.ts'

/** A manifest and its integer weights, fetched by content and checked. */
export type LoadedModel = { cid: CID; manifest: Manifest; weights: Uint8Array }

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

export type ModelLibrary = {
  /** Manifest and weights, fetched once and validated; concurrent calls share one fetch. */
  load(cid: string | CID): Promise<LoadedModel>
  /** The ONNX file of a loaded model, hash-checked. */
  onnx(model: LoadedModel): Promise<Uint8Array>
}

/** Throws `CID_MALFORMED`, `MODEL_TOO_LARGE`, `MODEL_HASH`, and what the content store and `validateManifest` throw. */
export function createModelLibrary(fetch: Fetch): ModelLibrary {
  const loading = new Map<string, Promise<LoadedModel>>()

  async function fetchModel(cid: CID): Promise<LoadedModel> {
    const manifest = parseManifest(await fetch(cid.toString(), { maxBytes: MANIFEST_LIMITS.bytes }))
    if (manifest.weights.bytes > MANIFEST_LIMITS.weightBytes || manifest.model.bytes > MAX_MODEL_BYTES)
      throw new SinterError('MODEL_TOO_LARGE', `the model's files are larger than this node takes`)
    const weights = await fetchFile(fetch, manifest.weights, 'weights')
    validateManifest(manifest, weights)
    return { cid, manifest, weights }
  }

  return {
    load(id) {
      const cid = typeof id === 'string' ? parseCid(id) : id
      const key = cid.toString()
      const known = loading.get(key)
      if (known) return known
      const promise = fetchModel(cid)
      loading.set(key, promise)
      // A failed fetch is not remembered: the content may appear later.
      promise.catch(() => loading.delete(key))
      return promise
    },
    onnx: (model) => fetchFile(fetch, model.manifest.model, 'model'),
  }
}
