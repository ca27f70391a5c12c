// The steps of a Groth16 ceremony, for the development setup and for people who take part in a real one. Points and
// transcripts are snarkjs'; what is added here is refusing what snarkjs lets pass.
import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as snarkjs from 'snarkjs'
import { toHex } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { sha256 } from '../protocol/hash.ts'
import type { ArtifactIndex, ArtifactKind } from './artifacts.ts'
import { r1csHeader } from './compile.ts'
import { prepareKey, type VerifyingKey } from './groth16.ts'
import { CIRCUIT_KINDS, type CircuitKind } from './signals.ts'
import { readProvingKey } from './zkey.ts'

/** log2 of the evaluation domain of every circuit. */
export const PHASE1_POWER = 14
/** A beacon is hashed 2^10 times, the least that snarkjs takes. */
export const BEACON_EXPONENT = 10
const BEACON = /^([0-9a-f]{2}){1,255}$/

/** One part in a key. The hash is what its contributor published; a name is whatever that person wrote. */
export type Contribution = { name: string; hash: string }

const fileBytes = async (path: string): Promise<Uint8Array> => {
  try {
    return new Uint8Array(await readFile(path))
  } catch (cause) {
    throw new SinterError('FILE_UNREADABLE', `cannot read ${path}`, { cause })
  }
}

/** SHA-256 of a file, `0x` hex. */
export const fileHash = async (path: string): Promise<string> => toHex(sha256(await fileBytes(path)))

/** snarkjs mixes this with 64 bytes that it draws itself. Its generator's state never leaves the process. */
const entropy = (): string => randomBytes(64).toString('hex')

/**
 * The first phase for all circuits of a domain up to 2^power: one contribution and a beacon, not yet prepared for the
 * second phase. `work` is a stem for intermediate files. The development setup's; a real network takes a public phase 1.
 */
export async function makePhase1(to: string, work: string, power: number, beacon: string): Promise<void> {
  const curve = await snarkjs.curves.getCurveFromName('bn128')
  await snarkjs.powersOfTau.newAccumulator(curve, power, `${work}.0`)
  await snarkjs.powersOfTau.contribute(`${work}.0`, `${work}.1`, 'sinter development', entropy())
  await snarkjs.powersOfTau.beacon(`${work}.1`, to, 'sinter development beacon', beacon, BEACON_EXPONENT)
}

/** Computes what the second phase needs of a first one, minutes for 2^14. Deterministic: no secret and no choice is in it. */
export async function preparePhase1(from: string, to: string): Promise<void> {
  await snarkjs.powersOfTau.preparePhase2(from, to)
}

/** Whether a first phase is a chain of contributions, each made from the one before. Throws `CEREMONY_PHASE1`. */
export async function verifyPhase1(path: string): Promise<void> {
  let valid = false
  let cause: unknown
  try {
    valid = (await snarkjs.powersOfTau.verify(path)) === true
  } catch (error) {
    cause = error
  }
  if (!valid) throw new SinterError('CEREMONY_PHASE1', `${path} is not a valid phase 1`, { cause })
}

/** The key that contributions start from: γ = δ, and anybody can forge with it. */
export async function startKey(r1cs: string, prepared: string, to: string): Promise<void> {
  await snarkjs.zKey.newZKey(r1cs, prepared, to)
}

/** Adds a contribution with randomness from the system, which is forgotten. Returns the hash to publish. */
export async function contribute(from: string, to: string, name: string): Promise<string> {
  return toHex(await snarkjs.zKey.contribute(from, to, name, entropy()))
}

/**
 * Ends a ceremony with a public randomness, as hex, that nobody could know when the last contribution was published.
 * Returns the hash to publish. Throws `BEACON_FORMAT`.
 */
