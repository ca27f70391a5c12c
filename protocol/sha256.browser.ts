import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js'

/** SHA-256 in JavaScript: a browser's own answers later only. */
export const sha256 = (bytes: Uint8Array): Uint8Array => nobleSha256(bytes)
