import { toHex, u32, utf8 } from '../bytes.ts'
import { hash, sha256 } from '../hash.ts'
import {
  checkEntry,
  type EntryOpening,
  entryOf,
  isDrawn,
  isPulse,
  type KeptState,
  laneSeed,
  laneTree,
  matrixRow,
  nextState,
  openEntry,
  operandRow,
  positions,
  pulseMatrix,
  reportersSeed,
  reportLeaf,
  reportTree,
  STATE_MODULUS,
  stateTree,
  stepSeed,
  stepVectors,
} from '../pulse.ts'

const bytes = (label: string, index = 0): Uint8Array => hash('pulse', utf8(label), u32(index))
const hexes = (list: Uint8Array[]): string[] => list.map(toHex)

const CLASS = { n: 256, steps: 4, entries: 8 }
const CHAIN_ID = 31337
const CAPACITY = toHex(bytes('capacity').subarray(0, 20))
const OPERATOR = toHex(bytes('operator').subarray(0, 20))
const SLOT = 1_234_567_890_123n
const RARITY = 8
const SHARE = 4
const INDEX = 1_029

/** Single entries of larger classes, with operands of any residues. */
function entries(): unknown {
  return [256, 1024, 8192].flatMap((n, i) =>
    [true, false].map((zero) => {
      const [row, column] = zero ? [0, n - 1] : [n - 1, (n / 2 + 77) % n]
      const seed = bytes('step', i)
      const operand = Uint8Array.from({ length: n }, (_, k) => (zero ? 0 : (k * 7 + (k >> 3)) % STATE_MODULUS))
      const y = operandRow(stepVectors(seed, n), column, operand)
      const result = entryOf(matrixRow(row, n), y)
      return { n, seed: toHex(seed), row, column, operand: zero ? '0x' : toHex(operand), y: toHex(sha256(y)), result }
    }),
  )
}

const openingJson = (opening: EntryOpening): unknown => ({
  before: toHex(opening.before),
  beforePath: hexes(opening.beforePath),
  operand: toHex(opening.operand),
  operandPath: hexes(opening.operandPath),
  afterwards: toHex(opening.after),
  afterPath: hexes(opening.afterPath),
  result: toHex(opening.result),
  resultPath: hexes(opening.resultPath),
})

/** A lane of an honest node, and what it shows of it. */
function lane(): unknown {
  const { n, steps } = CLASS
  const [value, drawn] = [bytes('value'), bytes('draw')]
  const seed = laneSeed({ chainId: CHAIN_ID, capacity: CAPACITY, value, operator: OPERATOR, lane: 1 })
  const matrix = pulseMatrix(n)
  const kept: KeptState[] = []
  for (let step = 0; step < steps; step++) {
    const before = kept.at(-1)
    const vectors = stepVectors(stepSeed(seed, step, before?.tree.root ?? new Uint8Array(32)), n)
    const state = nextState(matrix, vectors, before?.state ?? new Uint8Array(n * n), n)
    kept.push({ state, tree: stateTree(state, n) })
  }
  const tree = laneTree(kept.map(({ tree: { root } }) => root))
  const draw = { slot: SLOT, value: drawn, operator: OPERATOR, lane: 1 }
  const places = positions(draw, CLASS)
  const openings = places.map((at) => openEntry(at, n, tree, kept[at.step - 1] ?? null, kept[at.step]!))
  if (!places.every((at, i) => checkEntry(at, CLASS, seed, tree.answer, openings[i]!))) throw new Error('not shown')
  const leaf = reportLeaf(OPERATOR, [bytes('answer'), tree.answer])
  const report = reportTree(
    new Map([
      [INDEX, leaf],
      [3, bytes('leaf')],
    ]),
  )
  return {
    chainId: CHAIN_ID,
    capacity: CAPACITY,
    value: toHex(value),
    operator: OPERATOR,
    lane: 1,
    seed: toHex(seed),
    roots: kept.map(({ tree: { root } }) => toHex(root)),
    answer: toHex(tree.answer),
    slot: Number(SLOT),
    draw: toHex(drawn),
    positions: places,
    openings: openings.map(openingJson),
    report: {
      answers: hexes([bytes('answer'), tree.answer]),
      index: INDEX,
      leaf: toHex(leaf),
      root: toHex(report.root),
      path: hexes(report.path(INDEX)),
    },
  }
}

/** Everything of capacity pulses that nodes and the chain have to agree on. */
export function pulses(): unknown {
  const value = bytes('value')
  const draws = Array.from({ length: 12 }, (_, i) => ({ slot: SLOT, value: bytes('drawn', i), operator: OPERATOR, lane: i }))
  return {
    rarity: RARITY,
    slots: Array.from({ length: 24 }, (_, i) => bytes('slot', i)).map((each) => ({
      value: toHex(each),
      pulse: isPulse(each, RARITY),
    })),
    reporters: { value: toHex(value), seed: toHex(reportersSeed(value)) },
    share: SHARE,
    draws: draws.map((draw) => ({ value: toHex(draw.value), lane: draw.lane, drawn: isDrawn(draw, SHARE) })),
    class: CLASS,
    matrix: [0, 1, 8191].map((row) => ({ row, entries: toHex(matrixRow(row, 256)) })),
    vectors: Object.fromEntries(Object.entries(stepVectors(bytes('step'), 256)).map(([name, v]) => [name, [...v]])),
    entries: entries(),
    lane: lane(),
  }
}
