/** Installing CUDA libraries from a wheel, a folder and a feed, all made here: no network, no GPU. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RUNTIME_VERSION } from '../../models/session.ts'
import { reportCuda } from '../../node/commands/cuda.ts'
import { neededLibraries } from '../../node/cuda/elf.ts'
import { installCuda } from '../../node/cuda/install.ts'
import { requirementsOf } from '../../node/cuda/requirements.ts'
import { openZip } from '../../node/cuda/zip.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'sinter-cuda-test-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))
const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'none', errorCode)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** A 64-bit ELF library that names what it is linked with, and fills up to a size. */
function library(needed: string[], size = 5_000): Buffer {
  const strings = Buffer.from(`\0${needed.join('\0')}\0`)
  const [base, headers, dynamic] = [0x10000, 64, 64 + 2 * 56]
  const tags = [...needed.map((name) => [1, strings.indexOf(`\0${name}\0`) + 1]), [5, 0], [10, strings.length], [0, 0]]
  const text = dynamic + 16 * tags.length
  tags.at(-3)![1] = base + text
  const out = Buffer.alloc(Math.max(size, text + strings.length), 7)
  out.fill(0, 0, text)
  out.writeUInt32BE(0x7f454c46, 0)
  out.set([2, 1, 1], 4)
  out.writeBigUInt64LE(BigInt(headers), 32)
  out.writeUInt16LE(56, 54)
  out.writeUInt16LE(2, 56)
  const segment = (at: number, type: number, offset: number, bytes: number): void => {
    out.writeUInt32LE(type, at)
    out.writeBigUInt64LE(BigInt(offset), at + 8)
    out.writeBigUInt64LE(BigInt(base + offset), at + 16)
    out.writeBigUInt64LE(BigInt(bytes), at + 32)
  }
  segment(headers, 1, 0, out.length)
  segment(headers + 56, 2, dynamic, 16 * tags.length)
  tags.forEach(([tag, value], i) => {
    out.writeBigUInt64LE(BigInt(tag!), dynamic + 16 * i)
    out.writeBigUInt64LE(BigInt(value!), dynamic + 16 * i + 8)
  })
  out.set(strings, text)
  return out
}

function zip(files: Record<string, Uint8Array>, stored: string[] = []): Buffer {
  const parts: Buffer[] = []
  const list: Buffer[] = []
  let offset = 0
  for (const [name, bytes] of Object.entries(files)) {
    const method = stored.includes(name) ? 0 : 8
    const packed = method === 0 ? Buffer.from(bytes) : deflateRawSync(bytes)
    const head = Buffer.alloc(30)
    head.writeUInt32LE(0x04034b50, 0)
    head.writeUInt16LE(name.length, 26)
    const entry = Buffer.alloc(46)
    entry.writeUInt32LE(0x02014b50, 0)
    entry.writeUInt16LE(method, 10)
    entry.writeUInt32LE(crc32(bytes), 16)
    entry.writeUInt32LE(packed.length, 20)
    entry.writeUInt32LE(bytes.length, 24)
    entry.writeUInt16LE(name.length, 28)
    entry.writeUInt32LE(offset, 42)
    parts.push(head, Buffer.from(name), packed)
    list.push(entry, Buffer.from(name))
    offset += 30 + name.length + packed.length
  }
  const directory = Buffer.concat(list)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Object.keys(files).length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, directory, end])
}

const CUDA = library(['libcublasLt.so.12', 'libcublas.so.12', 'libcudnn.so.9', 'libcudart.so.12', 'libc.so.6'])
const SHARED = library(['libc.so.6'], 900)
const TENSORRT = library(['libnvinfer.so.10', 'libcudart.so.12'], 3_000)
const LIBRARIES: Record<string, Buffer> = {
  'libonnxruntime_providers_cuda.so': CUDA,
  'libonnxruntime_providers_shared.so': SHARED,
  'libonnxruntime_providers_tensorrt.so': TENSORRT,
}

