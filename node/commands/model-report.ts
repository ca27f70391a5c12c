import type { CalibrationReport } from '../../models/calibrate.ts'
import type { Description } from '../../models/describe.ts'
import type { Manifest } from '../../models/manifest.ts'
import { elementCount, opTiles } from '../../models/tiling.ts'
import { type Estimate, PROOF_CORE_S, VERIFY_CORE_S } from '../model/estimate.ts'
import type { ServedReport } from './served.ts'

/** What `model check` and `model publish` print. */

/** Cut off rather than rounded: neither odds nor coverage is ever stated too high. */
export const percent = (p: number): string => `${(Math.floor(p * 10_000) / 100).toFixed(2)}%`

/** Rounded up, as a price is. */
const upTo = (x: number, digits: number): string => (Math.ceil(x * 10 ** digits) / 10 ** digits).toFixed(digits)

const grouped = (n: number): string => Math.round(n).toLocaleString('en-US')

const short = (x: number): string => (x === 0 ? '0' : Number(x.toPrecision(4)).toString())

/** Operators, parameters, work and coverage of an ONNX graph, and why any node is not covered. */
export function graphLines(
  file: string,
  { opset, nodes }: { opset: number; nodes: number },
  { operators, parameters, multiplyAdds, coverage, uncovered }: Description,
): string[] {
  const counted = Object.entries(operators).map(([operator, count]) => (count > 1 ? `${operator} ×${count}` : operator))
  const list = uncovered.map(({ node, operator, reason }) => `  ${node} (${operator}): ${reason}`)
  return [
    `${file}: opset ${opset}, ${nodes} nodes, ${grouped(parameters)} parameters`,
    `operators: ${counted.join(', ')}`,
    `coverage: ${percent(coverage)} of the work${uncovered.length === 0 ? '' : ' at most'}, ${grouped(multiplyAdds)} multiply-adds covered`,
    ...(list.length === 0 ? [] : [`${list.length} of ${nodes} nodes are not covered:`, ...list]),
  ]
}

/** What a manifest fixes: ops, exponents, tolerances. */
export function manifestLines(manifest: Manifest): string[] {
  const { tensors } = manifest
  const inputs = manifest.inputs.map(({ name, shape, tensor, lookup }) => {
    const { exponent } = tensors[tensor]!
    const what =
      lookup === null ? `[${shape}]` : `rows of ${lookup.name} [${shape.slice(0, -1)}], ${lookup.rows} of them`
    return `input ${name}: ${what}, exponent ${exponent}`
  })
  const ops = manifest.ops.map((op) => {
    const { exponent, shape } = tensors[op.output]!
    return `  ${op.name}: ${op.kind} [${shape}], tiles ${opTiles(manifest, op)}, exponent ${exponent}`
  })
  const outputs = manifest.outputs.map(({ name, tensor, shape, tolerance, argmax }) => {
    const { exponent } = tensors[tensor]!
    const { quanta, deviationMilli, samples, margin } = tolerance
    const index = argmax === null ? '' : `, of which the consumer takes the index ${argmax.name}`
    return (
      `output ${name}: [${shape}]${index}, exponent ${exponent}, tolerance ${quanta} quanta = ${short(quanta * 2 ** -exponent)} ` +
      `(largest deviation ${deviationMilli / 1000} over ${samples} samples, margin ${margin})`
    )
  })
  return [
    `manifest of ${manifest.name}: ${grouped(manifest.units)} multiply-adds a job, coverage ${manifest.coverage / 10_000}%, ` +
      `${grouped(manifest.weights.bytes)} bytes of weights`,
    ...inputs,
    `T ${manifest.tiles} tiles in L ${manifest.layers} ops:`,
    ...ops,
    ...outputs,
  ]
}

/** What a drawn job costs, and what its check is worth. */
export function costLines(
  { mean, worst, full, d1, d2, lock }: Estimate,
  { tileDraws, draws }: { tileDraws: number; draws: number },
): string[] {
  const locked = Number.isFinite(lock) ? `${upTo(lock, 3)} per unit of fees` : 'without bound: no tile is drawn'
  return [
    `with ${tileDraws} tiles drawn per drawn job, a broken op is caught in ${percent(d1)} of drawn jobs (d1), one edited leaf in ${percent(d2)} (d2)`,
    `lock: at least ${locked}, with ${draws} jobs drawn per batch`,
    `attestation of a drawn job: ${upTo(mean.statements, 1)} statements, ${upTo(mean.proofs, 1)} proofs on the average, at most ${worst.proofs} proofs (should every tile saturate), ` +
      `${worst.leaves} opened leaves and ${grouped(worst.bytes)} bytes`,
    `  about ${upTo(mean.proofs * PROOF_CORE_S, 1)} s of one core to prove and ${upTo(mean.proofs * VERIFY_CORE_S, 2)} s to verify`,
    `  of every tile (policy full): ${full.statements} statements, ${full.proofs} proofs, about ${upTo(full.proofs * PROOF_CORE_S, 0)} s to prove`,
  ]
}

/** Shares of a tensor's 16 bits below this are worth a look, and so is what the samples already fill. */
const LITTLE = 1 / 64

/** Ranges in the samples, and canonical against float. */
export function calibrationLines(manifest: Manifest, { tensors, outputs }: CalibrationReport): string[] {
  const shown = new Set(
    manifest.tensors.flatMap(({ viewOf, bits }, id) => (viewOf === null && bits === 16 ? [id] : [])),
  )
  const ranges = tensors.flatMap(({ name, exponent, low, high }, id) => {
    if (!shown.has(id)) return []
    const used = Math.max(Math.abs(low), Math.abs(high)) * 2 ** (exponent - 15)
    const note = used > 1 ? ', saturates on the samples' : used < LITTLE ? ', uses little of its 16 bits' : ''
    return [`  ${name}: ${short(low)} to ${short(high)}, exponent ${exponent}${note}`]
  })
  return [
    'ranges in the samples:',
    ...ranges,
    'canonical against float on the samples:',
    ...outputs.map(({ name, deviation, quanta, quantum, relative, decisions }, i) => {
      const { samples } = manifest.outputs[i]!.tolerance
      const classes = elementCount(manifest.outputs[i]!.shape) > 1
      return (
        `  ${name}: at most ${short(deviation)} quanta (${short(deviation * quantum)}) off, ${short(100 * relative)}% in relative L2, ` +
        `${classes ? `${decisions} of ${samples} samples have another largest element, ` : ''}tolerance ${quanta} quanta (${short(quanta * quantum)})`
      )
    }),
  ]
}

/** What ONNX Runtime serves, against the canonical outputs. */
export function servedLines(served: ServedReport | null): string[] {
  if (served === null) return ['ONNX Runtime is not installed here: not tried with it']
  const { samples, outputs } = served
  return [
    `served by ONNX Runtime, ${samples} ${samples === 1 ? 'sample' : 'samples'}:`,
    ...outputs.map(({ name, worst, quanta }) => {
      const off = worst > quanta ? ': providers serve it canonically only' : ''
      return `  ${name}: at most ${worst} quanta from canonical, tolerance ${quanta}${off}`
    }),
  ]
}