export async function applyBeacon(
  from: string,
  to: string,
  name: string,
  value: string,
  exponent = BEACON_EXPONENT,
): Promise<string> {
  // snarkjs returns false for what it does not take, and writes nothing.
  if (!BEACON.test(value) || !Number.isInteger(exponent) || exponent < BEACON_EXPONENT || exponent > 40)
    throw new SinterError('BEACON_FORMAT', 'a beacon is 1 to 255 bytes in lower-case hex, hashed 2^10 to 2^40 times')
  return toHex((await snarkjs.zKey.beacon(from, to, name, value, exponent)) as Uint8Array)
}

/**
 * Whether a key is the circuit's, made from this prepared phase 1 by the contributions it names, which are returned in order.
 * Throws `CEREMONY_KEY`, `KEY_FORMAT`, and `KEY_NO_PHASE2` for a key without contributions, which snarkjs calls valid.
 */
export async function verifyKey(r1cs: string, prepared: string, zkey: string): Promise<Contribution[]> {
  readProvingKey(await fileBytes(zkey))
  const lines: string[] = []
  const log = (line: string) => lines.push(line)
  const quiet = () => {}
  let valid = false
  let cause: unknown
  try {
    valid = await snarkjs.zKey.verifyFromR1cs(r1cs, prepared, zkey, { info: log, error: log, warn: log, debug: quiet })
  } catch (error) {
    cause = error
  }
  if (!valid)
    throw new SinterError('CEREMONY_KEY', `${zkey} is not a key of its circuit and phase 1: ${lines.at(-1) ?? ''}`, {
      cause,
    })
  return lines
    .flatMap((line) => {
      const match = /^contribution #\d+ (.*):\n([0-9a-f\s]+)$/s.exec(line)
      return match === null ? [] : [{ name: match[1]!, hash: `0x${match[2]!.replace(/\s/g, '')}` }]
    })
    .reverse()
}

/** Checks a finished key with both readers, which refuse an empty key and one whose second phase was skipped. */
async function exportKey(zkey: string): Promise<VerifyingKey> {
  readProvingKey(await fileBytes(zkey))
  const vkey = (await snarkjs.zKey.exportVerificationKey(zkey)) as VerifyingKey
  prepareKey(await snarkjs.curves.getCurveFromName('bn128', { singleThread: true }), vkey)
  return vkey
}

/** The verification key of a finished key, as it is written beside it: what verifiers load and a network's parameters name by hash. */
export const verifyingKeyFile = async (zkey: string): Promise<string> => `${JSON.stringify(await exportKey(zkey))}\n`

export type CircuitFiles = { r1cs: string; wasm: string; zkey: string }

/**
 * Writes the files that a node loads into `folder`, and artifacts.json with their hashes. It checks that keys are keys and had
 * a second phase; that they are the circuits' is for `verifyKey`.
 */
export async function pinArtifacts(
  folder: string,
  phase1: string,
  circuits: Record<CircuitKind, CircuitFiles>,
): Promise<ArtifactIndex> {
  await mkdir(folder, { recursive: true })
  const place = async (from: string, name: string): Promise<string> => {
    const to = join(folder, name)
    if (from !== to) await copyFile(from, to)
    return fileHash(to)
  }
  const index = {} as ArtifactIndex
  for (const kind of CIRCUIT_KINDS) {
    const { r1cs, wasm, zkey } = circuits[kind]
    const vkey = join(folder, `${kind}.vkey.json`)
    await writeFile(vkey, await verifyingKeyFile(zkey))
    const sha256: Record<ArtifactKind | 'r1cs', string> = {
      r1cs: await fileHash(r1cs),
      wasm: await place(wasm, `${kind}.wasm`),
      zkey: await place(zkey, `${kind}.zkey`),
      'vkey.json': await fileHash(vkey),
    }
    const { constraints, wires } = await r1csHeader(r1cs)
    index[kind] = { constraints, wires, sha256 }
  }
  index.phase1 = { power: PHASE1_POWER, sha256: await place(phase1, 'phase1.ptau') }
  await writeFile(join(folder, 'artifacts.json'), `${JSON.stringify(index, null, 2)}\n`)
  return index
}