/** Files of a wheel as PyPI has them. */
function wheelFiles(version = RUNTIME_VERSION, change: Record<string, Buffer> = {}): Record<string, Uint8Array> {
  const info = `onnxruntime_gpu-${version}.dist-info`
  const capi = Object.fromEntries(Object.entries(LIBRARIES).map(([name, bytes]) => [`onnxruntime/capi/${name}`, bytes]))
  const record = Object.entries(capi)
    .map(([name, bytes]) => `${name},sha256=${createHash('sha256').update(bytes).digest('base64url')},${bytes.length}`)
    .join('\n')
  return {
    ...capi,
    ...change,
    [`${info}/METADATA`]: Buffer.from(`Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: ${version}\n\nText`),
    [`${info}/RECORD`]: Buffer.from(`${record}\n${info}/RECORD,,\n`),
  }
}
const wheelName = (version = RUNTIME_VERSION): string =>
  `onnxruntime_gpu-${version}-cp312-cp312-manylinux_2_28_x86_64.whl`

let made = 0
const place = (): string => {
  const path = join(folder, `${made++}`)
  mkdirSync(path)
  return path
}
function put(files: Record<string, Uint8Array>): string {
  const root = place()
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(join(root, name, '..'), { recursive: true })
    writeFileSync(join(root, name), bytes)
  }
  return root
}
const quiet = { say: () => {} }

test('a library says what it is linked with, and what is missing is named', async () => {
  const path = join(place(), 'x.so')
  writeFileSync(path, CUDA)
  assert.equal(await neededLibraries(path), [
    'libcublasLt.so.12',
    'libcublas.so.12',
    'libcudnn.so.9',
    'libcudart.so.12',
    'libc.so.6',
  ])
  const found = await requirementsOf(path, { has: (name) => name.startsWith('libcublas') || name === 'libcuda.so.1' })
  assert.equal([found.cudaMajor, found.cudnnMajor, found.driver], [12, 9, true])
  assert.equal(
    found.libraries.filter((each) => !each.found).map(({ name }) => name),
    ['libcudnn.so.9', 'libcudart.so.12'],
  )
  const lines = reportCuda({ files: [], source: { kind: 'wheel', version: '1' }, requirements: found }, [
    '/usr/local/cuda-13.0/lib64',
  ])
  assert.ok(lines.some((line) => line === 'linked with CUDA 12, cuDNN 9'))
  assert.ok(lines.some((line) => line === 'missing: libcudnn.so.9, libcudart.so.12'))
  assert.match(lines.at(-1)!, /not ready/)
  const all = await requirementsOf(path, { has: () => true })
  assert.match(
    reportCuda({ files: [], source: { kind: 'nuget', version: '1' }, requirements: all }, []).at(-1)!,
    /^ready/,
  )
  for (const bytes of [Buffer.alloc(10), Buffer.alloc(100), CUDA.subarray(0, 200)]) {
    writeFileSync(path, bytes)
    assert.is(await code(neededLibraries(path)), 'ELF_MALFORMED')
  }
})

test('from a wheel, a folder with it, and the wheel unpacked: the same files, checked against RECORD', async () => {
  const wheel = put({ [wheelName()]: zip(wheelFiles(), ['onnxruntime/capi/libonnxruntime_providers_shared.so']) })
  for (const from of [join(wheel, wheelName()), wheel, put(wheelFiles())]) {
    const into = place()
    const installed = await installCuda({ ...quiet, from, into })
    assert.is(installed.source.version, RUNTIME_VERSION)
    assert.is(installed.requirements.cudaMajor, 12)
    assert.equal(readdirSync(into).sort(), Object.keys(LIBRARIES).sort())
    for (const { file, sha256: named } of installed.files) {
      assert.equal(readFileSync(join(into, file)), LIBRARIES[file])
      assert.is(named, sha256(LIBRARIES[file]!))
    }
  }
})

