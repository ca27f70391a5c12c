import { randomBytes } from '@noble/hashes/utils.js'
import { bytesToBigint, concat } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { FIELD_PRIME } from '../protocol/field.ts'
import type { Curve, Group } from './curve.ts'
import { type FixedBases, prepareBases } from './fixed-base.ts'
import { isCanonical, SCALAR_BYTES, scalarBuffer } from './scalars.ts'
import { COEFFICIENT_BYTES, type ProvingKey } from './zkey.ts'

/** Order q of the field of BN254's coordinates. */
export const BASE_PRIME = 21888242871839275222246405745257275088696311157297823662689037894645226208583n
/** A.x ‖ A.y ‖ B.x.c1 ‖ B.x.c0 ‖ B.y.c1 ‖ B.y.c0 ‖ C.x ‖ C.y, 32 big-endian bytes each (EIP-197's order). */
export const PROOF_BYTES = 256
const G1_BYTES = 64
const G2_BYTES = 128

export type ProofFault =
  | 'SIGNAL_COUNT'
  | 'SIGNAL_RANGE'
  | 'PROOF_LENGTH'
  | 'POINT_RANGE'
  | 'POINT_OFF_CURVE'
  | 'POINT_SUBGROUP'
  | 'PAIRING'
export type ProofVerdict = { ok: true } | { ok: false; code: ProofFault }

/** A verification key as `snarkjs zkey export verificationkey` writes it: decimal strings, projective points. */
export type VerifyingKey = {
  protocol: string
  curve: string
  nPublic: number
  vk_alpha_1: string[]
  vk_beta_2: string[][]
  vk_gamma_2: string[][]
  vk_delta_2: string[][]
  IC: string[][]
}

function randomScalar(curve: Curve): Uint8Array {
  return curve.Fr.e(bytesToBigint(randomBytes(2 * SCALAR_BYTES)) % FIELD_PRIME)
}

/** Evaluations of A·w, B·w and their product on the domain. */
async function evaluateConstraints(curve: Curve, key: ProvingKey, witness: Uint8Array): Promise<Uint8Array[]> {
  const size = key.domain * SCALAR_BYTES
  return curve.tm.queueAction([
    { cmd: 'ALLOCSET', var: 0, buff: key.coefficients },
    { cmd: 'ALLOCSET', var: 1, buff: witness },
    { cmd: 'ALLOC', var: 2, len: size },
    { cmd: 'ALLOC', var: 3, len: size },
    { cmd: 'ALLOC', var: 4, len: size },
    {
      cmd: 'CALL',
      fnName: 'qap_buildABC',
      params: [
        { var: 0 },
        { val: key.coefficients.length / COEFFICIENT_BYTES },
        { var: 1 },
        { var: 2 },
        { var: 3 },
        { var: 4 },
        { val: 0 },
        { val: key.domain },
        { val: 0 },
        { val: key.wires },
      ],
    },
    { cmd: 'GET', out: 0, var: 2, len: size },
    { cmd: 'GET', out: 1, var: 3, len: size },
    { cmd: 'GET', out: 2, var: 4, len: size },
  ])
}

/** A·B − C on the odd coset, as plain little-endian scalars. */
async function quotient(curve: Curve, domain: number, odd: Uint8Array[]): Promise<Uint8Array> {
  const size = domain * SCALAR_BYTES
  const [out] = await curve.tm.queueAction([
    { cmd: 'ALLOCSET', var: 0, buff: odd[0]! },
    { cmd: 'ALLOCSET', var: 1, buff: odd[1]! },
    { cmd: 'ALLOCSET', var: 2, buff: odd[2]! },
    { cmd: 'ALLOC', var: 3, len: size },
    { cmd: 'CALL', fnName: 'qap_joinABC', params: [{ var: 0 }, { var: 1 }, { var: 2 }, { val: domain }, { var: 3 }] },
    { cmd: 'CALL', fnName: 'frm_batchFromMontgomery', params: [{ var: 3 }, { val: domain }, { var: 3 }] },
    { cmd: 'GET', out: 0, var: 3, len: size },
  ])
  return out!
}

