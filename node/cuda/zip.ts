import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { crc32, createInflateRaw } from 'node:zlib'
import { SinterError } from '../../protocol/errors.ts'

/**
 * Reads ZIP files, which wheels and NuGet packages are, entry by entry from disk: they have hundreds of megabytes. Stored and deflated
 * entries; no encryption, no parts, no Zip64 (files of 4 GiB and more).
 */
export type ZipEntry = { name: string; method: number; crc: number; packed: number; size: number; offset: number }

export type Zip = {
  entries: ReadonlyMap<string, ZipEntry>
  /** Writes an entry to a file and checks its size and checksum. Gives its SHA-256 in hex. Throws `ZIP_MALFORMED`. */
  extract(name: string, file: string): Promise<string>
  /** A small entry as text. Throws `ZIP_MALFORMED`. */
  text(name: string): Promise<string>
  close(): Promise<void>
}

const END = 0x06054b50
const CENTRAL = 0x02014b50
const LOCAL = 0x04034b50
const END_BYTES = 22
/** A comment may follow the end record. */
const MAX_COMMENT = 65_535
const MAX_DIRECTORY = 2 ** 26
const MAX_TEXT = 2 ** 24

const bad = (message: string): SinterError => new SinterError('ZIP_MALFORMED', message)

async function read(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position)
  if (bytesRead !== length) throw bad('the archive is cut short')
  return buffer
}

async function directory(handle: FileHandle, bytes: number): Promise<Map<string, ZipEntry>> {
  const tail = await read(
    handle,
    Math.max(0, bytes - END_BYTES - MAX_COMMENT),
    Math.min(bytes, END_BYTES + MAX_COMMENT),
  )
  let at = tail.length - END_BYTES
  while (at >= 0 && tail.readUInt32LE(at) !== END) at--
  if (at < 0) throw bad('this is no ZIP archive')
  const count = tail.readUInt16LE(at + 10)
  const size = tail.readUInt32LE(at + 12)
  const offset = tail.readUInt32LE(at + 16)
  if (count === 0xffff || offset === 0xffffffff) throw bad('archives of 4 GiB and more are not read')
  if (size > MAX_DIRECTORY || offset + size > bytes) throw bad('the archive’s directory lies outside of it')
  const list = await read(handle, offset, size)
  const entries = new Map<string, ZipEntry>()
  for (let i = 0, p = 0; i < count; i++) {
    if (p + 46 > size || list.readUInt32LE(p) !== CENTRAL) throw bad('the archive’s directory is broken')
    const [nameLength, extra, comment] = [28, 30, 32].map((field) => list.readUInt16LE(p + field)) as [
      number,
      number,
      number,
    ]
    const name = list.toString('utf8', p + 46, p + 46 + nameLength)
    entries.set(name, {
      name,
      method: list.readUInt16LE(p + 10),
      crc: list.readUInt32LE(p + 16),
      packed: list.readUInt32LE(p + 20),
      size: list.readUInt32LE(p + 24),
      offset: list.readUInt32LE(p + 42),
    })
    p += 46 + nameLength + extra + comment
  }
  return entries
}

/** Throws `FILE_UNREADABLE` or `ZIP_MALFORMED`. */
export async function openZip(path: string): Promise<Zip> {
  const handle = await open(path).catch((cause: unknown) => {
    throw new SinterError('FILE_UNREADABLE', `${path} cannot be read`, { cause })
  })
  let entries: Map<string, ZipEntry>
  try {
    entries = await directory(handle, (await handle.stat()).size)
  } catch (error) {
    await handle.close()
    throw error
  }

  const find = (name: string): ZipEntry => {
    const entry = entries.get(name)
    if (entry === undefined) throw bad(`the archive holds no ${name}`)
    if (entry.method !== 0 && entry.method !== 8) throw bad(`${name} is packed in a way that is not read`)
    return entry
  }

  async function unpack(entry: ZipEntry, write: (chunk: Buffer) => void | Promise<void>, out?: string): Promise<void> {
    const header = await read(handle, entry.offset, 30)
    if (header.readUInt32LE(0) !== LOCAL) throw bad(`${entry.name} is not where the directory says`)
    const start = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28)
    let size = 0
    let sum = 0
    const check = new Transform({
      transform(chunk: Buffer, _, done) {
        size += chunk.length
        // What unpacks to more than it says is not unpacked to the end.
        if (size > entry.size) return done(bad(`${entry.name} is larger than the directory says`))
        sum = crc32(chunk, sum)
        void write(chunk)
        done(null, out === undefined ? undefined : chunk)
      },
    })
    const packed =
      entry.packed === 0 ? [] : [handle.createReadStream({ start, end: start + entry.packed - 1, autoClose: false })]
    const [source] = packed
    try {
      if (source !== undefined) {
        const stages = entry.method === 8 ? [source, createInflateRaw(), check] : [source, check]
        if (out === undefined) {
          check.resume()
          await pipeline(stages)
        } else await pipeline([...stages, createWriteStream(out, { mode: 0o644 })])
      }
    } catch (cause) {
      const full = (cause as NodeJS.ErrnoException).code
      if (cause instanceof SinterError || full?.startsWith('E')) throw cause
      throw new SinterError('ZIP_MALFORMED', `${entry.name} cannot be unpacked`, { cause })
    }
    if (size !== entry.size || sum !== entry.crc)
      throw bad(`${entry.name} does not have the checksum that the archive names`)
  }

  return {
    entries,
    async extract(name, file) {
      const hash = createHash('sha256')
      await unpack(find(name), (chunk) => void hash.update(chunk), file)
      return hash.digest('hex')
    },
    async text(name) {
      const entry = find(name)
      if (entry.size > MAX_TEXT) throw bad(`${name} is too large`)
      const chunks: Buffer[] = []
      await unpack(entry, (chunk) => void chunks.push(chunk))
      return Buffer.concat(chunks).toString('utf8')
    },
    close: () => handle.close(),
  }
}