test('loose files are taken, with the warning that nobody knows their version', async () => {
  const said: string[] = []
  const into = place()
  const { source } = await installCuda({ from: put(LIBRARIES), into, say: (line) => said.push(line) })
  assert.equal([source, said.length], [{ kind: 'folder', version: null }, 1])
  assert.ok(existsSync(join(into, 'libonnxruntime_providers_cuda.so')))
})

test('what is not the right thing is refused and nothing is left behind', async () => {
  const cuda = 'onnxruntime/capi/libonnxruntime_providers_cuda.so'
  const changed = Buffer.from(CUDA)
  changed[4_000]! ^= 1
  const broken = zip(wheelFiles())
  broken[200]! ^= 255
  const bomb = zip(wheelFiles(RUNTIME_VERSION, { [cuda]: Buffer.alloc(2_000_000) }))
  // The directory says it is a small file.
  const entry = bomb.lastIndexOf(Buffer.from(cuda)) - 46
  bomb.writeUInt32LE(100, entry + 24)
  const without = (name: string): Record<string, Uint8Array> =>
    Object.fromEntries(Object.entries(wheelFiles()).filter(([each]) => each !== name))
  const cases: [string, string, Record<string, Uint8Array>][] = [
    ['another version', 'CUDA_VERSION', { [wheelName('1.29.0')]: zip(wheelFiles('1.29.0')) }],
    ['another version, unpacked', 'CUDA_VERSION', wheelFiles('1.29.0')],
    [
      'a file that RECORD does not name so',
      'CUDA_HASH',
      { [wheelName()]: zip(wheelFiles(RUNTIME_VERSION, { [cuda]: changed })) },
    ],
    ['the same, unpacked', 'CUDA_HASH', wheelFiles(RUNTIME_VERSION, { [cuda]: changed })],
    ['a wheel for another system', 'CUDA_SOURCE', { [wheelName()]: zip(without(cuda)) }],
    [
      'a wheel of something else',
      'CUDA_SOURCE',
      { [wheelName()]: zip({ 'a-1.dist-info/METADATA': Buffer.from('Name: a\nVersion: 1\n') }) },
    ],
    ['an archive that is no wheel', 'CUDA_SOURCE', { [wheelName()]: zip({ a: Buffer.from('a') }) }],
    ['no archive', 'ZIP_MALFORMED', { [wheelName()]: Buffer.from('x'.repeat(500)) }],
    ['half a download', 'ZIP_MALFORMED', { [wheelName()]: zip(wheelFiles()).subarray(0, -40) }],
    ['damaged data', 'ZIP_MALFORMED', { [wheelName()]: broken }],
    ['more than it says', 'ZIP_MALFORMED', { [wheelName()]: bomb }],
    [
      'two wheels',
      'CUDA_SOURCE',
      { [wheelName()]: zip(wheelFiles()), [wheelName('1.29.0')]: zip(wheelFiles('1.29.0')) },
    ],
    ['an empty folder', 'CUDA_SOURCE', {}],
    ['half of the libraries', 'CUDA_SOURCE', { 'libonnxruntime_providers_cuda.so': CUDA }],
    [
      'a library that is none',
      'ELF_MALFORMED',
      { ...LIBRARIES, 'libonnxruntime_providers_cuda.so': Buffer.alloc(300) },
    ],
  ]
  for (const [what, expected, files] of cases) {
    const into = join(place(), 'libraries')
    assert.is(await code(installCuda({ ...quiet, from: put(files), into })), expected, what)
    assert.not.ok(existsSync(into), what)
  }
  assert.is(await code(installCuda({ ...quiet, from: join(folder, 'nowhere'), into: place() })), 'FILE_UNREADABLE')
})

