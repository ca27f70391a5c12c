import { decode } from './codec.ts'
import { BlocksQuerySchema } from './gen/sinter_pb.js'

/** Limits of the block stream (spec/storage.md). */
export const BLOCK_LIMITS = {
  /** Bytes of a block; the leaves that we make have 2^20. */
  bytes: 2 ** 21,
  /** Hashes in a query. */
  hashes: 64,
  /** Bytes of a query: 64 hashes with a tag and a length each. */
  query: 64 * 34,
} as const

/** The hashes of a query, or null when the bytes are none: not canonical, no hash, too many, or one that is not 32 bytes. */
export function decodeBlocksQuery(bytes: Uint8Array): Uint8Array[] | null {
  if (bytes.length > BLOCK_LIMITS.query) return null
  const query = decode(BlocksQuerySchema, bytes)
  if (query === null || query.hashes.length === 0 || query.hashes.length > BLOCK_LIMITS.hashes) return null
  return query.hashes.every(({ length }) => length === 32) ? query.hashes : null
}
