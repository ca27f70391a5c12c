import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToBigint, concat, u32, utf8 } from './bytes.ts'
import type { Tree } from './statement.ts'

const DOMAIN = utf8('sinter/1/salt')

/** Salts of one leaf after the other under one key, whose part of the work is done once. */
export function saltsOf(jobKey: Uint8Array): (tensor: number, tree: Tree, leaf: number) => bigint {
  const keyed = hmac.create(sha256, jobKey)
  return (tensor, tree, leaf) => {
    const mac = keyed
      .clone()
      .update(concat(DOMAIN, u32(tensor), Uint8Array.of(tree), u32(leaf)))
      .digest()
    return bytesToBigint(mac.subarray(0, 31))
  }
}

/**
 * Salt of one leaf: the first 31 bytes of HMAC-SHA256(jobKey, "sinter/1/salt" ‖ u32be tensor ‖ u8 tree ‖ u32be leaf).
 * Both sides of a job derive the same salts from the job key, so both can compute the same roots; nobody else can
 * guess low-entropy data from a leaf.
 */
export const leafSalt = (jobKey: Uint8Array, tensor: number, tree: Tree, leaf: number): bigint =>
  saltsOf(jobKey)(tensor, tree, leaf)
