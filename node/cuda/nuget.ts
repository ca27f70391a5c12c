import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { RUNTIME_VERSION } from '../../models/session.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'

/** Downloads as onnxruntime-node's own install script does (NuGet v3, https://learn.microsoft.com/nuget/api/overview), with the hash checked. */

export const NUGET_INDEX = 'https://api.nuget.org/v3/index.json'

const WAIT_MS = 30_000
/** The package has some 400 MB. */
const DOWNLOAD_MS = 30 * 60_000
const MAX_JSON = 2 ** 22

const OFFLINE =
  `Without a network: on another machine \`pip download --no-deps --only-binary :all: --platform manylinux_2_28_x86_64 ` +
  `onnxruntime-gpu==${RUNTIME_VERSION}\`, bring the .whl here and name it with --from`

const failed = (message: string, cause?: unknown): SinterError =>
  new SinterError('CUDA_DOWNLOAD', `${message}. ${OFFLINE}`, { cause })

async function get(url: string, timeoutMs: number): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) })
  } catch (cause) {
    throw failed(`${url} cannot be reached (${describeError((cause as Error).cause ?? cause)})`, cause)
  }
  if (!response.ok) throw failed(`${url} answers ${response.status}`)
  return response
}

async function json(url: string): Promise<Record<string, unknown>> {
  const text = await (await get(url, WAIT_MS)).text()
  try {
    if (text.length > MAX_JSON) throw new Error('too long')
    return JSON.parse(text) as Record<string, unknown>
  } catch (cause) {
    throw failed(`${url} answers something else than a package feed`, cause)
  }
}

type Metadata = {
  manifests: Record<string, Record<string, { package: string; path: string }>>
  packages: Record<string, { name: string; versions: { version: string }[] }>
}

/** Which package holds which file: what the installed onnxruntime-node says itself. */
function metadata(): { name: string; version: string; places: Map<string, string> } {
  const read = createRequire(import.meta.url)
  const all = read('onnxruntime-node/script/install-metadata.js') as Metadata
  const files = Object.entries(all.manifests['linux/x64:cuda12'] ?? {})
  const source = all.packages[files[0]?.[1].package ?? '']
  const version = source?.versions[0]?.version
  if (source === undefined || version === undefined)
    throw new SinterError('CUDA_SOURCE', 'the installed onnxruntime-node names no CUDA package')
  if (version !== RUNTIME_VERSION)
    throw new SinterError(
      'CUDA_VERSION',
      `onnxruntime-node ${version} is installed where ${RUNTIME_VERSION} is expected`,
    )
  return {
    name: source.name,
    version,
    places: new Map(files.map(([file, { path }]) => [file.replace(/^\.\//, ''), path])),
  }
}

/** SHA-512 that the feed names for a package (base64), from its catalogue. */
async function packageHash(registrations: string, id: string, version: string): Promise<string> {
  const leaf = await json(`${registrations}${id}/${version}.json`)
  const entry = leaf.catalogEntry
  const details = typeof entry === 'string' ? await json(entry) : (entry as Record<string, unknown> | undefined)
  const { packageHash: hash, packageHashAlgorithm: algorithm } = details ?? {}
  if (typeof hash !== 'string' || algorithm !== 'SHA512')
    throw new SinterError('CUDA_HASH', `the feed names no SHA-512 for ${id} ${version}`)
  return hash
}

/** The package in a file of `folder`. Throws `CUDA_DOWNLOAD`, `CUDA_HASH`, `CUDA_SOURCE`, `CUDA_VERSION`. */
export async function downloadPackage(
  index: string,
  folder: string,
  say: (line: string) => void,
): Promise<{ path: string; version: string; places: Map<string, string> }> {
  const { name, version, places } = metadata()
  const id = name.toLowerCase()
  const { resources } = (await json(index)) as { resources?: { '@id': string; '@type': string }[] }
  const base = (type: string): string => {
    const found = Array.isArray(resources) ? resources.find((each) => each['@type'] === type)?.['@id'] : undefined
    if (typeof found !== 'string') throw failed(`${index} names no ${type}`)
    return found.endsWith('/') ? found : `${found}/`
  }
  const packages = base('PackageBaseAddress/3.0.0')
  const { versions } = (await json(`${packages}${id}/index.json`)) as { versions?: string[] }
  if (!Array.isArray(versions) || !versions.includes(version)) throw failed(`the feed has no ${name} ${version}`)
  const expected = await packageHash(base('RegistrationsBaseUrl/3.6.0'), id, version)
  const url = `${packages}${id}/${version}/${id}.${version}.nupkg`
  say(`downloading ${url}`)
  const path = join(folder, `${id}.nupkg`)
  const response = await get(url, DOWNLOAD_MS)
  if (response.body === null) throw failed(`${url} answers nothing`)
  const hash = createHash('sha512')
  const hashing = new Transform({
    transform(chunk: Buffer, _, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
  try {
    await pipeline(
      Readable.fromWeb(response.body as import('node:stream/web').ReadableStream),
      hashing,
      createWriteStream(path),
    )
  } catch (cause) {
    throw failed(`the download of ${url} broke off`, cause)
  }
  if (hash.digest('base64') !== expected)
    throw new SinterError('CUDA_HASH', `${url} is not the package that the feed's catalogue names`)
  return { path, version, places }
}
