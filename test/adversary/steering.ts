/**
 * `npm run test:steering`: the cheat of which DESIGN §5.4 counts the odds as d2. A provider evaluates the canonical graph, but writes one
 * leaf of one intermediate tensor so that what follows ends in another answer. Which values, a gradient says; how often it succeeds and
 * how often the draws find it, this measures on the reference models.
 */
import { evaluate, type Trace, traceOutputs } from '../../models/canonical.ts'
import { alwaysChecked } from '../../models/draw.ts'
import type { Manifest } from '../../models/manifest.ts'
import { elementCount, leavesFor, opTiles, tensorOf } from '../../models/tiling.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { LEAF_LIMBS } from '../../protocol/statement.ts'
import { fourBits, measure, rewriter, served, wilson } from './detection.ts'
import { decisionOf, openReference, type ReferenceName } from './reference.ts'

/** How far an answer is from being another one than `label`, negative while it is `label`: the rival's value less the label's. */
function margin({ manifest }: LoadedModel, outputs: Int16Array[], label: number, rival: number): number {
  const [values] = outputs as [Int16Array]
  if (values.length > 1) return values[rival]! - values[label]!
  const half = 2 ** (manifest.tensors[manifest.outputs[0]!.tensor]!.exponent - 1)
  return label === 1 ? half - values[0]! : values[0]! - half
}

/** The answers to steer to, the nearest first. */
function rivalsOf(outputs: Int16Array[], label: number, most: number): number[] {
  const [values] = outputs as [Int16Array]
  if (values.length === 1) return [1 - label]
  return [...values.keys()]
    .filter((i) => i !== label)
    .sort((a, b) => values[b]! - values[a]!)
    .slice(0, most)
}

const PROBE = 512
const STEPS = [256, 1_024, 4_096, 16_384, 65_536]

/**
 * Writes one leaf of an op's output so that the answer is another: the gradient of the margin by differences of the canonical graph
 * itself, then the largest step of its sign that every limb still holds, twice. Null where no rival could be reached.
 */
export function steer(
  model: LoadedModel,
  inputs: Int16Array[],
  op: number,
  leaf: number,
  rivals = 2,
  honest = evaluate(model.manifest, model.weights, inputs),
): Trace | null {
  const { manifest } = model
  const write = rewriter(model, inputs, op, honest)
  const { output } = manifest.ops[op]!
  const start = honest.tensors[output]!.value
  const before = traceOutputs(manifest, honest)
  const label = decisionOf(model, before)
  const [first, end] = [leaf * LEAF_LIMBS, Math.min((leaf + 1) * LEAF_LIMBS, start.length)]
  const clip = (value: number): number => Math.max(-32_768, Math.min(32_767, value))
  for (const rival of rivalsOf(before, label, rivals)) {
    const score = (values: ArrayLike<number>): { trace: Trace; value: number } => {
      const trace = write(values)
      return { trace, value: margin(model, traceOutputs(manifest, trace), label, rival) }
    }
    let values = Int16Array.from(start)
    for (let round = 0; round < 2; round++) {
      let best = score(values).value
      const here = best
      const gradient = Array.from({ length: end - first }, (_, j) => {
        const at = first + j
        const probe = values[at]! + PROBE > 32_767 ? -PROBE : PROBE
        return (score(values.with(at, values[at]! + probe)).value - here) / probe
      })
      const from = values
      for (const step of STEPS) {
        const next = from.slice()
        gradient.forEach((slope, j) => {
          next[first + j] = clip(from[first + j]! + step * Math.sign(slope))
        })
        const { trace, value } = score(next)
        if (decisionOf(model, traceOutputs(manifest, trace)) !== label) return trace
        if (value > best) [best, values] = [value, next]
      }
      if (best === here) break
    }
  }
  return null
}

/** Least-norm δ with J δ ≈ r, for J of a few rows: Jᵀ (J Jᵀ + λ)⁻¹ r by elimination. */
function leastNorm(jacobian: number[][], r: number[]): number[] {
  const gram = jacobian.map((a, i) =>
    jacobian.map((b, j) => a.reduce((sum, x, k) => sum + x * b[k]!, i === j ? 1e-9 : 0)),
  )
  const rows = gram.map((row, i) => [...row, r[i]!])
  for (let i = 0; i < rows.length; i++) {
    const pivot = rows
      .slice(i)
      .reduce((best, row, k) => (Math.abs(row[i]!) > Math.abs(rows[best]![i]!) ? i + k : best), i)
    ;[rows[i], rows[pivot]] = [rows[pivot]!, rows[i]!]
    for (let j = 0; j < rows.length; j++) {
      const by = j === i ? 0 : rows[j]![i]! / rows[i]![i]!
      if (by !== 0) rows[j] = rows[j]!.map((x, k) => x - by * rows[i]![k]!)
    }
  }
  const solved = rows.map((row, i) => row.at(-1)! / row[i]!)
  return jacobian[0]!.map((_, k) => jacobian.reduce((sum, row, i) => sum + row[k]! * solved[i]!, 0))
}

/**
 * Writes one leaf of an op's output so that the canonical output lands within τ of `target`, whatever that is and whoever computed it:
 * Gauss–Newton on the canonical graph. The provider then serves the target, and nothing else in its trace is wrong. Null where it does not come near.
 */
