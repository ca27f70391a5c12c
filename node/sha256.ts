import { createHash } from 'node:crypto'

/** SHA-256 by the system's library: several times as fast as JavaScript where much is hashed. */
export const fastSha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()
