import { bigintToBytes, bytesToBigint, concat, equalBytes, fromHex, u32, u64, utf8 } from './bytes.ts'
import { HASH_BYTES, keccak256, sha256 } from './hash.ts'
import type { Address } from './signature.ts'

/**
 * Capacity pulses, as protocol/contracts/libraries/Pulses.sol checks them; both are held to vectors/pulse.json. What each part is for, and what it
 * withstands: spec/capacity.md. Matrices are row by row, one byte an entry.
 */

/** States are taken modulo this; an entry is a byte. */
export const STATE_MODULUS = 64
/** Largest prime p with 2·(p − 1)² < 2^24: sums of two products of residues are exact in float32. */
export const PULSE_PRIME = 2897
/** Levels of a report's tree: its leaf i is the node that the registry has at i. */
export const REPORT_DEPTH = 20

const MATRIX = utf8('sinter/pulse/matrix/1')
const SLOT = utf8('sinter/pulse/slot/1')
const LANE = utf8('sinter/pulse/lane/1')
const STEP = utf8('sinter/pulse/step/1')
const REPORTERS = utf8('sinter/pulse/reporters/1')
const DRAW = utf8('sinter/pulse/draw/1')
const ENTRY = utf8('sinter/pulse/entry/1')
const ZERO = new Uint8Array(HASH_BYTES)
/** Values of a vector in a hash: 16 bits each. */
const PER_HASH = 16
/** Entries of the matrix in a hash: 2 bits each. */
const ENTRIES_PER_HASH = 128

/** @param n rows and columns, a power of two from 256 to 8192. @param steps products of a lane, a power of two. @param entries that are examined. */
export type PulseClass = { n: number; steps: number; entries: number }

/** Whether the slot with this beacon value is a pulse: one in `rarity`. */
export const isPulse = (value: Uint8Array, rarity: number): boolean => remainder(concat(SLOT, value), rarity) === 0

/** Seed of the draw of those who report. */
export const reportersSeed = (value: Uint8Array): Uint8Array => keccak256(concat(REPORTERS, value))

// ---- a lane: a chain of products that is nobody else's

/** What a lane begins with, and what each of its steps is bound to. @param at.value of the pulse's slot. */
export function laneSeed(at: {
  chainId: number
  capacity: Address
  value: Uint8Array
  operator: Address
  lane: number
}): Uint8Array {
  const place = concat(bigintToBytes(BigInt(at.chainId), 32), fromHex(at.capacity))
  return keccak256(concat(LANE, place, at.value, fromHex(at.operator), u32(at.lane)))
}

/** Seed of step `step`, which turns the state under `root` into the next. The first state is zero and has the zero root. */
export const stepSeed = (lane: Uint8Array, step: number, root: Uint8Array): Uint8Array =>
  keccak256(concat(STEP, lane, u32(step), root))

export type StepVectors = { alpha: Uint16Array; beta: Uint16Array; gamma: Uint16Array; delta: Uint16Array }

/** The four vectors of a step, n values below `PULSE_PRIME` each. */
export function stepVectors(seed: Uint8Array, n: number): StepVectors {
  const [alpha, beta, gamma, delta] = [0, 1, 2, 3].map((which) => vector(seed, which, n)) as [
    Uint16Array,
    Uint16Array,
    Uint16Array,
    Uint16Array,
  ]
  return { alpha, beta, gamma, delta }
}

function vector(seed: Uint8Array, which: number, n: number): Uint16Array {
  const out = new Uint16Array(n)
  const input = new Uint8Array(HASH_BYTES + 8)
  const view = new DataView(input.buffer)
  input.set(seed)
  view.setUint32(HASH_BYTES, which)
  for (let block = 0; block < n / PER_HASH; block++) {
    view.setUint32(HASH_BYTES + 4, block)
    const words = keccak256(input)
    for (let i = 0; i < PER_HASH; i++)
      out[PER_HASH * block + i] = ((words[2 * i]! << 8) | words[2 * i + 1]!) % PULSE_PRIME
  }
  return out
}

/** The first n entries, 0 to 3, of a row of the matrix A, which is the same for every pulse, node and network. */
export function matrixRow(row: number, n: number): Uint8Array {
  const out = new Uint8Array(n)
  for (let block = 0; block < n / ENTRIES_PER_HASH; block++) {
    const bits = keccak256(concat(MATRIX, u32(row), u32(block)))
    for (let i = 0; i < ENTRIES_PER_HASH; i++)
      out[ENTRIES_PER_HASH * block + i] = (bits[i >> 2]! >> (6 - 2 * (i & 3))) & 3
  }
  return out
}

