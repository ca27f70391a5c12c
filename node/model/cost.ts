import { alwaysChecked } from '../../models/draw.ts'
import { isLinear, type Manifest, type Op } from '../../models/manifest.ts'
import { elementCount, leavesFor, opTiles, tensorOf } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import { MAX_ATTESTATION_BYTES } from '../../protocol/limits.ts'
import { merkleDepth } from '../../protocol/merkle.ts'
import { LEAF_LIMBS, SEGMENT_LEAVES } from '../../protocol/statement.ts'

/** What attesting one drawn job can cost at most: proofs, opened leaves, bytes of the attestation. */
export type Cost = { proofs: number; leaves: number; bytes: number }

/** Leaves of the value, remainder and unclamped trees that a linear tile opens beside its inputs. */
const OWN_LEAVES = 4
/** A proof with its running sum, and the framing of both. */
const PROOF_WIRE_BYTES = 320
/** A hash on the wire, with its tag and length. */
const HASH_WIRE_BYTES = 34
/** Receipt, voucher, paths of the job itself. */
const JOB_WIRE_BYTES = 4_096

/**
 * Leaves of the input that one tile of a linear op reads, at most: the tile's 64 outputs lie in a few rows of a few channels,
 * and so do their windows.
 */
function inputLeaves(manifest: Manifest, op: Exclude<Op, { kind: 'table' }>): number {
  const input = tensorOf(manifest, op.input).shape
  const output = tensorOf(manifest, op.output).shape
  const all = leavesFor(elementCount(input))
  /** Runs of `length` elements that 64 consecutive ones can touch. */
  const runs = (length: number, count: number): number => Math.min(count, Math.floor((LEAF_LIMBS - 2) / length) + 2)
  if (op.kind === 'gemm') {
    const rows = runs(output.at(-1)!, elementCount(output) / output.at(-1)!)
    return Math.min(all, rows * (leavesFor(input.at(-1)!) + 1))
  }
  const [channels = 1, height = 1, width = 1] = output
  const [inChannels = 1, inHeight = 1, inWidth = 1] = input
  const touched = runs(height * width, channels)
  const dilation = op.kind === 'conv' ? op.dilations[0] : 1
  const window = (runs(width, height) - 1) * op.strides[0] + dilation * (op.kernel[0] - 1) + 1
  const perRange = leavesFor(Math.min(inHeight, window) * inWidth) + 1
  const read = op.kind === 'conv' ? Math.min(inChannels, (inChannels / op.groups) * Math.min(touched, op.groups)) : 1
  return Math.min(all, touched * read * perRange)
}

/** What the worst challenge can ask of one drawn job. An upper bound: merged tiles and shared leaves only cost less. */
export function worstCost(manifest: Manifest, tileDraws: number): Cost {
  const always = alwaysChecked(manifest)
  const tileCost = manifest.ops.map((op) => {
    const leaves = isLinear(op) ? inputLeaves(manifest, op) + OWN_LEAVES : 2
    return { leaves, proofs: isLinear(op) ? Math.ceil(leaves / SEGMENT_LEAVES) + 1 : 1 }
  })
  let leaves = tileDraws * Math.max(...tileCost.map((each) => each.leaves))
  let proofs = tileDraws * Math.max(...tileCost.map((each) => each.proofs))
  manifest.ops.forEach((op, i) => {
    if (!always[i]) return
    const tiles = opTiles(manifest, op)
    // All tiles of an op are one statement, and no leaf stands in it twice.
    const inputs = Math.min(tiles * tileCost[i]!.leaves, leavesFor(elementCount(tensorOf(manifest, op.input).shape)))
    const own = isLinear(op) ? tiles * OWN_LEAVES : tiles
    leaves += inputs + own
    proofs += isLinear(op) ? Math.ceil((inputs + own) / SEGMENT_LEAVES) + tiles : tiles
  })
  for (const { shape } of manifest.outputs) {
    leaves += 2 * leavesFor(elementCount(shape))
    proofs += leavesFor(elementCount(shape))
  }
  const deepest = Math.max(...manifest.tensors.map(({ shape }) => merkleDepth(2 * leavesFor(elementCount(shape)))))
  const trees = 4 * manifest.tensors.length
  const bytes =
    leaves * (deepest + 1) * HASH_WIRE_BYTES +
    Math.min(trees, leaves) * (merkleDepth(trees) + 1) * HASH_WIRE_BYTES +
    proofs * PROOF_WIRE_BYTES +
    JOB_WIRE_BYTES
  return { proofs, leaves, bytes }
}

export type ProvingLimits = {
  /** Jobs drawn from a batch. */
  draws: number
  tileDraws: number
  /** Seconds from the challenge to the attestation's digest on chain. */
  attestWindowS: number
  /** Seconds from the sample to the trace's root on chain. */
  traceWindowS: number
}

/** Seconds that committing a leaf takes, and evaluating a multiply-add, on a slow core. */
const LEAF_S = 3e-4
const MULTIPLY_ADD_S = 2e-8

/** Seconds to evaluate and commit one drawn job. */
function traceSeconds(manifest: Manifest): number {
  const trees = (id: number): number => (manifest.ops.some((op) => op.output === id && isLinear(op)) ? 2 : 1)
  const leaves = manifest.tensors.reduce(
    (sum, { shape, viewOf }, id) => sum + (viewOf === null ? trees(id) * leavesFor(elementCount(shape)) : 0),
    0,
  )
  return leaves * LEAF_S + manifest.units * MULTIPLY_ADD_S
}

/** Seconds that a proof is taken to last on a machine that has other things to do. */
const PROOF_S = 2

/**
 * Refuses a model whose attestation might not be made in time, or might be too large to hand out: either would cost an honest
 * provider its lock, and anyone can publish such a model. Throws `MODEL_UNPROVABLE`.
 */
export function checkProvable(manifest: Manifest, limits: ProvingLimits): void {
  const { draws, tileDraws, attestWindowS, traceWindowS } = limits
  const traceS = draws * traceSeconds(manifest)
  if (2 * traceS > traceWindowS)
    throw new SinterError(
      'MODEL_UNPROVABLE',
      `committing ${draws} drawn jobs may take ${Math.ceil(traceS)} s, too long for a window of ${traceWindowS} s`,
    )
  const { proofs, bytes } = worstCost(manifest, tileDraws)
  if (draws * proofs * PROOF_S > attestWindowS)
    throw new SinterError(
      'MODEL_UNPROVABLE',
      `an attestation may need ${draws} × ${proofs} proofs, too many for a window of ${attestWindowS} s`,
    )
  if (draws * bytes > MAX_ATTESTATION_BYTES)
    throw new SinterError(
      'MODEL_UNPROVABLE',
      `an attestation may have ${draws * bytes} bytes, more than can be handed out`,
    )
}
