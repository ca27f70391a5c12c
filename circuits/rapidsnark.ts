// Proofs by another program, such as rapidsnark: a witness goes in and a proof comes out as files in snarkjs' formats.
import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { bigintToBytes, concat } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { FIELD_PRIME } from '../protocol/field.ts'
import { SCALAR_BYTES, writeScalar } from './scalars.ts'

/** A proof of these circuits takes rapidsnark less than a second; one that takes this long is hanging. */
const LIMIT_MS = 30_000
const PROOF_FILE_BYTES = 16 * 1024
/** What a program needs to start. Not the rest of our environment, which may hold a password. */
const ENVIRONMENT = ['PATH', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'SystemRoot', 'TMPDIR']
const COORDINATE = /^(0|[1-9][0-9]{0,77})$/

/** A witness in iden3's wtns format, version 2: a header section and one of 32 little-endian bytes per wire. */
export function witnessFile(witness: Uint8Array): Uint8Array {
  const head = new Uint8Array(12 + 12 + 4 + SCALAR_BYTES + 4 + 12)
  const view = new DataView(head.buffer)
  head.set(new TextEncoder().encode('wtns'))
  view.setUint32(4, 2, true)
  view.setUint32(8, 2, true)
  view.setUint32(12, 1, true)
  view.setBigUint64(16, BigInt(4 + SCALAR_BYTES + 4), true)
  view.setUint32(24, SCALAR_BYTES, true)
  writeScalar(view, 28, FIELD_PRIME)
  view.setUint32(28 + SCALAR_BYTES, witness.length / SCALAR_BYTES, true)
  view.setUint32(32 + SCALAR_BYTES, 2, true)
  view.setBigUint64(36 + SCALAR_BYTES, BigInt(witness.length), true)
  return concat(head, witness)
}

/** The 256 bytes of a proof that snarkjs or rapidsnark wrote as JSON. Throws `EXTERNAL_PROOF`. */
export function readProofJson(text: string): Uint8Array {
  const refuse = (): never => {
    throw new SinterError('EXTERNAL_PROOF', 'the external prover wrote something that is not a proof')
  }
  const coordinate = (value: unknown): Uint8Array => {
    if (typeof value !== 'string' || !COORDINATE.test(value)) return refuse()
    const integer = BigInt(value)
    return integer >> 256n === 0n ? bigintToBytes(integer, 32) : refuse()
  }
  let json: { pi_a?: unknown; pi_b?: unknown; pi_c?: unknown }
  try {
    json = JSON.parse(text)
  } catch {
    return refuse()
  }
  // Projective points with z = 1.
  const g1 = (point: unknown): Uint8Array[] =>
    Array.isArray(point) && point.length === 3 && point[2] === '1'
      ? [coordinate(point[0]), coordinate(point[1])]
      : refuse()
  const g2 = (point: unknown): Uint8Array[] => {
    if (!Array.isArray(point) || point.length !== 3 || String(point[2]) !== '1,0') return refuse()
    return point.slice(0, 2).flatMap((pair) => {
      if (!Array.isArray(pair) || pair.length !== 2) return refuse()
      return [coordinate(pair[1]), coordinate(pair[0])]
    })
  }
  return concat(...g1(json?.pi_a), ...g2(json?.pi_b), ...g1(json?.pi_c))
}

/**
 * Runs `binary key.zkey witness.wtns proof.json public.json` and returns the proof it wrote, not verified. The witness is secret:
 * `folder` must be private to this process, and what was written there is removed. Throws `EXTERNAL_PROOF`, or what the system
 * says when the program cannot be run or fails.
 */
export async function proveExternally(
  binary: string,
  key: string,
  witness: Uint8Array,
  folder: string,
): Promise<Uint8Array> {
  const [wtns, proof, signals] = ['witness.wtns', 'proof.json', 'public.json'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  const env = Object.fromEntries(ENVIRONMENT.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])))
  try {
    await writeFile(wtns, witnessFile(witness), { mode: 0o600 })
    await promisify(execFile)(binary, [key, wtns, proof, signals], { env, timeout: LIMIT_MS, killSignal: 'SIGKILL' })
    const bytes = await readFile(proof)
    if (bytes.length > PROOF_FILE_BYTES) throw new SinterError('EXTERNAL_PROOF', 'the external prover wrote too much')
    return readProofJson(bytes.toString('utf8'))
  } finally {
    await Promise.all([wtns, proof, signals].map((path) => rm(path, { force: true })))
  }
}