/** A, n × n. */
export function pulseMatrix(n: number): Uint8Array {
  const out = new Uint8Array(n * n)
  for (let row = 0; row < n; row++) out.set(matrixRow(row, n), n * row)
  return out
}

/**
 * Row c of Y = (X + H) mod 64, H[c,k] = (α_c·β_k + γ_c·δ_k) mod p.
 * @param x row c of the state, all of it zeros before the first step.
 */
export function operandRow(vectors: StepVectors, c: number, x: Uint8Array): Uint8Array {
  const out = new Uint8Array(x.length)
  const { beta, delta } = vectors
  const [alpha, gamma] = [vectors.alpha[c]!, vectors.gamma[c]!]
  for (let k = 0; k < x.length; k++)
    out[k] = (x[k]! + ((alpha * beta[k]! + gamma * delta[k]!) % PULSE_PRIME)) % STATE_MODULUS
  return out
}

/** One entry of the next state: row r of A times row c of Y. */
export function entryOf(a: Uint8Array, y: Uint8Array): number {
  let sum = 0
  for (let k = 0; k < a.length; k++) sum += a[k]! * y[k]!
  return sum % STATE_MODULUS
}

/** The next state: X'[r,c] = Σ_k A[r,k]·Y[c,k] mod 64. Naive; for tests. */
export function nextState(matrix: Uint8Array, vectors: StepVectors, x: Uint8Array, n: number): Uint8Array {
  const out = new Uint8Array(n * n)
  for (let c = 0; c < n; c++) {
    const y = operandRow(vectors, c, x.subarray(n * c, n * c + n))
    for (let r = 0; r < n; r++) out[n * r + c] = entryOf(matrix.subarray(n * r, n * r + n), y)
  }
  return out
}

// ---- commitments

// SHA-256, for which every machine and every system has fast code: states are what is hashed most.
const leafHash = (content: Uint8Array): Uint8Array => sha256(concat(Uint8Array.of(0), content))
const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array => sha256(concat(Uint8Array.of(1), left, right))

/** Levels of a tree over a power of two of leaves, leaves first. */
function levelsOf(leaves: Uint8Array[]): Uint8Array[][] {
  const levels = [leaves]
  while (levels.at(-1)!.length > 1) {
    const below = levels.at(-1)!
    levels.push(Array.from({ length: below.length / 2 }, (_, i) => nodeHash(below[2 * i]!, below[2 * i + 1]!)))
  }
  return levels
}

const pathIn = (levels: Uint8Array[][], index: number): Uint8Array[] =>
  levels.slice(0, -1).map((level, depth) => level[(index >> depth) ^ 1]!)

/** Whether a path of `depth` hashes leads from the node at `index` of its level to the root. */
function leads(node: Uint8Array, index: number, path: Uint8Array[], depth: number, root: Uint8Array): boolean {
  if (path.length !== depth || index >= 2 ** depth) return false
  const end = path.reduce(
    (hash, sibling, level) => ((index >> level) & 1 ? nodeHash(sibling, hash) : nodeHash(hash, sibling)),
    node,
  )
  return equalBytes(end, root)
}

export type StateTree = { root: Uint8Array; path(row: number): Uint8Array[] }

/** Tree over the rows of a state. */
export function stateTree(x: Uint8Array, n: number): StateTree {
  const rows = Array.from({ length: n }, (_, row) => leafHash(x.subarray(n * row, n * row + n)))
  const levels = levelsOf(rows)
  return { root: levels.at(-1)![0]!, path: (row) => pathIn(levels, row) }
}

/** Tree over the roots of a lane's states 1 to `steps`. */
export type LaneTree = { answer: Uint8Array; path(state: number): Uint8Array[] }

/** @param roots of the states after each step. The lane's answer is the root over them. */
export function laneTree(roots: Uint8Array[]): LaneTree {
  const levels = levelsOf(roots)
  return { answer: levels.at(-1)![0]!, path: (state) => pathIn(levels, state - 1) }
}

/** A node's leaf in a report: the answers of its lanes, in order. */
export const reportLeaf = (operator: Address, answers: Uint8Array[]): Uint8Array =>
  leafHash(concat(fromHex(operator), ...answers))

export type ReportTree = { root: Uint8Array; path(index: number): Uint8Array[] }

