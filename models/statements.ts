import { SinterError } from '../protocol/errors.ts'
import { FIELD_PRIME, mod } from '../protocol/field.ts'
import {
  LEAF_LIMBS,
  type LeafRef,
  type PointwiseStatement,
  type RelationStatement,
  type RelationTerm,
  type Statement,
  TABLE_SEGMENTS,
  TREE,
} from '../protocol/statement.ts'
import { tableAt } from './canonical.ts'
import { outputTiles, type SelectedTile } from './draw.ts'
import { isLinear, type LinearOp, type Manifest, type TableOp } from './manifest.ts'
import { rowOf } from './taps.ts'
import { elementCount, opTiles, resolveTensor, tensorOf } from './tiling.ts'
import { opWeights } from './weights.ts'

const LIMB = 65_536n
const HALF = 32_768n

/** K_i = 1024·i − 2^15: the table that changes nothing, for comparing the served output with the canonical one. */
const IDENTITY_KNOTS: readonly bigint[] = Array.from({ length: TABLE_SEGMENTS + 1 }, (_, i) => BigInt(1024 * i) - HALF)
const NO_KNOTS: readonly bigint[] = IDENTITY_KNOTS.map(() => 0n)

/** Elements of a tensor that lie in one of its tiles. */
const tileLength = (elements: number, tile: number): number => Math.min(LEAF_LIMBS, elements - tile * LEAF_LIMBS)

const maskOf = (elements: number, tile: number): bigint => (1n << BigInt(tileLength(elements, tile))) - 1n

/** Coefficients of the leaves of one tree, built up limb by limb and reduced at the end. */
function coefficients(tensor: number): {
  add(element: number, value: bigint): void
  terms(): RelationTerm[]
  sum(): bigint
} {
  const leaves = new Map<number, bigint[]>()
  return {
    add(element, value) {
      const index = Math.floor(element / LEAF_LIMBS)
      let u = leaves.get(index)
      if (u === undefined) {
        u = new Array<bigint>(LEAF_LIMBS).fill(0n)
        leaves.set(index, u)
      }
      u[element % LEAF_LIMBS]! += value
    },
    terms: () =>
      [...leaves]
        .sort(([a], [b]) => a - b)
        .map(([index, u]) => ({ leaf: { tensor, tree: TREE.value, index }, u: u.map(mod) })),
    sum: () => mod([...leaves.values()].flat().reduce((total, value) => total + value, 0n)),
  }
}

/**
 * One relation for all drawn tiles of a linear op. Over signed values, with weight ρ^(64t+j+1) for row j of tile t:
 *   Σ ρ^·(2^16·y + rem − Σ w·x − b) = 0, where a flagged tile has its unclamped value in y's place.
 * Limbs are unsigned, so 2^16·y = 2^16·limb − 2^31, unclamped 2^16·pre = 2^16·lo + 2^32·hi − 2^47 − 2^31 and
 * x = limb − 2^15; the constants gather in c. Positions past the tensor's end keep the coefficient 0.
 */
function relation(
  manifest: Manifest,
  weights: Uint8Array,
  op: number,
  tiles: number[],
  flagged: (tile: number) => boolean,
  rho: bigint,
): RelationStatement {
  const linear = manifest.ops[op] as LinearOp
  const output = linear.output
  const elements = elementCount(tensorOf(manifest, output).shape)
  const values = opWeights(linear, weights)
  const field = coefficients(resolveTensor(manifest, linear.input))
  const terms: RelationTerm[] = []
  let c = 0n
  for (const tile of tiles) {
    const first = tile * LEAF_LIMBS
    const length = tileLength(elements, tile)
    const powers = new Array<bigint>(LEAF_LIMBS).fill(0n)
    let power = powerOf(rho, BigInt(first))
    for (let j = 0; j < length; j++) {
      power = mod(power * rho)
      powers[j] = power
      const weight = power
      const row = rowOf(manifest, linear, values, first + j)
      row.taps((input, w) => field.add(input, -BigInt(w) * weight))
      c += weight * (BigInt(row.bias) + (flagged(tile) ? (LIMB * LIMB + LIMB) * HALF : LIMB * HALF))
    }
    const leaf = (tree: LeafRef['tree'], index: number, factor: bigint): RelationTerm => ({
      leaf: { tensor: output, tree, index },
      u: powers.map((value) => mod(value * factor)),
    })
    if (flagged(tile)) terms.push(leaf(TREE.pre, 2 * tile, LIMB), leaf(TREE.pre, 2 * tile + 1, LIMB * LIMB))
    else terms.push(leaf(TREE.value, tile, LIMB))
    terms.push(leaf(TREE.rem, tile, 1n))
  }
  return { kind: 'relation', op, tiles, terms: [...terms, ...field.terms()], c: mod(c + HALF * field.sum()) }
}

function powerOf(base: bigint, exponent: bigint): bigint {
  let result = 1n
  let square = base
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = mod(result * square)
    square = mod(square * square)
  }
  return result
}

const value = (tensor: number, index: number): LeafRef => ({ tensor, tree: TREE.value, index })

