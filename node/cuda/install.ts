import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { libraryFolder, providerLibraries, RUNTIME_VERSION } from '../../models/session.ts'
import { SinterError } from '../../protocol/errors.ts'
import { downloadPackage, NUGET_INDEX } from './nuget.ts'
import { type Requirements, requirementsOf } from './requirements.ts'
import { openZip, type Zip } from './zip.ts'

/** Puts ONNX Runtime's CUDA and TensorRT libraries beside the runtime: they are too large for npm, so it does not bring them. */
export type CudaInstallInit = {
  /** A wheel of onnxruntime-gpu, a folder with one in it, or a folder with its files. @default downloaded from NuGet */
  from?: string
  /** Where the runtime's libraries are. @default those of the installed onnxruntime-node */
  into?: string
  /** Service index of the NuGet feed. @default nuget.org's */
  nuget?: string
  say(line: string): void
}

export type CudaInstalled = {
  files: { file: string; sha256: string; bytes: number }[]
  /** Where they came from; `version` is null for loose files, which do not say it. */
  source: { kind: 'wheel' | 'folder' | 'nuget'; version: string | null }
  requirements: Requirements
}

const WHEEL = `onnxruntime-gpu ${RUNTIME_VERSION}`
/** Folder of the libraries inside of a wheel, packed or not. */
const CAPI = 'onnxruntime/capi/'

/** Platforms for which ONNX Runtime's Node package can use CUDA. */
const PLATFORMS = ['linux/x64']

const fail = (code: string, message: string, cause?: unknown): never => {
  throw new SinterError(code, message, { cause })
}

/** The libraries we take, the optional one last. */
const wanted = (): { file: string; optional: boolean }[] => {
  const { shared, cuda, tensorrt } = providerLibraries('linux')
  return [
    { file: shared, optional: false },
    { file: cuda, optional: false },
    { file: tensorrt, optional: true },
  ]
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** Hashes that a wheel's RECORD names, in hex. */
function recordHashes(record: string): Map<string, string> {
  const hashes = new Map<string, string>()
  for (const line of record.split('\n')) {
    const match = /^"?([^,"]+)"?,sha256=([A-Za-z0-9_-]{43}),\d+\r?$/.exec(line)
    if (match !== null) hashes.set(match[1]!, Buffer.from(match[2]!, 'base64url').toString('hex'))
  }
  return hashes
}

function checkVersion(metadata: string, where: string): string {
  const name = /^Name: *(\S+)/m.exec(metadata)?.[1]?.toLowerCase().replaceAll('_', '-')
  const version = /^Version: *(\S+)/m.exec(metadata)?.[1]
  if (name !== 'onnxruntime-gpu') fail('CUDA_SOURCE', `${where} is ${name ?? 'no Python package'}, not ${WHEEL}`)
  if (version !== RUNTIME_VERSION)
    fail(
      'CUDA_VERSION',
      `${where} is onnxruntime-gpu ${version}; this runtime is ${RUNTIME_VERSION} and loads no other`,
    )
  return version!
}

const checkHash = (file: string, expected: string | undefined, actual: string): void => {
  if (expected === undefined) fail('CUDA_HASH', `the wheel's RECORD does not name ${file}`)
  if (expected !== actual) fail('CUDA_HASH', `${file} is not the file that the wheel's RECORD names`)
}

type Staged = { source: CudaInstalled['source']; hashes: Map<string, string> }

async function fromWheel(path: string, staging: string): Promise<Staged> {
  const zip: Zip = await openZip(path)
  try {
    const info = [...zip.entries.keys()].find((name) => /^[^/]+\.dist-info\/METADATA$/.test(name))
    if (info === undefined) return fail('CUDA_SOURCE', `${path} is no wheel`)
    const version = checkVersion(await zip.text(info), path)
    const record = recordHashes(await zip.text(info.replace(/METADATA$/, 'RECORD')))
    const hashes = new Map<string, string>()
    for (const { file, optional } of wanted()) {
      if (optional && !zip.entries.has(CAPI + file)) continue
      if (!zip.entries.has(CAPI + file)) fail('CUDA_SOURCE', `${path} holds no ${CAPI}${file}: it is not a Linux wheel`)
      const hash = await zip.extract(CAPI + file, join(staging, file))
      checkHash(file, record.get(CAPI + file), hash)
      hashes.set(file, hash)
    }
    return { source: { kind: 'wheel', version }, hashes }
  } finally {
    await zip.close()
  }
}

