import { toHex, utf8 } from '../protocol/bytes.ts'
import { sha256 } from '../protocol/hash.ts'
import extremum from './artifacts/extremum.vkey.json' with { type: 'json' }
import pointwise from './artifacts/pointwise.vkey.json' with { type: 'json' }
import product from './artifacts/product.vkey.json' with { type: 'json' }
import relation from './artifacts/relation.vkey.json' with { type: 'json' }
import type { VerifyingKey } from './groth16.ts'
import { CIRCUIT_KINDS, type CircuitKind } from './signals.ts'

/** The part of `artifacts.ts` that a browser needs, which has the verification keys in its bundle. */
const KEYS: Record<CircuitKind, VerifyingKey> = { relation, pointwise, product, extremum }

export const readVerifyingKey = async (circuit: CircuitKind): Promise<VerifyingKey> => KEYS[circuit]

/** SHA-256 (`0x` hex) of each key as its file has it, worked out from what the bundle brought. */
export async function verifyingKeyHashes(): Promise<Record<CircuitKind, string>> {
  const hashes = CIRCUIT_KINDS.map((kind) => [kind, toHex(sha256(utf8(`${JSON.stringify(KEYS[kind])}\n`)))])
  return Object.fromEntries(hashes) as Record<CircuitKind, string>
}
