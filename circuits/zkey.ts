import { SinterError } from '../protocol/errors.ts'

/** A Groth16 proving key in the form ffjavascript computes with: little-endian Montgomery, affine points. */
export type ProvingKey = {
  wires: number
  publicSignals: number
  /** Size of the evaluation domain, a power of two. */
  domain: number
  alpha1: Uint8Array
  beta1: Uint8Array
  beta2: Uint8Array
  gamma2: Uint8Array
  delta1: Uint8Array
  delta2: Uint8Array
  /** Entries of A and B: u32 matrix, u32 constraint, u32 wire, 32-byte coefficient. */
  coefficients: Uint8Array
  a: Uint8Array
  b1: Uint8Array
  b2: Uint8Array
  c: Uint8Array
  h: Uint8Array
}

export const COEFFICIENT_BYTES = 44
const G1 = 64
const G2 = 128
const GROTH16 = 1

function sections(file: Uint8Array): Map<number, Uint8Array> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  if (file.length < 12 || new TextDecoder().decode(file.subarray(0, 4)) !== 'zkey' || view.getUint32(4, true) !== 1)
    throw new SinterError('KEY_FORMAT', 'not a zkey file')
  const out = new Map<number, Uint8Array>()
  let at = 12
  for (let i = 0; i < view.getUint32(8, true); i++) {
    const size = Number(view.getBigUint64(at + 4, true))
    if (at + 12 + size > file.length) throw new SinterError('KEY_FORMAT', 'the zkey file is cut short')
    out.set(view.getUint32(at, true), file.subarray(at + 12, at + 12 + size))
    at += 12 + size
  }
  return out
}

/**
 * Reads a snarkjs zkey. Throws `KEY_FORMAT`, and `KEY_NO_PHASE2` for a key whose γ equals δ: such a key never had a
 * second phase, and anybody can forge proofs for it.
 */
export function readProvingKey(file: Uint8Array): ProvingKey {
  const parts = sections(file)
  const part = (id: number, size?: number): Uint8Array => {
    const bytes = parts.get(id)
    if (bytes === undefined || (size !== undefined && bytes.length !== size))
      throw new SinterError('KEY_FORMAT', `section ${id} of the zkey is missing or has the wrong size`)
    return bytes
  }
  const type = part(1, 4)
  if (type[0] !== GROTH16) throw new SinterError('KEY_FORMAT', 'not a Groth16 key')

  const header = part(2, 72 + 12 + 3 * G1 + 3 * G2)
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  const wires = view.getUint32(72, true)
  const publicSignals = view.getUint32(76, true)
  const domain = view.getUint32(80, true)
  let at = 84
  const take = (size: number): Uint8Array => {
    at += size
    return header.subarray(at - size, at)
  }
  const alpha1 = take(G1)
  const beta1 = take(G1)
  const beta2 = take(G2)
  const gamma2 = take(G2)
  const delta1 = take(G1)
  const delta2 = take(G2)
  if (gamma2.every((byte, i) => byte === delta2[i]))
    throw new SinterError('KEY_NO_PHASE2', 'the key has gamma = delta: phase 2 was skipped, proofs could be forged')
  return {
    wires,
    publicSignals,
    domain,
    alpha1,
    beta1,
    beta2,
    gamma2,
    delta1,
    delta2,
    coefficients: part(4).subarray(4),
    a: part(5, G1 * wires),
    b1: part(6, G1 * wires),
    b2: part(7, G2 * wires),
    c: part(8, G1 * (wires - publicSignals - 1)),
    h: part(9, G1 * domain),
  }
}