export function land(
  model: LoadedModel,
  inputs: Int16Array[],
  op: number,
  leaf: number,
  target: Int16Array,
  honest = evaluate(model.manifest, model.weights, inputs),
): Trace | null {
  const { manifest } = model
  const { quanta } = manifest.outputs[0]!.tolerance
  const write = rewriter(model, inputs, op, honest)
  let values = Int16Array.from(honest.tensors[manifest.ops[op]!.output]!.value)
  const [first, end] = [leaf * LEAF_LIMBS, Math.min((leaf + 1) * LEAF_LIMBS, values.length)]
  const outputs = (of: Int16Array): [Trace, Int16Array] => {
    const trace = write(of)
    return [trace, traceOutputs(manifest, trace)[0]!]
  }
  for (let round = 0, before = Infinity; round < 8; round++) {
    const [trace, now] = outputs(values)
    const missing = Array.from(target, (value, i) => value - now[i]!)
    const off = missing.reduce((most, each) => Math.max(most, Math.abs(each)), 0)
    if (off <= quanta) return trace
    if (off > 0.8 * before) return null
    before = off
    const columns = Array.from({ length: end - first }, (_, j) => {
      const at = values[first + j]!
      const probe = at + PROBE > 32_767 ? -PROBE : PROBE
      const [, moved] = outputs(values.with(first + j, at + probe))
      return Array.from(moved, (value, i) => (value - now[i]!) / probe)
    })
    const step = leastNorm(
      missing.map((_, i) => columns.map((column) => column[i]!)),
      missing,
    )
    values = values.map((value, i) =>
      i < first || i >= end ? value : Math.max(-32_768, Math.min(32_767, Math.round(value + step[i - first]!))),
    )
  }
  return null
}

/** `most` of the numbers below `count`, evenly spread. */
const spread = (count: number, most: number): number[] =>
  count <= most
    ? [...new Array(count).keys()]
    : Array.from({ length: most }, (_, i) => Math.floor(((i + 0.5) * count) / most))

/** 16-bit ops whose output is not itself an output; where the draws leave any out, those alone. */
export function targets(manifest: Manifest): number[] {
  const always = alwaysChecked(manifest)
  const inner = manifest.ops.flatMap(({ output }, op) => {
    const isOutput = manifest.outputs.some(({ tensor }) => (tensorOf(manifest, tensor).viewOf ?? tensor) === output)
    return isOutput || tensorOf(manifest, output).bits === 32 ? [] : [op]
  })
  const open = inner.filter((op) => !always[op])
  return open.length > 0 ? open : inner
}

export type Steered = {
  model: string
  op: string
  /** Tiles of the op. */
  tiles: number
  inputs: number
  flipped: number
  /** On how many inputs the output of the model with four-bit weights was met within τ. */
  landed: number
  /** Of the draws over traces that succeeded. */
  caught: number
  draws: number
  predicted: number
}

type Plan = { s: number; inputs: number; ops: number; leaves: number; draws: number }

/** For each op: on how many inputs some leaf of it gives another answer, and how often draws find that. */
export async function steerModel(
  name: ReferenceName,
  { s, inputs, ops, leaves, draws }: Plan,
  onResult?: (result: Steered) => void,
): Promise<Steered[]> {
  const { model, samples } = await openReference(name)
  const { manifest, weights } = model
  const candidates = targets(manifest)
  const few = fourBits(manifest, weights)
  return spread(candidates.length, ops).map((i) => {
    const op = candidates[i]!
    const target = manifest.ops[op]!
    const count = leavesFor(elementCount(tensorOf(manifest, target.output).shape))
    const result: Steered = {
      model: name,
      op: `${target.kind} ${target.name}`,
      tiles: opTiles(manifest, target),
      inputs,
      flipped: 0,
      landed: 0,
      caught: 0,
      draws: 0,
      predicted: 0,
    }
    for (let n = 0; n < inputs; n++) {
      const input = samples[n % samples.length]!
      const honest = evaluate(manifest, weights, input)
      const [cheap] = traceOutputs(manifest, evaluate(manifest, few, input)) as [Int16Array]
      let trace: Trace | null = null
      let landing: Trace | null = null
      for (const leaf of spread(count, leaves)) {
        trace ??= steer(model, input, op, leaf, 2, honest)
      }
      for (const leaf of spread(count, Math.min(2, leaves))) landing ??= land(model, input, op, leaf, cheap, honest)
      if (landing !== null) result.landed++
      if (trace === null) continue
      result.flipped++
      const found = measure(model, served(manifest, trace), s, draws, false, `steered ${n} `)
      result.caught += found.caught
      result.predicted += found.predicted * draws
      result.draws += draws
    }
    result.predicted /= Math.max(1, result.draws)
    onResult?.(result)
    return result
  })
}

export function describeSteered({
  model,
  op,
  tiles,
  inputs,
  flipped,
  landed,
  caught,
  draws,
  predicted,
}: Steered): string {
  const [low, high] = wilson(caught, Math.max(1, draws))
  const odds = draws === 0 ? '' : `, caught ${(caught / draws).toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`
  return `${model}, ${op} (${tiles} tiles): ${flipped} of ${inputs} answers changed, ${landed} landed on four-bit outputs${odds}, predicted ${predicted.toFixed(4)}`
}

async function main(): Promise<void> {
  for (const name of ['breast', 'digits', 'residual', 'transformer'] as const) {
    const say = (result: Steered): void => console.log(describeSteered(result))
    const results = await steerModel(name, { s: 8, inputs: 30, ops: 6, leaves: 4, draws: 200 }, say)
    const sum = (of: 'flipped' | 'landed' | 'inputs' | 'caught' | 'draws'): number =>
      results.reduce((all, each) => all + each[of], 0)
    const predicted = results.reduce((all, each) => all + each.predicted * each.draws, 0) / Math.max(1, sum('draws'))
    const measured = sum('caught') / Math.max(1, sum('draws'))
    console.log(
      JSON.stringify({
        model: name,
        success: sum('flipped') / sum('inputs'),
        measured,
        predicted,
        draws: sum('draws'),
      }),
    )
  }
}

if (import.meta.main) await main()