/**
 * A Groth16 proof (Groth, "On the Size of Pairing-based Non-interactive Arguments", 2016, with the quotient evaluated on
 * the odd coset as snarkjs does) for `witness`, 32 little-endian bytes per wire. It does not check that the witness
 * satisfies the circuit: a false one gives a proof that does not verify.
 */
export async function prove(curve: Curve, key: ProvingKey, witness: Uint8Array): Promise<Uint8Array> {
  if (witness.length !== key.wires * SCALAR_BYTES)
    throw new SinterError('WITNESS_LENGTH', `a witness of ${key.wires} wires was expected`)
  const { Fr, G1, G2 } = curve
  const shift = Fr.w[Math.log2(key.domain) + 1]!
  const odd: Uint8Array[] = []
  for (const values of await evaluateConstraints(curve, key, witness))
    odd.push(await Fr.fft(await Fr.batchApplyKey(await Fr.ifft(values), Fr.e(1), shift)))
  const h = await G1.multiExpAffine(key.h, await quotient(curve, key.domain, odd))
  const a = await G1.multiExpAffine(key.a, witness)
  const b1 = await G1.multiExpAffine(key.b1, witness)
  const b2 = await G2.multiExpAffine(key.b2, witness)
  const c = await G1.multiExpAffine(key.c, witness.slice((key.publicSignals + 1) * SCALAR_BYTES))

  // r and s are what makes the proof zero-knowledge: fresh from the system's generator, for each proof.
  const r = randomScalar(curve)
  const s = randomScalar(curve)
  const sum = (group: Group, first: Uint8Array, ...rest: Uint8Array[]) => rest.reduce((x, y) => group.add(x, y), first)
  const A = sum(G1, a, key.alpha1, G1.timesFr(key.delta1, r))
  const B = sum(G2, b2, key.beta2, G2.timesFr(key.delta2, s))
  const B1 = sum(G1, b1, key.beta1, G1.timesFr(key.delta1, s))
  const C = sum(G1, c, h, G1.timesFr(A, s), G1.timesFr(B1, r), G1.timesFr(key.delta1, Fr.neg(Fr.mul(r, s))))
  return concat(G1.toUncompressed(G1.toAffine(A)), G2.toUncompressed(G2.toAffine(B)), G1.toUncompressed(G1.toAffine(C)))
}

/** A verification key that was checked, with everything that does not depend on a proof computed. */
export type PreparedKey = {
  curve: Curve
  signals: number
  /** IC_0, and the sum of the points that the public signals multiply. */
  constant: Uint8Array
  inputs(scalars: Uint8Array): Uint8Array | Promise<Uint8Array>
  alpha: Uint8Array
  betaLines: Uint8Array
  gammaLines: Uint8Array
  deltaLines: Uint8Array
  /** e(alpha, beta). */
  target: Uint8Array
}

/** Checks and prepares a verification key. Throws `KEY_FORMAT` and `KEY_NO_PHASE2` (γ = δ, for which anybody can forge). */
export function prepareKey(curve: Curve, key: VerifyingKey): PreparedKey {
  if (key.protocol !== 'groth16' || key.curve !== 'bn128' || key.IC.length !== key.nPublic + 1)
    throw new SinterError('KEY_FORMAT', 'not a Groth16 verification key over BN254')
  const { G1, G2 } = curve
  const point = (group: Group, coordinates: unknown): Uint8Array => {
    const read = (value: unknown): unknown => (Array.isArray(value) ? value.map(read) : BigInt(value as string))
    const affine = group.toAffine(group.fromObject(read(coordinates) as unknown[]))
    if (group.isZero(affine) || !group.isValid(affine))
      throw new SinterError('KEY_FORMAT', 'the key holds a point that is not on the curve')
    return affine
  }
  const gamma = point(G2, key.vk_gamma_2)
  const delta = point(G2, key.vk_delta_2)
  if (G2.eq(gamma, delta))
    throw new SinterError('KEY_NO_PHASE2', 'the key has gamma = delta: phase 2 was skipped, proofs could be forged')
  const alpha = point(G1, key.vk_alpha_1)
  const beta = point(G2, key.vk_beta_2)
  const bases = concat(...key.IC.slice(1).map((coordinates) => point(G1, coordinates)))
  const { code } = curve.tm
  let fixed: FixedBases | null = null
  const lines = (affine: Uint8Array): Uint8Array => curve.prepareG2(G2.toJacobian(affine))
  return {
    curve,
    signals: key.nPublic,
    constant: point(G1, key.IC[0]),
    inputs(scalars) {
      // Prepared when it is first needed; a curve of several threads does not show its module.
      if (code === undefined) return G1.multiExpAffine(bases, scalars)
      fixed ??= prepareBases(code, bases)
      return fixed(scalars)
    },
    alpha,
    betaLines: lines(beta),
    gammaLines: lines(gamma),
    deltaLines: lines(delta),
    target: curve.pairing(alpha, beta),
  }
}