test('a folder that cannot be written, and a disk that is full, are said', async () => {
  const file = join(place(), 'file')
  writeFileSync(file, '')
  assert.is(await code(installCuda({ ...quiet, from: put(LIBRARIES), into: join(file, 'x') })), 'CUDA_WRITE')
  const path = join(place(), 'a.zip')
  writeFileSync(path, zip({ a: Buffer.alloc(100_000, 1) }, ['a']))
  const archive = await openZip(path)
  if (process.platform === 'linux')
    assert.is(
      await archive.extract('a', '/dev/full').then(
        () => 'none',
        (error) => error.code,
      ),
      'ENOSPC',
    )
  assert.is(await code(archive.extract('b', join(folder, 'b'))), 'ZIP_MALFORMED')
  await archive.close()
})

/** A NuGet feed with one package. */
async function feed(
  change: { versions?: string[]; hash?: string; cut?: boolean } = {},
): Promise<{ index: string; server: Server }> {
  const id = 'microsoft.ml.onnxruntime.gpu.linux'
  const bytes = zip(
    Object.fromEntries(Object.entries(LIBRARIES).map(([name, each]) => [`runtimes/linux-x64/native/${name}`, each])),
  )
  const hash = change.hash ?? createHash('sha512').update(bytes).digest('base64')
  const server = createServer((request, response) => {
    const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const json = (value: object): void =>
      void response.setHeader('Content-Type', 'application/json').end(JSON.stringify(value))
    const answers: Record<string, () => void> = {
      '/index.json': () =>
        json({
          resources: [
            { '@id': `${at}/flat/`, '@type': 'PackageBaseAddress/3.0.0' },
            { '@id': `${at}/registration/`, '@type': 'RegistrationsBaseUrl/3.6.0' },
          ],
        }),
      [`/flat/${id}/index.json`]: () => json({ versions: change.versions ?? ['1.29.0', RUNTIME_VERSION] }),
      [`/registration/${id}/${RUNTIME_VERSION}.json`]: () => json({ catalogEntry: `${at}/catalog.json` }),
      '/catalog.json': () => json({ packageHash: hash, packageHashAlgorithm: 'SHA512' }),
      [`/flat/${id}/${RUNTIME_VERSION}/${id}.${RUNTIME_VERSION}.nupkg`]: () => {
        response.setHeader('Content-Length', bytes.length)
        if (!change.cut) return void response.end(bytes)
        response.write(bytes.subarray(0, bytes.length >> 1))
        setTimeout(() => response.destroy(), 20)
      },
    }
    const answer = answers[request.url ?? '']
    if (answer === undefined) response.writeHead(404).end()
    else answer()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { index: `http://127.0.0.1:${(server.address() as AddressInfo).port}/index.json`, server }
}

test('from a feed, as the runtime’s own script takes it, with the catalogue’s hash', async () => {
  const { index, server } = await feed()
  const into = place()
  const { source, files } = await installCuda({ ...quiet, nuget: index, into })
  assert.equal(source, { kind: 'nuget', version: RUNTIME_VERSION })
  for (const { file } of files) assert.equal(readFileSync(join(into, file)), LIBRARIES[file])
  server.close()
})

test('a feed that lies, breaks off, lacks the version or is not there; without a network the way is named', async () => {
  const cases: [string, Parameters<typeof feed>[0]][] = [
    ['CUDA_HASH', { hash: createHash('sha512').update('other').digest('base64') }],
    ['CUDA_DOWNLOAD', { versions: ['1.29.0'] }],
    ['CUDA_DOWNLOAD', { cut: true }],
  ]
  let last = ''
  for (const [expected, change] of cases) {
    const { index, server } = await feed(change)
    last = index
    assert.is(await code(installCuda({ ...quiet, nuget: index, into: place() })), expected)
    server.close()
    server.closeAllConnections()
  }
  const error = await installCuda({ ...quiet, nuget: last, into: place() }).catch(
    (cause: unknown) => cause as SinterError,
  )
  assert.ok(error instanceof SinterError && error.code === 'CUDA_DOWNLOAD')
  assert.match((error as SinterError).message, /cannot be reached.*--from/)
})

test.run()
