import { bytesToBigint, concat, utf8 } from './bytes.ts'
import { sha256 } from './sha256.ts'
import type { Tree } from './statement.ts'

const DOMAIN = utf8('sinter/1/salt')
/** Bytes that SHA-256 takes at a time, to which HMAC fills its key up. */
const BLOCK = 64

/**
 * Salts of one leaf after the other under one key of 32 bytes. HMAC (RFC 2104) of a message of one length, in place: a tensor has thousands of leaves, and
 * general implementations take six times as long for each.
 */
export function saltsOf(jobKey: Uint8Array): (tensor: number, tree: Tree, leaf: number) => bigint {
  const key = new Uint8Array(BLOCK)
  key.set(jobKey)
  const pad = (byte: number): Uint8Array => key.map((each) => each ^ byte)
  const inner = concat(pad(0x36), DOMAIN, new Uint8Array(9))
  const outer = concat(pad(0x5c), new Uint8Array(32))
  const message = new DataView(inner.buffer, BLOCK + DOMAIN.length)
  return (tensor, tree, leaf) => {
    message.setUint32(0, tensor)
    message.setUint8(4, tree)
    message.setUint32(5, leaf)
    outer.set(sha256(inner), BLOCK)
    return bytesToBigint(sha256(outer).subarray(0, 31))
  }
}

/**
 * Salt of one leaf: the first 31 bytes of HMAC-SHA256(jobKey, "sinter/1/salt" ‖ u32be tensor ‖ u8 tree ‖ u32be leaf).
 * Both sides of a job derive the same salts from the job key, so both can compute the same roots; nobody else can
 * guess low-entropy data from a leaf.
 */
export const leafSalt = (jobKey: Uint8Array, tensor: number, tree: Tree, leaf: number): bigint =>
  saltsOf(jobKey)(tensor, tree, leaf)