type ProofPoints = { a: Uint8Array; b: Uint8Array; c: Uint8Array }

/** Everything about untrusted signals and bytes that needs no pairing: count and canonicity of signals, then the points. */
function readProof(
  { curve: { G1, G2 }, signals: count }: PreparedKey,
  signals: readonly bigint[],
  proof: Uint8Array,
): ProofFault | ProofPoints {
  if (signals.length !== count) return 'SIGNAL_COUNT'
  // s and s + r are the same to the pairing: without this check one statement would have several encodings.
  if (!signals.every(isCanonical)) return 'SIGNAL_RANGE'
  if (proof.length !== PROOF_BYTES) return 'PROOF_LENGTH'
  for (let at = 0; at < PROOF_BYTES; at += 32)
    if (bytesToBigint(proof.subarray(at, at + 32)) >= BASE_PRIME) return 'POINT_RANGE'
  const bytes = new Uint8Array(proof)
  const a = G1.fromRprUncompressed(bytes, 0)
  const b = G2.fromRprUncompressed(bytes, G1_BYTES)
  const c = G1.fromRprUncompressed(bytes, G1_BYTES + G2_BYTES)
  // (0, 0), which the library takes for the point at infinity, is on no curve here: an honest proof never has it.
  if (G1.isZero(a) || G2.isZero(b) || G1.isZero(c)) return 'POINT_OFF_CURVE'
  if (!G1.isValid(a) || !G2.isValid(b) || !G1.isValid(c)) return 'POINT_OFF_CURVE'
  // G1 has prime order; the twist that holds B has not.
  if (!G2.isZero(G2.timesScalar(b, FIELD_PRIME))) return 'POINT_SUBGROUP'
  return { a, b, c }
}

const miller = (curve: Curve, a: Uint8Array, lines: Uint8Array): Uint8Array =>
  curve.millerLoop(curve.prepareG1(curve.G1.toJacobian(a)), lines)

/**
 * Judges untrusted signals and bytes and never throws on them: it checks the count and canonicity of signals, then the
 * form of the proof, then the pairing.
 */
export async function verifyProof(
  key: PreparedKey,
  signals: readonly bigint[],
  proof: Uint8Array,
): Promise<ProofVerdict> {
  const points = readProof(key, signals, proof)
  if (typeof points === 'string') return { ok: false, code: points }
  const { curve, constant, gammaLines, deltaLines, target } = key
  const { G1, G2, Gt } = curve
  const { a, b, c } = points
  const inputs = G1.toAffine(G1.add(await key.inputs(scalarBuffer(signals)), constant))
  // e(A, B) = e(alpha, beta) e(inputs, gamma) e(C, delta)
  const product = Gt.mul(
    miller(curve, a, curve.prepareG2(G2.toJacobian(b))),
    Gt.mul(miller(curve, G1.neg(inputs), gammaLines), miller(curve, G1.neg(c), deltaLines)),
  )
  return Gt.eq(curve.finalExponentiation(product), target) ? { ok: true } : { ok: false, code: 'PAIRING' }
}

export function prepareVerifier(
  curve: Curve,
  key: VerifyingKey,
): (signals: readonly bigint[], proof: Uint8Array) => Promise<ProofVerdict> {
  const prepared = prepareKey(curve, key)
  return (signals, proof) => verifyProof(prepared, signals, proof)
}

