import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS, STAGE_FORMS, type StagedStatement } from '../protocol/statement.ts'
import { compilePoseidon, openPoseidon } from './poseidon.ts'
import { isCanonical, readScalar, SCALAR_BYTES, writeScalar } from './scalars.ts'

/** Poseidon of six zeros: the commitment of 64 zero limbs with salt 0, which fills unused slots. */
export const ZERO_LEAF = 14408838593220040598588012778523101864903887657864399481915450526643617223637n
/** Poseidon(0, 0): the first link of every chain. */
export const ZERO_CHAIN = 14744269619966411208579211824598458697587494354926760081771325075741142829156n

const PACK = 15
const LEAF_ELEMENTS = 6
/** Elements that one call takes beside what came out of the one before. */
const STAGE_WIDTH = 15
const GAP_BITS = 32n
const GAP_LIMIT = 1n << GAP_BITS
const GAP_PACK = 7

/** Seven gaps to a field element: at most 224 bits, so packing is injective. */
function packGaps(gaps: readonly bigint[]): bigint[] {
  return Array.from({ length: Math.ceil(gaps.length / GAP_PACK) }, (_, k) =>
    gaps
      .slice(GAP_PACK * k, GAP_PACK * (k + 1))
      .reduce((packed, gap, j) => packed | (gap << (GAP_BITS * BigInt(j))), 0n),
  )
}

/**
 * Poseidon commitments as the circuits compute them. One instance is synchronous and not shareable between threads; a
 * leaf costs about a tenth of a millisecond.
 */
export type Committer = {
  /** What `committerOf` makes another committer of, in another thread. */
  poseidon: WebAssembly.Module
  /** Commitment of exactly 64 limbs with `salt` in [0, r). Throws `LEAF_LENGTH`, `SALT_RANGE`. */
  leaf(limbs: Uint16Array, salt: bigint): bigint
  /** The same as 32 big-endian bytes, the form in which leaves enter a tensor's tree. */
  leafBytes(limbs: Uint16Array, salt: bigint): Uint8Array
  /**
   * Commitment to a segment's staged values: 128 field elements of a product, or 256 gaps in [0, 2^32) of an extremum, packed
   * seven to an element. Throws `STAGE_LENGTH`, `STAGE_RANGE`.
   */
  stage(kind: StagedStatement['kind'], values: readonly bigint[], blind: bigint): bigint
  /** Poseidon(acc, blind), both in [0, r). Throws `CHAIN_RANGE`. */
  chain(acc: bigint, blind: bigint): bigint
}

export const createCommitter = async (): Promise<Committer> => committerOf(await compilePoseidon())

/** A committer from a compiled module, which other threads can have too. */
export function committerOf(module: WebAssembly.Module): Committer {
  const { inputs, hash } = openPoseidon(module)
  const view = new DataView(inputs.buffer, inputs.byteOffset, inputs.byteLength)

  const leafDigest = (limbs: Uint16Array, salt: bigint): Uint8Array => {
    if (limbs.length !== LEAF_LIMBS)
      throw new SinterError('LEAF_LENGTH', `a leaf has ${LEAF_LIMBS} limbs, not ${limbs.length}`)
    if (!isCanonical(salt)) throw new SinterError('SALT_RANGE', 'a salt is a canonical field element')
    inputs.fill(0, 0, SCALAR_BYTES * LEAF_ELEMENTS)
    for (let j = 0; j < LEAF_LIMBS; j++)
      view.setUint16(SCALAR_BYTES * Math.floor(j / PACK) + 2 * (j % PACK), limbs[j]!, true)
    writeScalar(view, SCALAR_BYTES * (LEAF_ELEMENTS - 1), salt)
    return hash(LEAF_ELEMENTS)
  }

  const toInteger = (bytes: Uint8Array): bigint => readScalar(new DataView(bytes.buffer, bytes.byteOffset), 0)

  return {
    poseidon: module,
    leaf: (limbs, salt) => toInteger(leafDigest(limbs, salt)),
    leafBytes: (limbs, salt) => leafDigest(limbs, salt).reverse(),
    stage(kind, values, blind) {
      if (values.length !== STAGE_FORMS[kind])
        throw new SinterError('STAGE_LENGTH', `a ${kind} stages ${STAGE_FORMS[kind]} values, not ${values.length}`)
      const fits = (value: bigint): boolean =>
        kind === 'product' ? isCanonical(value) : value >= 0n && value < GAP_LIMIT
      if (!values.every(fits) || !isCanonical(blind))
        throw new SinterError('STAGE_RANGE', `a value or blind of a staged ${kind} is out of range`)
      const elements = kind === 'product' ? values : packGaps(values)
      let state = blind
      for (let from = 0; from < elements.length; from += STAGE_WIDTH) {
        inputs.fill(0)
        writeScalar(view, 0, state)
        elements.slice(from, from + STAGE_WIDTH).forEach((element, i) => {
          writeScalar(view, SCALAR_BYTES * (i + 1), element)
        })
        state = toInteger(hash(STAGE_WIDTH + 1))
      }
      return state
    },
    chain(acc, blind) {
      if (!isCanonical(acc) || !isCanonical(blind))
        throw new SinterError('CHAIN_RANGE', 'a running sum and its blind are canonical field elements')
      writeScalar(view, 0, acc)
      writeScalar(view, SCALAR_BYTES, blind)
      return toInteger(hash(2))
    },
  }
}
