import { alwaysChecked, outputTiles } from '../../models/draw.ts'
import { isLinear, type LinearOp, type Manifest, type Op } from '../../models/manifest.ts'
import { elementCount, leavesFor, opTiles, tapsPerOutput, tensorOf } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import { MAX_ATTESTATION_BYTES } from '../../protocol/limits.ts'
import { merkleDepth } from '../../protocol/merkle.ts'
import { LEAF_LIMBS, SEGMENT_LEAVES } from '../../protocol/statement.ts'
import { treesOf } from './layout.ts'

/** What the attestation of one drawn job can come to, whatever the challenge and whatever saturates. */
export type JobCost = {
  /** Encoded length. */
  bytes: number
  leaves: number
  proofs: number
  /** Coefficients that prover and each verifier compute with big integers. */
  multiplyAdds: number
}

/** Leaves that `count` consecutive elements touch at most. */
const spanned = (count: number): number => (count < 2 ? count : Math.floor((count - 2) / LEAF_LIMBS) + 2)

/** Lines of `width` elements that 64 consecutive elements touch at most. */
const lines = (width: number): number => Math.min(LEAF_LIMBS, Math.floor((LEAF_LIMBS - 2) / width) + 2)

/** Input leaves in the receptive field of one tile, at most. */
function inputLeaves(manifest: Manifest, op: LinearOp): number {
  const input = tensorOf(manifest, op.input).shape
  const output = tensorOf(manifest, op.output).shape
  const all = leavesFor(elementCount(input))
  if (op.kind === 'gemm') return Math.min(all, spanned(lines(output.at(-1)!) * input.at(-1)!))
  const [, width] = op.kernel
  const dilation = op.kind === 'conv' ? op.dilations[1] : 1
  const channels = op.kind === 'conv' ? input[0]! / op.groups : 1
  const outputs = Math.min(LEAF_LIMBS, output[2]!)
  const row = Math.min(input[2]!, (outputs - 1) * op.strides[1] + dilation * (width - 1) + 1)
  return Math.min(all, lines(output[2]!) * channels * op.kernel[0] * spanned(row))
}

type Part = { leaves: number; proofs: number; multiplyAdds: number }

/** `tiles` tiles of one op, proven together. */
function opCost(manifest: Manifest, op: Op, tiles: number): Part {
  if (!isLinear(op)) return { leaves: 2 * tiles, proofs: tiles, multiplyAdds: 0 }
  const inputs = Math.min(
    leavesFor(elementCount(tensorOf(manifest, op.input).shape)),
    tiles * inputLeaves(manifest, op),
  )
  // A flagged tile: two unclamped leaves and the remainder in the relation, and the value in the clamp.
  return {
    leaves: 4 * tiles + inputs,
    proofs: Math.ceil((3 * tiles + inputs) / SEGMENT_LEAVES) + tiles,
    multiplyAdds: tiles * LEAF_LIMBS * tapsPerOutput(manifest, op),
  }
}

const add = (a: Part, b: Part): Part => ({
  leaves: a.leaves + b.leaves,
  proofs: a.proofs + b.proofs,
  multiplyAdds: a.multiplyAdds + b.multiplyAdds,
})

const most = (parts: Part[], of: (part: Part) => number): number =>
  parts.reduce((top, part) => Math.max(top, of(part)), 0)

/** A 32-byte hash as a field, and what wraps a leaf, a tree or a proof with its accumulator. */
const HASH_FIELD = 34
const WRAP = 12
const PROOF = 256 + HASH_FIELD + WRAP
/** Receipt, voucher, and the paths in the sum tree (40 levels) and the trace (32 draws). */
const PLACE_BYTES = 1024 + 40 * (HASH_FIELD + 18 + WRAP) + 5 * HASH_FIELD

/**
 * Upper bounds on the attestation of one drawn job with `tileDraws` draws: the ops that are always checked, every draw on the
 * dearest of the others, no leaf shared, everything flagged.
 */
export function jobCost(manifest: Manifest, tileDraws: number): JobCost {
  const always = alwaysChecked(manifest)
  const others = manifest.ops.filter((_, i) => !always[i]).map((op) => opCost(manifest, op, 1))
  const fixed = manifest.ops
    .filter((_, i) => always[i])
    .map((op) => opCost(manifest, op, opTiles(manifest, op)))
    .reduce(add, { leaves: 0, proofs: 0, multiplyAdds: 0 })
  const outputs = outputTiles(manifest).length
  const leaves = fixed.leaves + tileDraws * most(others, (part) => part.leaves) + 2 * outputs
  const proofs = fixed.proofs + tileDraws * most(others, (part) => part.proofs) + outputs
  const multiplyAdds = fixed.multiplyAdds + tileDraws * most(others, (part) => part.multiplyAdds)
  const specs = treesOf(manifest)
  const trees = Math.min(specs.length, 4 * (manifest.ops.length + manifest.inputs.length))
  const treeDepth = merkleDepth(specs.length)
  const leafDepth = Math.max(...specs.map(({ count }) => merkleDepth(count)))
  const shapes = [...manifest.inputs, ...manifest.outputs].length * (WRAP + 8 * 4)
  return {
    bytes:
      PLACE_BYTES +
      shapes +
      trees * ((treeDepth + 1) * HASH_FIELD + WRAP) +
      leaves * ((leafDepth + 1) * HASH_FIELD + WRAP) +
      proofs * PROOF,
    leaves,
    proofs,
    multiplyAdds,
  }
}

/**
 * Most multiply-adds (`JobCost`) of a model that verifiers look at, about fifteen seconds of one core for each drawn job. A manifest
 * beyond it is invalid: else a stranger's manifest of a few kilobytes could keep a committee busy past its deadline.
 */
export const MAX_JOB_MULTIPLY_ADDS = 2 ** 26

export type ProvableLimits = {
  /** Draws of a batch, all of which may fall on this model. */
  draws: number
  tileDraws: number
  /** Proofs that this provider can make between challenge and deadline. */
  proofs: number
  /** Big-integer multiply-adds that it is willing to spend on them, about a quarter of a microsecond each. */
  multiplyAdds: number
}

/**
 * Whether whatever is drawn of a model can be attested in time and in size. A provider that takes a job it cannot attest is
 * slashed for silence, so it asks before it bids. Throws `MODEL_UNPROVABLE`.
 */
export function checkProvable(manifest: Manifest, limits: ProvableLimits): void {
  const { draws, tileDraws } = limits
  const cost = jobCost(manifest, tileDraws)
  const refuse = (what: string, needed: number, most: number): void => {
    if (draws * needed > most)
      throw new SinterError(
        'MODEL_UNPROVABLE',
        `${draws} drawn jobs of ${manifest.name} may need ${draws * needed} ${what}, and there is room for ${most}`,
      )
  }
  refuse('bytes of attestation', cost.bytes, MAX_ATTESTATION_BYTES - 1024)
  refuse('proofs', cost.proofs, limits.proofs)
  refuse('multiply-adds', cost.multiplyAdds, Math.min(limits.multiplyAdds, draws * MAX_JOB_MULTIPLY_ADDS))
}