export type KeyedClaim = { key: PreparedKey; signals: readonly bigint[]; proof: Uint8Array }
export type BatchVerdict = { ok: true } | { ok: false; index: number; code: ProofFault }

/** Bytes of the random weight of one equation in a batch. */
const WEIGHT_BYTES = 16

type Weighted = ProofPoints & { signals: readonly bigint[]; weight: bigint }

/**
 * The pairings of well-formed proofs of one key as one product of Miller loops: their equations, each to the power of its weight.
 *   prod e(w A, B) = e(sum w · alpha, beta) e(sum w · inputs, gamma) e(sum w C, delta)
 */
async function weightedProduct(key: PreparedKey, claims: Weighted[]): Promise<Uint8Array> {
  const { curve, constant, alpha, betaLines, gammaLines, deltaLines } = key
  const { G1, G2, Gt } = curve
  const scalars = new Array<bigint>(key.signals).fill(0n)
  let total = 0n
  for (const { signals, weight } of claims) {
    total += weight
    for (let i = 0; i < signals.length; i++) scalars[i]! += weight * signals[i]!
  }
  const reduced = scalars.map((scalar) => scalar % FIELD_PRIME)
  const inputs = G1.add(await key.inputs(scalarBuffer(reduced)), G1.timesScalar(constant, total))
  const cs = claims.map(({ c, weight }) => G1.timesScalar(c, weight)).reduce((sum, c) => G1.add(sum, c))
  const fixed = [
    miller(curve, G1.neg(G1.toAffine(inputs)), gammaLines),
    miller(curve, G1.neg(G1.toAffine(cs)), deltaLines),
    miller(curve, G1.neg(G1.toAffine(G1.timesScalar(alpha, total))), betaLines),
  ]
  return claims
    .map(({ a, b, weight }) => miller(curve, G1.toAffine(G1.timesScalar(a, weight)), curve.prepareG2(G2.toJacobian(b))))
    .concat(fixed)
    .reduce((product, each) => Gt.mul(product, each))
}

/** Whether all these well-formed proofs verify; wrong with a probability of 2^-128, over weights drawn after the proofs. */
async function verifyTogether(claims: { key: PreparedKey; weighted: Weighted }[]): Promise<boolean> {
  if (claims.length === 0) return true
  const byKey = new Map<PreparedKey, Weighted[]>()
  for (const { key, weighted } of claims) byKey.set(key, [...(byKey.get(key) ?? []), weighted])
  const { curve } = claims[0]!.key
  const products: Uint8Array[] = []
  for (const [key, weighted] of byKey) products.push(await weightedProduct(key, weighted))
  const { Gt } = curve
  return Gt.eq(curve.finalExponentiation(products.reduce((x, y) => Gt.mul(x, y))), Gt.one)
}

/**
 * The verdict of verifying claims one after the other up to the first bad one, which it names. Good ones cost less together:
 * their equations are raised to random powers and checked as one product. Every proof's form, curve and subgroup are checked
 * by themselves. All keys are of one curve object.
 */
export async function verifyBatch(claims: readonly KeyedClaim[]): Promise<BatchVerdict> {
  const formed: { key: PreparedKey; weighted: Weighted }[] = []
  let fault: BatchVerdict = { ok: true }
  for (const [index, { key, signals, proof }] of claims.entries()) {
    const points = readProof(key, signals, proof)
    if (typeof points === 'string') {
      fault = { ok: false, index, code: points }
      break
    }
    formed.push({ key, weighted: { ...points, signals, weight: bytesToBigint(randomBytes(WEIGHT_BYTES)) } })
  }
  if (await verifyTogether(formed)) return fault
  for (let index = 0; index < formed.length; index++) {
    const { key, signals, proof } = claims[index]!
    const verdict = await verifyProof(key, signals, proof)
    if (!verdict.ok) return { ok: false, index, code: verdict.code }
  }
  // A batch of proofs that all verify cannot fail.
  throw new SinterError('BATCH_FAILED', 'the proofs of a failed batch verify one by one')
}