/** Tree of a report: `REPORT_DEPTH` levels, zeros where a node has not answered. @param leaves by the node's place in the registry. */
export function reportTree(leaves: ReadonlyMap<number, Uint8Array>): ReportTree {
  const empty: Uint8Array[] = [ZERO]
  const levels: Map<number, Uint8Array>[] = [new Map(leaves)]
  for (let depth = 0; depth < REPORT_DEPTH; depth++) {
    const next = new Map<number, Uint8Array>()
    for (const index of levels[depth]!.keys()) {
      const [left, right] = [index & ~1, index | 1].map((i) => levels[depth]!.get(i) ?? empty[depth]!)
      next.set(index >> 1, nodeHash(left!, right!))
    }
    levels.push(next)
    empty.push(nodeHash(empty[depth]!, empty[depth]!))
  }
  return {
    root: levels[REPORT_DEPTH]!.get(0) ?? empty[REPORT_DEPTH]!,
    path: (index) => empty.slice(0, -1).map((none, depth) => levels[depth]!.get((index >> depth) ^ 1) ?? none),
  }
}

/** Whether a leaf is in the report with this root, at a node's place in the registry. */
export const inReport = (leaf: Uint8Array, index: number, path: Uint8Array[], root: Uint8Array): boolean =>
  leads(leaf, index, path, REPORT_DEPTH, root)

// ---- what is examined

/** What the draw of a pulse binds. @param value of the pulse's draw slot, unknown to all while answers are taken. */
export type PulseDraw = { slot: bigint; value: Uint8Array; operator: Address; lane: number }

const drawn = (domain: Uint8Array, { slot, value, operator, lane }: PulseDraw): Uint8Array =>
  concat(domain, u64(slot), value, fromHex(operator), u32(lane))

/** Whether a lane is examined: one in `share`. */
export const isDrawn = (draw: PulseDraw, share: number): boolean => remainder(drawn(DRAW, draw), share) === 0

/** Entry [row, column] of the state after step `step` (from 0). */
export type Position = { step: number; row: number; column: number }

/** What of a drawn lane is examined, whatever it answered: else it could choose an answer by what would be examined of it. */
export function positions(draw: PulseDraw, { n, steps, entries }: PulseClass): Position[] {
  return Array.from({ length: entries }, (_, i) => {
    const seed = keccak256(concat(drawn(ENTRY, draw), u32(i)))
    const word = (at: number, by: number): number => Number(bytesToBigint(seed.subarray(at, at + 4)) % BigInt(by))
    return { step: word(0, steps), row: word(4, n), column: word(8, n) }
  })
}

/**
 * What shows one entry: row `column` of the state before, and row `row` of the state after. The state before step 0 is zero; there `before` is
 * zero, and `operand` and the paths to both are empty.
 */
export type EntryOpening = {
  before: Uint8Array
  beforePath: Uint8Array[]
  operand: Uint8Array
  operandPath: Uint8Array[]
  after: Uint8Array
  afterPath: Uint8Array[]
  result: Uint8Array
  resultPath: Uint8Array[]
}

/** A state, n × n, and the tree over it. */
export type KeptState = { state: Uint8Array; tree: StateTree }

/**
 * @param lane tree over the roots of all of the lane's states.
 * @param before state before the step, null for step 0.
 */
export function openEntry(
  { step, row, column }: Position,
  n: number,
  lane: LaneTree,
  before: KeptState | null,
  after: KeptState,
): EntryOpening {
  return {
    before: before?.tree.root ?? ZERO,
    beforePath: before === null ? [] : lane.path(step),
    operand: before?.state.slice(n * column, n * column + n) ?? new Uint8Array(),
    operandPath: before?.tree.path(column) ?? [],
    after: after.tree.root,
    afterPath: lane.path(step + 1),
    result: after.state.slice(n * row, n * row + n),
    resultPath: after.tree.path(row),
  }
}

/** Whether an opening shows, under a lane's answer, that the entry was computed. What `Capacity.claim` asks of every entry. */
export function checkEntry(
  { step, row, column }: Position,
  { n, steps }: PulseClass,
  lane: Uint8Array,
  answer: Uint8Array,
  opening: EntryOpening,
): boolean {
  const { before, operand, after, result } = opening
  const [high, deep] = [Math.log2(steps), Math.log2(n)]
  if (step === 0) {
    if (!equalBytes(before, ZERO) || operand.length !== 0) return false
  } else {
    if (operand.length !== n || !leads(leafHash(operand), column, opening.operandPath, deep, before)) return false
    if (!leads(before, step - 1, opening.beforePath, high, answer)) return false
  }
  if (result.length !== n || !leads(leafHash(result), row, opening.resultPath, deep, after)) return false
  if (!leads(after, step, opening.afterPath, high, answer)) return false
  const vectors = stepVectors(stepSeed(lane, step, before), n)
  const x = step === 0 ? new Uint8Array(n) : operand
  return result[column] === entryOf(matrixRow(row, n), operandRow(vectors, column, x))
}

const remainder = (bytes: Uint8Array, by: number): number => Number(bytesToBigint(keccak256(bytes)) % BigInt(by))
