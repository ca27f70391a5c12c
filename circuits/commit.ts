import { bigintToBytes } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { LEAF_LIMBS, STAGE_FORMS, type StagedStatement } from '../protocol/statement.ts'
import { compilePoseidon, openPoseidon } from './poseidon.ts'
import { isCanonical, readScalar, SCALAR_BYTES, writeScalar } from './scalars.ts'

/** Poseidon of six zeros: the commitment of 64 zero limbs with salt 0, which fills unused slots. */
export const ZERO_LEAF = 14408838593220040598588012778523101864903887657864399481915450526643617223637n
export const ZERO_LEAF_BYTES = bigintToBytes(ZERO_LEAF, SCALAR_BYTES)
/** Poseidon(0, 0): the first link of every chain. */
export const ZERO_CHAIN = 14744269619966411208579211824598458697587494354926760081771325075741142829156n

/** What a leaf commits. */
type Opening = { limbs: Uint16Array; salt: bigint }

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
 * leaf costs some hundredths of a millisecond.
 */
export type Committer = {
  /** What `committerOf` makes another committer of, in another thread. */
  poseidon: WebAssembly.Module
  /** Hashes that are made at a time, 1 where this machine has only the slow way (`compilePoseidon`). */
  lanes: number
  /** Commitment of exactly 64 limbs with `salt` in [0, r). Throws `LEAF_LENGTH`, `SALT_RANGE`. */
  leaf(limbs: Uint16Array, salt: bigint): bigint
  /**
   * Many of them as 32 big-endian bytes each, the form in which leaves enter a tensor's tree; null is the zero leaf. A quarter of the time for
   * each, where the machine allows.
   */
  leavesBytes(count: number, opening: (index: number) => Opening | null): Uint8Array<ArrayBuffer>
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
  const { lanes, hash } = openPoseidon(module)
  const views = lanes.map(({ buffer, byteOffset, byteLength }) => new DataView(buffer, byteOffset, byteLength))
  const [inputs] = lanes as [Uint8Array]
  const [view] = views as [DataView]

  function writeLeaf(lane: number, { limbs, salt }: Opening): void {
    if (limbs.length !== LEAF_LIMBS)
      throw new SinterError('LEAF_LENGTH', `a leaf has ${LEAF_LIMBS} limbs, not ${limbs.length}`)
    if (!isCanonical(salt)) throw new SinterError('SALT_RANGE', 'a salt is a canonical field element')
    const view = views[lane]!
    lanes[lane]!.fill(0, 0, SCALAR_BYTES * LEAF_ELEMENTS)
    for (let from = 0, at = 0; from < LEAF_LIMBS; from += PACK, at += SCALAR_BYTES)
      for (let j = 0; j < PACK && from + j < LEAF_LIMBS; j++) view.setUint16(at + 2 * j, limbs[from + j]!, true)
    writeScalar(view, SCALAR_BYTES * (LEAF_ELEMENTS - 1), salt)
  }

  /** The hash of the first lane. */
  const toInteger = (hashes: Uint8Array): bigint => readScalar(new DataView(hashes.buffer, hashes.byteOffset), 0)

  function leavesBytes(count: number, opening: (index: number) => Opening | null): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(SCALAR_BYTES * count)
    const at: number[] = []
    const flush = (): void => {
      const hashes = hash(LEAF_ELEMENTS)
      for (const [lane, index] of at.entries())
        for (let i = 0; i < SCALAR_BYTES; i++)
          out[SCALAR_BYTES * (index + 1) - 1 - i] = hashes[SCALAR_BYTES * lane + i]!
      at.length = 0
    }
    for (let index = 0; index < count; index++) {
      const of = opening(index)
      if (of === null) {
        out.set(ZERO_LEAF_BYTES, SCALAR_BYTES * index)
        continue
      }
      writeLeaf(at.length, of)
      if (at.push(index) === lanes.length) flush()
    }
    if (at.length > 0) flush()
    return out
  }

  return {
    poseidon: module,
    lanes: lanes.length,
    leaf(limbs, salt) {
      writeLeaf(0, { limbs, salt })
      return toInteger(hash(LEAF_ELEMENTS))
    },
    leavesBytes,
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
