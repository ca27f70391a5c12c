import { buildPoseidon } from 'circomlibjs'
import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS } from '../protocol/statement.ts'
import { isCanonical, readScalar, SCALAR_BYTES, writeScalar } from './scalars.ts'

/** Poseidon of six zeros: the commitment of 64 zero limbs with salt 0, which fills unused slots. */
export const ZERO_LEAF = 14408838593220040598588012778523101864903887657864399481915450526643617223637n
/** Poseidon(0, 0): the first link of every chain. */
export const ZERO_CHAIN = 14744269619966411208579211824598458697587494354926760081771325075741142829156n

const PACK = 15
const LEAF_ELEMENTS = 6

/**
 * Poseidon commitments as the circuits compute them. One instance is synchronous and not shareable between threads; a
 * leaf costs about a tenth of a millisecond.
 */
export type Committer = {
  /** Commitment of exactly 64 limbs with `salt` in [0, r). Throws `LEAF_LENGTH`, `SALT_RANGE`. */
  leaf(limbs: Uint16Array, salt: bigint): bigint
  /** The same as 32 big-endian bytes, the form in which leaves enter a tensor's tree. */
  leafBytes(limbs: Uint16Array, salt: bigint): Uint8Array
  /** Poseidon(acc, blind), both in [0, r). Throws `CHAIN_RANGE`. */
  chain(acc: bigint, blind: bigint): bigint
}

export async function createCommitter(): Promise<Committer> {
  const poseidon = await buildPoseidon()
  const { F } = poseidon

  /** Poseidon over little-endian integers below r, as little-endian bytes. */
  const digest = (inputs: Uint8Array): Uint8Array => {
    for (let at = 0; at < inputs.length; at += SCALAR_BYTES)
      inputs.set(F.toMontgomery(inputs.subarray(at, at + SCALAR_BYTES)), at)
    return F.fromMontgomery(poseidon(inputs))
  }

  const leafDigest = (limbs: Uint16Array, salt: bigint): Uint8Array => {
    if (limbs.length !== LEAF_LIMBS)
      throw new SinterError('LEAF_LENGTH', `a leaf has ${LEAF_LIMBS} limbs, not ${limbs.length}`)
    if (!isCanonical(salt)) throw new SinterError('SALT_RANGE', 'a salt is a canonical field element')
    const inputs = new Uint8Array(SCALAR_BYTES * LEAF_ELEMENTS)
    const view = new DataView(inputs.buffer)
    for (let j = 0; j < LEAF_LIMBS; j++)
      view.setUint16(SCALAR_BYTES * Math.floor(j / PACK) + 2 * (j % PACK), limbs[j]!, true)
    writeScalar(view, SCALAR_BYTES * (LEAF_ELEMENTS - 1), salt)
    return digest(inputs)
  }

  const toInteger = (bytes: Uint8Array): bigint => readScalar(new DataView(bytes.buffer, bytes.byteOffset), 0)

  return {
    leaf: (limbs, salt) => toInteger(leafDigest(limbs, salt)),
    leafBytes: (limbs, salt) => leafDigest(limbs, salt).reverse(),
    chain(acc, blind) {
      if (!isCanonical(acc) || !isCanonical(blind))
        throw new SinterError('CHAIN_RANGE', 'a running sum and its blind are canonical field elements')
      const inputs = new Uint8Array(2 * SCALAR_BYTES)
      const view = new DataView(inputs.buffer)
      writeScalar(view, 0, acc)
      writeScalar(view, SCALAR_BYTES, blind)
      return toInteger(digest(inputs))
    },
  }
}