async function fromFolder(folder: string, staging: string, say: (line: string) => void): Promise<Staged> {
  const names = readdirSync(folder)
  const wheels = names.filter((name) => name.endsWith('.whl') && /^onnxruntime[-_]gpu-/.test(name))
  if (wheels.length > 1) fail('CUDA_SOURCE', `${folder} holds several wheels: name one of ${wheels.join(', ')}`)
  if (wheels[0] !== undefined) return fromWheel(join(folder, wheels[0]), staging)
  const { cuda } = providerLibraries('linux')
  const place = [folder, join(folder, CAPI), join(folder, 'capi')].find((each) => existsSync(join(each, cuda)))
  if (place === undefined) return fail('CUDA_SOURCE', `${folder} holds neither a wheel of ${WHEEL} nor ${cuda}`)
  // An unpacked wheel says its version and the hashes of its files.
  const info = names.find((name) => /^onnxruntime_gpu-.*\.dist-info$/.test(name))
  let version: string | null = null
  let record: Map<string, string> | null = null
  if (info !== undefined) {
    version = checkVersion(readFileSync(join(folder, info, 'METADATA'), 'utf8'), folder)
    record = recordHashes(readFileSync(join(folder, info, 'RECORD'), 'utf8'))
  } else say(`the files do not say which version they are: they must be those of ${WHEEL}`)
  const hashes = new Map<string, string>()
  for (const { file, optional } of wanted()) {
    const path = join(place, file)
    if (!existsSync(path)) {
      if (optional) continue
      fail('CUDA_SOURCE', `${place} holds no ${file}`)
    }
    const hash = await sha256Of(path)
    if (record !== null) checkHash(file, record.get(CAPI + file), hash)
    await copyFile(path, join(staging, file))
    hashes.set(file, hash)
  }
  return { source: { kind: 'folder', version }, hashes }
}

async function fromNuget(index: string, staging: string, say: (line: string) => void): Promise<Staged> {
  const { path, version, places } = await downloadPackage(index, staging, say)
  const zip = await openZip(path)
  try {
    const hashes = new Map<string, string>()
    for (const { file, optional } of wanted()) {
      const entry = places.get(file)
      if (entry === undefined || !zip.entries.has(entry)) {
        if (optional) continue
        return fail('CUDA_SOURCE', `the NuGet package holds no ${file}`)
      }
      hashes.set(file, await zip.extract(entry, join(staging, file)))
    }
    return { source: { kind: 'nuget', version }, hashes }
  } finally {
    await zip.close()
    await rm(path, { force: true })
  }
}

/**
 * Installs the libraries and says what they need. Nothing is in place before everything is checked. Throws `CUDA_PLATFORM`,
 * `RUNTIME_MISSING`, `FILE_UNREADABLE`, `ZIP_MALFORMED`, `CUDA_SOURCE` (not the files), `CUDA_VERSION`, `CUDA_HASH`, `CUDA_DOWNLOAD` with
 * the way without a network, `CUDA_WRITE`.
 */
export async function installCuda(init: CudaInstallInit): Promise<CudaInstalled> {
  const { from, nuget = NUGET_INDEX, say } = init
  const platform = `${process.platform}/${process.arch}`
  if (!PLATFORMS.includes(platform))
    fail(
      'CUDA_PLATFORM',
      `ONNX Runtime for Node has CUDA on ${PLATFORMS.join(', ')}, not on ${platform}: use --ep webgpu`,
    )
  const into = init.into ?? libraryFolder()
  const staging = await mkdtemp(join(tmpdir(), 'sinter-cuda-'))
  try {
    const kind = from === undefined ? null : statSync(from, { throwIfNoEntry: false })
    if (kind === undefined) fail('FILE_UNREADABLE', `${from} does not exist`)
    const { source, hashes } =
      from === undefined
        ? await fromNuget(nuget, staging, say)
        : kind!.isDirectory()
          ? await fromFolder(from, staging, say)
          : await fromWheel(from, staging)
    const { cuda } = providerLibraries('linux')
    const requirements = await requirementsOf(join(staging, cuda))
    const files: CudaInstalled['files'] = []
    try {
      await mkdir(into, { recursive: true })
      for (const [file, sha256] of hashes) {
        // Beside its place first: a process that starts meanwhile sees all of it or nothing.
        const part = join(into, `.${basename(file)}.part`)
        await copyFile(join(staging, file), part)
        await rename(part, join(into, file))
        files.push({ file, sha256, bytes: (await stat(join(into, file))).size })
      }
    } catch (cause) {
      fail('CUDA_WRITE', `the libraries cannot be written to ${into}`, cause)
    }
    return { files, source, requirements }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}
