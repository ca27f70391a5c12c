import { open } from 'node:fs/promises'
import { SinterError } from '../../protocol/errors.ts'

const PT_LOAD = 1
const PT_DYNAMIC = 2
const DT_NEEDED = 1
const DT_STRTAB = 5
const DT_STRSZ = 10
const MAX_TABLE = 2 ** 26

const bad = (path: string, what: string): SinterError =>
  new SinterError('ELF_MALFORMED', `${path} is no 64-bit Linux library: ${what}`)

/** Names of the libraries that a 64-bit little-endian ELF library is linked with (System V ABI). Throws `ELF_MALFORMED`. */
export async function neededLibraries(path: string): Promise<string[]> {
  const handle = await open(path)
  try {
    const { size } = await handle.stat()
    const at = async (position: number, length: number): Promise<Buffer> => {
      if (length > MAX_TABLE || position + length > size) throw bad(path, 'a table lies outside of it')
      return (await handle.read(Buffer.alloc(length), 0, length, position)).buffer
    }
    const header = await at(0, Math.min(64, size))
    if (header.length < 64 || header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
      throw bad(path, 'wrong header')
    const [entryBytes, count] = [header.readUInt16LE(54), header.readUInt16LE(56)]
    if (entryBytes < 56) throw bad(path, 'wrong program headers')
    const table = await at(Number(header.readBigUInt64LE(32)), entryBytes * count)
    const segments = Array.from({ length: count }, (_, i) => {
      const p = i * entryBytes
      const word = (offset: number): number => Number(table.readBigUInt64LE(p + offset))
      return { type: table.readUInt32LE(p), offset: word(8), address: word(16), bytes: word(32) }
    })
    const dynamic = segments.find(({ type }) => type === PT_DYNAMIC)
    if (dynamic === undefined) return []
    const tags = await at(dynamic.offset, dynamic.bytes)
    const names: number[] = []
    let strings = 0
    let stringBytes = 0
    for (let p = 0; p + 16 <= tags.length; p += 16) {
      const tag = Number(tags.readBigUInt64LE(p))
      const value = Number(tags.readBigUInt64LE(p + 8))
      if (tag === 0) break
      if (tag === DT_NEEDED) names.push(value)
      else if (tag === DT_STRTAB) strings = value
      else if (tag === DT_STRSZ) stringBytes = value
    }
    const home = segments.find(
      ({ type, address, bytes }) => type === PT_LOAD && strings >= address && strings < address + bytes,
    )
    if (home === undefined) throw bad(path, 'no names')
    const text = await at(home.offset + strings - home.address, stringBytes)
    return names.map((start) => {
      const end = text.indexOf(0, start)
      if (start >= text.length || end < 0) throw bad(path, 'a name lies outside of the table')
      return text.toString('latin1', start, end)
    })
  } finally {
    await handle.close()
  }
}
