import { evaluate, type TensorTrace, type Trace, traceOutputs, withServed } from '../../models/canonical.ts'
import { alwaysChecked, type SelectedTile, selectTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import type { LinearOp, Manifest, Op } from '../../models/manifest.ts'
import { buildStatements, checkStatement } from '../../models/statements.ts'
import { elementCount, inputsOf, opTiles, resolveTensor, tensorOf, tileRange } from '../../models/tiling.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { type JobChallenge, jobChallenge } from '../../protocol/challenge.ts'
import { sha256 } from '../../protocol/hash.ts'

/**
 * How often the draws find a trace that is wrong in some tiles. Traces are of real models, challenges and tiles are drawn by the
 * product's code, and a draw counts as caught when one of the statements that it asks for does not hold.
 */

/**
 * Traces in which `op` wrote other values and everything behind it follows from those. Its own remainders stay the honest ones.
 * `honest` is the trace that it starts from.
 */
export function rewriter(
  model: Pick<LoadedModel, 'manifest' | 'weights'>,
  inputs: Int16Array[],
  op: number,
  honest = evaluate(model.manifest, model.weights, inputs),
): (value: ArrayLike<number>) => Trace {
  const { manifest, weights } = model
  const target = manifest.ops[op]!
  const { shape } = tensorOf(manifest, target.output)
  const file = new Uint8Array(weights.length + 8 * elementCount(shape))
  file.set(weights)
  const view = new DataView(file.buffer)
  // The op stands in for a sum that has no terms but the wanted values as its bias.
  const constant: LinearOp = {
    kind: 'linear',
    name: target.name,
    output: target.output,
    tile: 64,
    drop: 0,
    terms: [
      {
        tensor: 0,
        zero: 0,
        reduce: [],
        weight: 0,
        axes: tensorOf(manifest, 0).shape.map(() => ({
          coefs: shape.map(() => 0),
          offset: 0,
          divisor: 1,
          table: null,
        })),
      },
    ],
    bias: {
      offset: weights.length,
      count: elementCount(shape),
      strides: shape.map((_, axis) => elementCount(shape.slice(axis + 1))),
    },
  }
  const changed: Manifest = { ...manifest, ops: manifest.ops.with(op, constant) }
  return (value) => {
    for (let i = 0; i < value.length; i++) view.setBigInt64(weights.length + 8 * i, BigInt(value[i]!), true)
    const behind = evaluate(changed, file, inputs)
    const forged: TensorTrace = { ...honest.tensors[target.output]!, value: behind.tensors[target.output]!.value }
    return { tensors: behind.tensors.with(target.output, forged) }
  }
}

export const rewritten = (model: LoadedModel, inputs: Int16Array[], op: number, value: ArrayLike<number>): Trace =>
  rewriter(model, inputs, op)(value)

/** Σ of the odds that one draw over the tiles, or one over the ops, falls on a wrong tile: DESIGN §5.4, without models/draw.ts. */
export function predicted(manifest: Manifest, wrong: SelectedTile[], s: number): number {
  const always = alwaysChecked(manifest)
  if (wrong.some(({ op }) => always[op])) return 1
  const byTile = wrong.length / manifest.tiles
  const byOp = wrong.reduce((sum, { op }) => sum + 1 / (manifest.layers * opTiles(manifest, manifest.ops[op]!)), 0)
  return 1 - (1 - byTile) ** Math.ceil(s / 2) * (1 - byOp) ** Math.floor(s / 2)
}

/** Wilson's score interval of a share. */
export function wilson(hits: number, runs: number, z = 2.5758): [low: number, high: number] {
  const share = hits / runs
  const middle = share + z ** 2 / (2 * runs)
  const half = z * Math.sqrt((share * (1 - share)) / runs + z ** 2 / (4 * runs ** 2))
  return [(middle - half) / (1 + z ** 2 / runs), (middle + half) / (1 + z ** 2 / runs)]
}

/** The challenge of draw `i`, of a batch of its own. */
export function challengeOf(model: LoadedModel, i: string): JobChallenge {
  const of = (what: string): Uint8Array => sha256(utf8(`${what} ${i}`))
  const context = {
    chainId: 31_337,
    batches: `0x${'ba'.repeat(20)}`,
    provider: `0x${'a0'.repeat(20)}`,
    batch: of('batch'),
    traceRoot: of('trace'),
    beacon: of('beacon'),
  } as const
  return jobChallenge(context, of('receipt'), model.cid.bytes)
}

/** Whether all statements about some tiles hold of a trace. */
export function holds(model: LoadedModel, trace: Trace, tiles: SelectedTile[], rho: bigint): boolean {
  const { manifest, weights } = model
  const statements = buildStatements(manifest, weights, tiles, flagsOf(manifest, trace), rho)
  return statements.every((statement) =>
    checkStatement(statement, (ref) => leafLimbs(manifest, trace, ref) ?? new Uint16Array(64)),
  )
}

/** The tiles of a trace whose own statements do not hold. */
export function wrongTiles(model: LoadedModel, trace: Trace): SelectedTile[] {
  const { manifest } = model
  const { rho } = challengeOf(model, 'wrong tiles')
  return manifest.ops.flatMap((op, at) =>
    Array.from({ length: opTiles(manifest, op) }, (_, tile) => ({ op: at, tile })).filter(
      (each) => !holds(model, trace, [each], rho),
    ),
  )
}

export type Measured = { runs: number; caught: number; share: number; predicted: number; interval: [number, number] }

/**
 * Draws `runs` times with `s` tile draws each. Every draw is judged by its statements where `thorough`; else by whether it holds a
 * wrong tile, and every twentieth by its statements as well. Another `series` has other challenges.
 */
export function measure(
  model: LoadedModel,
  trace: Trace,
  s: number,
  runs: number,
  thorough: boolean,
  series = '',
): Measured {
  const { manifest } = model
  const wrong = wrongTiles(model, trace)
  const keys = new Set(wrong.map(({ op, tile }) => `${op}/${tile}`))
  let caught = 0
  for (let i = 0; i < runs; i++) {
    const { random, rho } = challengeOf(model, `${series}${i}`)
    const tiles = selectTiles(manifest, random, s)
    const hit = tiles.some(({ op, tile }) => keys.has(`${op}/${tile}`))
    if ((thorough || i % 20 === 0) && hit === holds(model, trace, tiles, rho))
      throw new Error(`draw ${series}${i} ${hit ? 'holds a wrong tile and' : 'holds no wrong tile and does not'} pass`)
    if (hit) caught++
  }
  const interval = wilson(caught, runs)
  return { runs, caught, share: caught / runs, predicted: predicted(manifest, wrong, s), interval }
}

/** The op and the tile that are drawn least, among those that are not always checked: what a cheat would choose. */
export function leastDrawn(manifest: Manifest): { op: number; tileOf: number } | null {
  const always = alwaysChecked(manifest)
  const open = manifest.ops.flatMap((op, at) => (always[at] ? [] : [{ at, tiles: opTiles(manifest, op) }]))
  if (open.length === 0) return null
  const by = (sign: 1 | -1): number => open.toSorted((a, b) => sign * (a.tiles - b.tiles))[0]!.at
  return { op: by(1), tileOf: by(-1) }
}

const limits = (manifest: Manifest, op: Op): [number, number] =>
  tensorOf(manifest, op.output).bits === 16 ? [-32_768, 32_767] : [-(2 ** 31), 2 ** 31 - 1]

/** Another value of the same tensor, at least 8 quanta away. */
const away = (manifest: Manifest, op: Op, value: number): number =>
  value + 8 > limits(manifest, op)[1] ? value - 8 : value + 8

/** What is wrong with the trace that a cheat commits to, as tile or as whole op; null where the model has no such op. */
export const ATTACKS: Record<string, (model: LoadedModel, inputs: Int16Array[]) => Trace | null> = {
  'one limb of a remainder': (model, inputs) => {
    const { manifest, weights } = model
    const trace = evaluate(manifest, weights, inputs)
    const always = alwaysChecked(manifest)
    const at = manifest.ops.flatMap((op, i) => (!always[i] && trace.tensors[op.output]!.rem !== null ? [i] : []))
    const op = at.toSorted((a, b) => opTiles(manifest, manifest.ops[b]!) - opTiles(manifest, manifest.ops[a]!))[0]
    if (op === undefined) return null
    const { output } = manifest.ops[op]!
    const rem = trace.tensors[output]!.rem!.slice()
    rem[0]! ^= 1
    return { tensors: trace.tensors.with(output, { ...trace.tensors[output]!, rem }) }
  },
  'one element, all behind it recomputed': (model, inputs) => {
    const { manifest, weights } = model
    const at = leastDrawn(manifest)
    if (at === null) return null
    const op = manifest.ops[at.tileOf]!
    const { first } = tileRange(manifest, op, opTiles(manifest, op) - 1)
    const values = evaluate(manifest, weights, inputs).tensors[op.output]!.value.slice()
    values[first] = away(manifest, op, values[first]!)
    return rewritten(model, inputs, at.tileOf, values)
  },
  'one whole op, all behind it recomputed': (model, inputs) => {
    const { manifest, weights } = model
    const at = leastDrawn(manifest)
    if (at === null) return null
    const op = manifest.ops[at.op]!
    const { value } = evaluate(manifest, weights, inputs).tensors[op.output]!
    return rewritten(
      model,
      inputs,
      at.op,
      Array.from(value, (each) => away(manifest, op, each)),
    )
  },
  'a layer skipped': (model, inputs) => {
    const { manifest, weights } = model
    const always = alwaysChecked(manifest)
    const size = (tensor: number): number => elementCount(tensorOf(manifest, tensor).shape)
    const op = manifest.ops.findIndex(({ output, ...each }, i) => {
      const input = resolveTensor(manifest, inputsOf({ output, ...each } as Op)[0]!)
      const plain = tensorOf(manifest, input).bits === 16 && tensorOf(manifest, output).bits === 16
      return !always[i] && plain && size(input) === size(output)
    })
    if (op < 0) return null
    const from = resolveTensor(manifest, inputsOf(manifest.ops[op]!)[0]!)
    return rewritten(model, inputs, op, evaluate(manifest, weights, inputs).tensors[from]!.value)
  },
  'another model: weights of four bits': (model, inputs) => {
    const { manifest, weights } = model
    return evaluate(manifest, fourBits(manifest, weights), inputs)
  },
}

/** All weights of linear ops rounded to sixteen levels of each array's range. */
export function fourBits({ ops }: Manifest, weights: Uint8Array): Uint8Array {
  const out = weights.slice()
  const view = new DataView(out.buffer)
  for (const op of ops) {
    if (op.kind !== 'linear') continue
    for (const { weight } of op.terms) {
      if (typeof weight === 'number') continue
      const at = Array.from({ length: weight.count }, (_, i) => weight.offset + 4 * i)
      const step = Math.max(1, Math.max(...at.map((offset) => Math.abs(view.getInt32(offset, true)))) / 7)
      for (const offset of at)
        view.setInt32(offset, Math.round(Math.round(view.getInt32(offset, true) / step) * step), true)
    }
  }
  return out
}

/** A cheat's trace with what it serves: its own outputs. */
export const served = (manifest: Manifest, trace: Trace): Trace =>
  withServed(manifest, trace, traceOutputs(manifest, trace))
