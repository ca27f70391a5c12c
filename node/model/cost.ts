import type { Committer } from '../../circuits/commit.ts'
import { alwaysChecked } from '../../models/draw.ts'
import type { Manifest, Op, Operand } from '../../models/manifest.ts'
import {
  elementCount,
  leavesFor,
  operandsOf,
  opTiles,
  reducedLoops,
  saturates,
  tensorOf,
  tileSize,
} from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import { MAX_ATTESTATION_BYTES, MAX_FIELDS } from '../../protocol/limits.ts'
import { merkleDepth } from '../../protocol/merkle.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import { EXTREMUM_GAPS, PRODUCT_PAIRS, SEGMENT_LEAVES, TREE } from '../../protocol/statement.ts'
import { isCheckable, limbsOf, MAX_OPEN_BYTES, openCost } from '../attestation/cost.ts'
import { treesAt, treesOf } from '../attestation/layout.ts'
import { dearestRun, operandLeaves, positionsOf, tilePositions } from './reach.ts'

/** What attesting one drawn job can cost at most: proofs, opened leaves, bytes of the attestation. */
export type Cost = { proofs: number; leaves: number; bytes: number }

/** A proof with its running sum and stage commitment, and the framing of all. */
const PROOF_WIRE_BYTES = 352
/** A hash on the wire, with its tag and length. */
const HASH_WIRE_BYTES = 34
/** Receipt, voucher, paths of the job itself. */
const JOB_WIRE_BYTES = 4_096
/** Fields of these beyond one for each hash. */
const JOB_FIELDS = 256

/** What an op asks of an attestation, at most: for one of its tiles, and for any number of them. */
type OpCost = {
  tiles: number
  /** Leaves of its operands that one tile reads, and that there are. */
  reads: number
  readable: number
  /** Bytes of these with their paths. */
  readBytes: number
  readableBytes: number
  /** Leaves of its output that go with a leaf in which a tile lies, and how many such leaves there are. */
  own: number
  outputLeaves: number
  /** Bytes of one of them with its path. */
  ownBytes: number
  /** Staged segments of one tile. */
  stages: number
  /** Pointwise proofs of one tile: its table, or its clamp should it saturate. */
  pointwise: number
}

/** Extents of all loops of a box of the output, and of the reduced loops behind it. */
const extentsOf = (shape: number[], reduce: number[], axis: number, length: number): number[] => [
  ...shape.map((dim, i) => (i < axis ? 1 : i === axis ? length : dim)),
  ...reduce,
]

/** Bytes of an opened leaf of a tensor, whichever of its trees it stands in, with its path. */
function leafBytes(manifest: Manifest, tensor: number): number {
  const leaves = leavesFor(elementCount(tensorOf(manifest, tensor).shape))
  return (merkleDepth(2 * leaves) + 1) * HASH_WIRE_BYTES + 4
}

/** Lines of the output, along its last axis, that a tile touches at most. */
function linesOf(shape: number[], size: number): number {
  const line = shape.at(-1) ?? 1
  const positions = tilePositions(shape, size)
  const total = elementCount(shape)
  if (positions === null) return size
  return positions.reduce((most, first) => {
    const last = Math.min(first + size, total) - 1
    return Math.max(most, Math.floor(last / line) - Math.floor(first / line) + 1)
  }, 0)
}

/** Staged segments behind one tile. Elements of a line share a factor that does not move along it. */
function tileStages(op: Op, shape: number[]): number {
  const size = tileSize(op)
  const still = (operand: Operand): boolean =>
    shape.length > 0 && operand.axes.every(({ coefs }) => coefs[shape.length - 1] === 0)
  switch (op.kind) {
    case 'product': {
      const runs = still(op.a) || still(op.b) ? linesOf(shape, size) : size
      return Math.ceil((runs * elementCount(op.reduce)) / PRODUCT_PAIRS)
    }
    case 'divide':
      return Math.ceil((still(op.b) ? linesOf(shape, size) : size) / PRODUCT_PAIRS)
    case 'root':
      return Math.ceil(size / PRODUCT_PAIRS)
    case 'extremum':
      // No window crosses two segments.
      return Math.ceil(size / Math.floor(EXTREMUM_GAPS / elementCount(op.reduce)))
    default:
      return 0
  }
}