function clamp(manifest: Manifest, op: number, tile: number): PointwiseStatement {
  const output = manifest.ops[op]!.output
  return {
    kind: 'pointwise',
    op,
    tile,
    mode: 'clamp',
    a: { tensor: output, tree: TREE.pre, index: 2 * tile },
    b: value(output, tile),
    hi: { tensor: output, tree: TREE.pre, index: 2 * tile + 1 },
    knots: [...NO_KNOTS],
    tol: 0,
    mask: maskOf(elementCount(tensorOf(manifest, output).shape), tile),
  }
}

function table(manifest: Manifest, op: number, tile: number): PointwiseStatement {
  const { input, output, knots } = manifest.ops[op] as TableOp
  return {
    kind: 'pointwise',
    op,
    tile,
    mode: 'table',
    a: value(resolveTensor(manifest, input), tile),
    b: value(output, tile),
    hi: null,
    knots: knots.map(BigInt),
    tol: 0,
    mask: maskOf(elementCount(tensorOf(manifest, output).shape), tile),
  }
}

function tolerance(manifest: Manifest, output: number, tile: number): PointwiseStatement {
  const end = manifest.outputs[output]!
  const tensor = resolveTensor(manifest, end.tensor)
  return {
    kind: 'pointwise',
    op: -1 - output,
    tile,
    mode: 'table',
    a: value(tensor, tile),
    b: { tensor, tree: TREE.served, index: tile },
    hi: null,
    knots: [...IDENTITY_KNOTS],
    tol: end.tolerance.quanta,
    mask: maskOf(elementCount(end.shape), tile),
  }
}

/**
 * Everything that an attestation of one drawn job must prove, in this order: for each op by index, its relation and
 * then the clamps of its flagged tiles, or its tables; last, for each output tile, that the served values are within τ.
 * @param selected drawn tiles, sorted by op then tile, without duplicates (as `selectTiles` gives them)
 * @param flags whether a tile of a linear op's output commits unclamped values: known from its opened `pre` leaves
 * @param rho challenge of the Freivalds check, in [1, r)
 * Throws `BAD_SELECTION` or `BAD_CHALLENGE`.
 */
export function buildStatements(
  manifest: Manifest,
  weights: Uint8Array,
  selected: SelectedTile[],
  flags: (tensor: number, tile: number) => boolean,
  rho: bigint,
): Statement[] {
  if (rho <= 0n || rho >= FIELD_PRIME) throw new SinterError('BAD_CHALLENGE', 'ρ is not in [1, r)')
  const byOp = new Map<number, number[]>()
  for (const { op, tile } of selected) {
    const target = manifest.ops[op]
    const before = byOp.get(op)
    if (target === undefined || !Number.isInteger(tile) || tile < 0 || tile >= opTiles(manifest, target))
      throw new SinterError('BAD_SELECTION', `there is no tile ${tile} of op ${op}`)
    if (before === undefined) byOp.set(op, [tile])
    else if (tile > before.at(-1)!) before.push(tile)
    else throw new SinterError('BAD_SELECTION', `the tiles of op ${op} are not in ascending order`)
  }
  const statements: Statement[] = []
  for (const [op, tiles] of [...byOp].sort(([a], [b]) => a - b)) {
    const target = manifest.ops[op]!
    if (isLinear(target)) {
      const flagged = (tile: number): boolean => flags(target.output, tile)
      statements.push(relation(manifest, weights, op, tiles, flagged, rho))
      for (const tile of tiles.filter(flagged)) statements.push(clamp(manifest, op, tile))
    } else for (const tile of tiles) statements.push(table(manifest, op, tile))
  }
  for (const { output, tile } of outputTiles(manifest)) statements.push(tolerance(manifest, output, tile))
  return statements
}

function pairHolds(statement: PointwiseStatement, knots: number[], a: number, b: number, hi: number): boolean {
  if (statement.mode === 'clamp') return b === (hi === 32_768 ? a : hi > 32_768 ? 65_535 : 0)
  return Math.abs(b - 32_768 - tableAt(knots, a - 32_768)) <= statement.tol
}

/**
 * Whether a statement holds for these limbs: what the circuits prove, evaluated natively.
 * @param limbsOf the 64 limbs of a leaf; zeros for a leaf that is ZERO_LEAF
 */
export function checkStatement(statement: Statement, limbsOf: (ref: LeafRef) => Uint16Array): boolean {
  if (statement.kind === 'relation') {
    let sum = 0n
    for (const { leaf, u } of statement.terms) {
      const limbs = limbsOf(leaf)
      u.forEach((coefficient, j) => {
        sum += coefficient * BigInt(limbs[j]!)
      })
    }
    return mod(sum) === statement.c
  }
  const a = limbsOf(statement.a)
  const b = limbsOf(statement.b)
  const hi = statement.hi === null ? null : limbsOf(statement.hi)
  const knots = statement.knots.map(Number)
  for (let j = 0; j < LEAF_LIMBS; j++)
    if ((statement.mask >> BigInt(j)) & 1n && !pairHolds(statement, knots, a[j]!, b[j]!, hi?.[j] ?? 0)) return false
  return true
}
