/** A browser's own SHA-256 answers later only, so it is JavaScript's here. */
export { sha256 as fastSha256 } from '../protocol/hash.ts'