/** @param positions of tiles that are looked at for each operand */
export function opCost(manifest: Manifest, op: Op, positions?: number): OpCost {
  const { shape } = tensorOf(manifest, op.output)
  const outputLeaves = leavesFor(elementCount(shape))
  const reduced = reducedLoops(op)
  const size = tileSize(op)
  let reads = op.kind === 'table' ? 1 : 0
  let readable = op.kind === 'table' ? outputLeaves : 0
  const ownBytes = leafBytes(manifest, op.output)
  let [readBytes, readableBytes] = [reads * ownBytes, readable * ownBytes]
  operandsOf(op).forEach((operand, i) => {
    const reduce = reduced[i] ?? reduced[0]!
    const whole = leavesFor(elementCount(tensorOf(manifest, operand.tensor).shape))
    const box = (axis: number, length: number): number =>
      operandLeaves(manifest, operand, extentsOf(shape, reduce, axis, length))
    const [most, all] = [dearestRun(shape, size, box, whole, positions), whole].map(
      (leaves) => limbsOf(manifest, operand) * leaves,
    )
    const bytes = leafBytes(manifest, operand.tensor)
    reads += most!
    readable += all!
    readBytes += most! * bytes
    readableBytes += all! * bytes
  })
  const own = treesAt(manifest, op.output)
    .filter(({ tree }) => tree !== TREE.served)
    .reduce((sum, { count }) => sum + count / outputLeaves, 0)
  return {
    tiles: opTiles(manifest, op),
    reads,
    readable,
    readBytes,
    readableBytes,
    own,
    outputLeaves,
    ownBytes,
    stages: tileStages(op, shape),
    pointwise: op.kind === 'table' || saturates(manifest, op) ? 1 : 0,
  }
}

/** What `tiles` drawn tiles of an op cost together: one statement, in which no leaf stands twice. */
export function tilesCost(op: Op, cost: OpCost, tiles: number): Cost {
  const own = Math.min(tiles, cost.outputLeaves) * cost.own
  const leaves = Math.min(tiles * cost.reads, cost.readable) + own
  const bytes = Math.min(tiles * cost.readBytes, cost.readableBytes) + own * cost.ownBytes
  const relation = op.kind === 'table' ? 0 : Math.ceil(leaves / SEGMENT_LEAVES)
  const proofs = relation + tiles * (cost.stages + cost.pointwise)
  return { leaves, proofs, bytes: bytes + proofs * PROOF_WIRE_BYTES }
}

/** What the worst challenge can ask of one drawn job. An upper bound: merged tiles and shared leaves only cost less. */
export function worstCost(manifest: Manifest, tileDraws: number, policy: Policy = 'zk'): Cost {
  if (policy === 'open') {
    const values = [...manifest.inputs, ...manifest.outputs].reduce((sum, { shape }) => sum + elementCount(shape), 0)
    return { proofs: 0, leaves: 0, bytes: 2 * values + JOB_WIRE_BYTES }
  }
  const always = alwaysChecked(manifest)
  const sum: Cost = { proofs: 0, leaves: 0, bytes: 0 }
  const add = (cost: Cost, times = 1): void => {
    for (const key of ['proofs', 'leaves', 'bytes'] as const) sum[key] += times * cost[key]
  }
  const dearest: Cost = { proofs: 0, leaves: 0, bytes: 0 }
  const positions = positionsOf(manifest.ops.reduce((total, op) => total + operandsOf(op).length, 1))
  manifest.ops.forEach((op, i) => {
    const cost = opCost(manifest, op, positions)
    const all = always[i] || policy === 'full'
    const each = tilesCost(op, cost, all ? cost.tiles : 1)
    if (all) add(each)
    else for (const key of ['proofs', 'leaves', 'bytes'] as const) dearest[key] = Math.max(dearest[key], each[key])
  })
  add(dearest, tileDraws)
  for (const { tensor, shape } of manifest.outputs) {
    const proofs = leavesFor(elementCount(shape))
    const leaves = 2 * proofs
    add({ proofs, leaves, bytes: leaves * leafBytes(manifest, tensor) + proofs * PROOF_WIRE_BYTES })
  }
  const trees = treesOf(manifest).length
  const paths = Math.min(trees, sum.leaves + 1) * (merkleDepth(trees) + 2) * HASH_WIRE_BYTES
  return { ...sum, bytes: sum.bytes + paths + JOB_WIRE_BYTES }
}

/** Fields on the wire of an attestation of so much, at most: one of each hash, and those that frame leaves, proofs and the job. */
export const fieldsOf = ({ proofs, leaves, bytes }: Cost): number =>
  Math.ceil(bytes / HASH_WIRE_BYTES) + 2 * leaves + 4 * proofs + JOB_FIELDS

export type ProvingLimits = {
  /** Jobs drawn from a batch. */
  draws: number
  tileDraws: number
  /** Seconds from the challenge to the attestation's digest on chain. */
  attestWindowS: number
  /** Seconds from the last audit that can be named to the trace's root on chain. */
  traceWindowS: number
  /** Seconds in which the committee votes. */
  voteWindowS: number
  /** Seconds that committing a leaf takes here, on one core. */
  leafS: number
}

/** Those of a network, with windows in seconds, for a machine that commits a leaf in `leafS`. */
export const provingLimits = (
  params: Record<'draws' | 'attestWindow' | 'traceWindow' | 'auditWindow' | 'voteWindow', number>,
  tileDraws: number,
  leafS: number,
): ProvingLimits => ({
  draws: params.draws,
  attestWindowS: params.attestWindow,
  traceWindowS: params.traceWindow - params.auditWindow,
  voteWindowS: params.voteWindow,
  tileDraws,
  leafS,
})

