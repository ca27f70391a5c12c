import { base32 } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { concat } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { sha256 } from '../protocol/hash.ts'

const RAW = 0x55
const DAG_PB = 0x70
const SHA2_256 = 0x12
const CHUNK_BYTES = 1_048_576
const MAX_LINKS = 1024

const cidOf = (codec: number, block: Uint8Array): CID => CID.createV1(codec, Digest.create(SHA2_256, sha256(block)))

function varint(value: number): Uint8Array {
  const out: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128)
  out.push(rest)
  return Uint8Array.from(out)
}

const intField = (field: number, value: number): Uint8Array => concat(varint(field * 8), varint(value))
const bytesField = (field: number, value: Uint8Array): Uint8Array =>
  concat(varint(field * 8 + 2), varint(value.length), value)

/**
 * The CID that `addBytes` of @helia/unixfs gives with its defaults: version 1, raw leaves of 1 MiB, balanced layout. A
 * file of one chunk is a single raw block; a longer one is a dag-pb node over its chunks, encoded here by hand so that
 * naming a file needs no block store. Throws `FILE_TOO_LARGE` beyond one level of links (1 GiB).
 */
export async function fileCid(bytes: Uint8Array): Promise<string> {
  if (bytes.length <= CHUNK_BYTES) return cidOf(RAW, bytes).toString(base32)
  const links: Uint8Array[] = []
  // UnixFS Data: Type = File, filesize, one blocksize per chunk.
  const data: Uint8Array[] = [intField(1, 2), intField(3, bytes.length)]
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const chunk = bytes.subarray(at, at + CHUNK_BYTES)
    // PBLink: Hash, empty Name, Tsize.
    const link = concat(
      bytesField(1, cidOf(RAW, chunk).bytes),
      bytesField(2, new Uint8Array(0)),
      intField(3, chunk.length),
    )
    links.push(bytesField(2, link))
    data.push(intField(4, chunk.length))
  }
  if (links.length > MAX_LINKS) throw new SinterError('FILE_TOO_LARGE', 'files of more than 1 GiB have no CID here')
  // The links come before the data in dag-pb's canonical form.
  return cidOf(DAG_PB, concat(...links, bytesField(1, concat(...data)))).toString(base32)
}
