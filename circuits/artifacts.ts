import { readFile } from 'node:fs/promises'
import { assetPath } from '../protocol/assets.ts'
import { toHex } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { sha256 } from '../protocol/hash.ts'
import type { VerifyingKey } from './groth16.ts'
import { CIRCUIT_KINDS, type CircuitKind } from './signals.ts'

export type ArtifactKind = 'wasm' | 'zkey' | 'vkey.json'

/**
 * artifacts.json: what was made from the circuits, with the SHA-256 (`0x` hex) of every file. The r1cs itself is not
 * kept: its hash says what the key was made for, and the compiler gives the same file again.
 */
export type ArtifactIndex = Record<
  CircuitKind,
  { constraints: number; wires: number; sha256: Record<ArtifactKind | 'r1cs', string> }
>

const FOLDER = 'circuits/artifacts'

export async function readArtifactIndex(): Promise<ArtifactIndex> {
  return JSON.parse(await readFile(assetPath(`${FOLDER}/artifacts.json`), 'utf8')) as ArtifactIndex
}

/**
 * Compares bytes with their pinned hash. Throws `ARTIFACT_EMPTY` (snarkjs leaves an empty key when its setup fails) and
 * `ARTIFACT_HASH`.
 */
export function checkArtifact(name: string, bytes: Uint8Array, expected: string): void {
  if (bytes.length === 0) throw new SinterError('ARTIFACT_EMPTY', `${name} is empty`)
  const actual = toHex(sha256(bytes))
  if (actual !== expected)
    throw new SinterError('ARTIFACT_HASH', `${name} is not the file that artifacts.json names`, {
      detail: { actual, expected },
    })
}

/** One artifact, compared with its pinned hash. Throws as `checkArtifact`, and `ARTIFACT_MISSING`. */
export async function readArtifact(circuit: CircuitKind, kind: ArtifactKind): Promise<Uint8Array<ArrayBuffer>> {
  const name = `${circuit}.${kind}`
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = new Uint8Array(await readFile(assetPath(`${FOLDER}/${name}`)))
  } catch (cause) {
    throw new SinterError('ARTIFACT_MISSING', `${name} could not be read`, { cause })
  }
  checkArtifact(name, bytes, (await readArtifactIndex())[circuit].sha256[kind])
  return bytes
}

export async function readVerifyingKey(circuit: CircuitKind): Promise<VerifyingKey> {
  return JSON.parse(new TextDecoder().decode(await readArtifact(circuit, 'vkey.json'))) as VerifyingKey
}

/** SHA-256 (`0x` hex) of each verification key: what a network's parameters name to say which setup they trust. */
export async function verifyingKeyHashes(): Promise<Record<CircuitKind, string>> {
  const index = await readArtifactIndex()
  const hashes = CIRCUIT_KINDS.map((kind) => [kind, index[kind].sha256['vkey.json']])
  return Object.fromEntries(hashes) as Record<CircuitKind, string>
}