/** Seconds that committing a leaf takes on a slow core: with four hashes at a time, and where there is only JavaScript. */
export const leafSeconds = ({ lanes }: Pick<Committer, 'lanes'>): number => (lanes > 1 ? 1e-4 : 2e-3)
/** Seconds that evaluating a multiply-add takes on a slow core. */
const MULTIPLY_ADD_S = 2e-9

/** Seconds to evaluate and commit one drawn job. The `pre` leaves of what does not saturate are all one leaf, known beforehand. */
function traceSeconds(manifest: Manifest, leafS: number): number {
  const leaves = treesOf(manifest).reduce((sum, { tree, count }) => sum + (tree === TREE.pre ? 0 : count), 0)
  return leaves * leafS + manifest.units * MULTIPLY_ADD_S
}

/** Seconds that a proof is taken to last on a machine that has other things to do. */
const PROOF_S = 2

/** One range of a batch: jobs of one model under one policy. Any of them may be drawn, and one may be audited. */
export type RangeTerms = { manifest: Manifest; policy: Policy }

/**
 * Why a batch over these ranges might not be attested or verified in time, or be too large to hand out; null when it can. Audited
 * jobs are shown and computed again, one of each range at most.
 */
export function batchExcess(ranges: RangeTerms[], limits: ProvingLimits): string | null {
  const { draws, tileDraws, attestWindowS, traceWindowS, voteWindowS } = limits
  const costs = ranges.map(({ manifest, policy }) => ({
    ...worstCost(manifest, tileDraws, policy),
    shownBytes: worstCost(manifest, tileDraws, 'open').bytes,
    traceS: traceSeconds(manifest, limits.leafS),
    shown: policy === 'open',
  }))
  type RangeCost = (typeof costs)[number]
  const sample = (pick: (cost: RangeCost) => number): number => draws * Math.max(...costs.map(pick))
  const audits = (pick: (cost: RangeCost) => number): number => costs.reduce((sum, cost) => sum + pick(cost), 0)
  const traceS = sample((cost) => cost.traceS) + audits((cost) => cost.traceS)
  if (2 * traceS > traceWindowS)
    return `committing the drawn jobs may take ${Math.ceil(traceS)} s, too long for a window of ${traceWindowS} s`
  const againS = sample((cost) => (cost.shown ? cost.traceS : 0)) + audits((cost) => cost.traceS)
  if (2 * againS > voteWindowS)
    return `computing the shown jobs again may take ${Math.ceil(againS)} s, too long for a window of ${voteWindowS} s`
  const proofs = sample((cost) => cost.proofs)
  if (proofs * PROOF_S > attestWindowS)
    return `an attestation may need ${proofs} proofs, too many for a window of ${attestWindowS} s`
  const bytes = sample((cost) => cost.bytes) + audits((cost) => cost.shownBytes)
  if (bytes > MAX_ATTESTATION_BYTES)
    return `an attestation may have ${bytes} bytes, more than the ${MAX_ATTESTATION_BYTES} that can be handed out`
  const fields = sample(fieldsOf) + ranges.length * fieldsOf({ proofs: 0, leaves: 0, bytes: JOB_WIRE_BYTES })
  return fields > MAX_FIELDS
    ? `an attestation may have ${fields} fields, more than the ${MAX_FIELDS} that are read`
    : null
}

/**
 * Refuses a model whose attestation might not be made in time, or might be too large to hand out: either would cost an honest
 * provider its lock, and anyone can publish such a model. Throws `MODEL_UNPROVABLE`.
 */
export function checkProvable(manifest: Manifest, limits: ProvingLimits, policy: Policy = 'zk'): void {
  if (!isCheckable(manifest, limits.tileDraws, policy))
    throw new SinterError('MODEL_UNPROVABLE', 'verifying a drawn job may take longer than verifiers have')
  if (openCost(manifest).bytes > MAX_OPEN_BYTES)
    throw new SinterError('MODEL_UNPROVABLE', 'evaluating a drawn job may take more memory than there is')
  const excess = batchExcess([{ manifest, policy }], limits)
  if (excess !== null) throw new SinterError('MODEL_UNPROVABLE', excess)
}

/** Whether a batch with a range of each of these sessions can be attested and verified in time. */
export const batchFits =
  (manifestOf: (cid: string) => Promise<Manifest>, limits: ProvingLimits) =>
  async (sessions: readonly { manifest: string; policy: Policy }[]): Promise<boolean> => {
    const terms = async ({ manifest, policy }: (typeof sessions)[number]): Promise<RangeTerms> => ({
      manifest: await manifestOf(manifest),
      policy,
    })
    return batchExcess(await Promise.all(sessions.map(terms)), limits) === null
  }
