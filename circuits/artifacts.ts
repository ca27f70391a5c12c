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
 * kept: its hash says what the key was made for, and the compiler gives the same file again. `phase1` is what all keys were
 * made from, not yet prepared (preparing is deterministic), for whoever verifies them.
 */
export type ArtifactIndex = Record<
  CircuitKind,
  { constraints: number; wires: number; sha256: Record<ArtifactKind | 'r1cs', string> }
> & { phase1: { power: number; sha256: string } }

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

async function readPinned(name: string, pinned: (index: ArtifactIndex) => string): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = new Uint8Array(await readFile(assetPath(`${FOLDER}/${name}`)))
  } catch (cause) {
    throw new SinterError('ARTIFACT_MISSING', `${name} could not be read`, { cause })
  }
  checkArtifact(name, bytes, pinned(await readArtifactIndex()))
  return bytes
}

export const artifactPath = (circuit: CircuitKind, kind: ArtifactKind): string =>
  assetPath(`${FOLDER}/${circuit}.${kind}`)

/** One artifact, compared with its pinned hash. Throws as `checkArtifact`, and `ARTIFACT_MISSING`. */
export const readArtifact = (circuit: CircuitKind, kind: ArtifactKind): Promise<Uint8Array<ArrayBuffer>> =>
  readPinned(`${circuit}.${kind}`, (index) => index[circuit].sha256[kind])

/** The first phase of the ceremony, before it was prepared for the second. Throws as `readArtifact`. */
export const readPhase1 = (): Promise<Uint8Array<ArrayBuffer>> =>
  readPinned('phase1.ptau', ({ phase1 }) => phase1.sha256)

export async function readVerifyingKey(circuit: CircuitKind): Promise<VerifyingKey> {
  return JSON.parse(new TextDecoder().decode(await readArtifact(circuit, 'vkey.json'))) as VerifyingKey
}

/** SHA-256 (`0x` hex) of each verification key: what a network's parameters name to say which setup they trust. */
export async function verifyingKeyHashes(): Promise<Record<CircuitKind, string>> {
  const index = await readArtifactIndex()
  const hashes = CIRCUIT_KINDS.map((kind) => [kind, index[kind].sha256['vkey.json']])
  return Object.fromEntries(hashes) as Record<CircuitKind, string>
}
