import { CIRCUIT_KINDS } from '../../circuits/signals.ts'
import type { CircuitCosts } from './circuits.ts'
import type { LargeCost } from './large.ts'
import { BATCHES, type ModelCost } from './models.ts'

export const round = (value: number, digits: number): number | null =>
  Number.isFinite(value) ? Number(value.toFixed(digits)) : null

/** Rows as columns of one width each, the first line their names. */
export function columns(rows: string[][]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  return rows
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '))
    .join('\n')
}

export function circuitTable({ circuits, commitLimbsPerS, smallestMs }: CircuitCosts): string {
  const rows = CIRCUIT_KINDS.map((kind) => {
    const { constraints, limbs, proveMs, proveCpuMs, verifyMs, verifyTogetherMs, peakMb, zkeyMb } = circuits[kind]
    return [
      kind,
      String(constraints),
      String(limbs),
      (constraints / limbs).toFixed(1),
      proveMs.toFixed(0),
      proveCpuMs.toFixed(0),
      (proveMs / limbs).toFixed(2),
      verifyMs.toFixed(1),
      (verifyMs / smallestMs).toFixed(2),
      verifyTogetherMs.toFixed(1),
      (verifyTogetherMs / smallestMs).toFixed(2),
      peakMb === null ? '–' : peakMb.toFixed(0),
      zkeyMb.toFixed(1),
    ]
  })
  const head = [
    'circuit',
    'constraints',
    'limbs',
    'per limb',
    'prove ms',
    'of cpu',
    'per limb',
    'verify ms',
    '× smallest',
  ]
  return [
    columns([[...head, 'each of 8', '× smallest', 'peak MiB', 'key MiB'], ...rows]),
    `smallest: snarkjs on a key with one public input, ${smallestMs.toFixed(1)} ms in the same run. A product stages field elements, counted as limbs.`,
    `commitments: ${commitLimbsPerS.toFixed(0)} limbs a second on one core`,
  ].join('\n')
}

const ratio = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(0))

export function modelTable(models: ModelCost[]): string {
  const head = ['model', 'agree', 'units', 'T', 'L', 'd1', 'd2', 'statements', 'proofs', 'trace s', 'prove s']
  const costs = models.map((each) => [
    each.name,
    `${each.agree}/${each.samples}`,
    String(each.units),
    String(each.tiles),
    String(each.layers),
    each.odds.d1.toFixed(3),
    each.odds.d2.toFixed(3),
    each.statements.toFixed(1),
    each.proofs.toFixed(1),
    (each.trace.ms / 1000).toFixed(3),
    (each.prove.ms / 1000).toFixed(1),
    each.verify.ms.toFixed(0),
    each.bytes.toFixed(0),
  ])
  const ratios = models.map((each) => [
    each.name,
    each.serveCpuMs.toFixed(3),
    each.commitCpuMs.toFixed(2),
    ...BATCHES.flatMap((jobs) => [ratio(each.ratios[jobs].provider), ratio(each.ratios[jobs].network)]),
  ])
  return [
    columns([[...head, 'verify ms', 'bytes'], ...costs]),
    '',
    'processor time of attesting over that of serving, by jobs in the batch: the provider alone, and with the committee.',
    'Roots of a job and serving it are measured on some jobs and grow with them; drawn jobs are as many whatever the batch.',
    columns([['model', 'serve ms', 'roots ms', ...BATCHES.flatMap((jobs) => [`${jobs}`, 'all'])], ...ratios]),
  ].join('\n')
}

const mib = (value: number | null): string => (value === null ? '–' : value.toFixed(0))
const seconds = (ms: number): string => (ms / 1000).toFixed(1)

export function largeTable(models: LargeCost[]): string {
  const sizes = models.map((each) => [
    each.name,
    (each.published.parameters / 1e6).toFixed(1),
    (each.units / 1e9).toFixed(2),
    (each.elements / 1e6).toFixed(1),
    String(each.tiles),
    String(each.layers),
    each.odds.d1.toFixed(4),
    seconds(each.published.calibrateMs),
    mib(each.published.peakMb),
    seconds(each.serveCpuMs),
  ])
  const costs = models.map((each) => [
    each.name,
    seconds(each.evaluateMs),
    seconds(each.trace.ms),
    mib(each.peaks.tracer),
    each.statements.toFixed(0),
    each.proofs.toFixed(0),
    seconds(each.prove.ms),
    mib(each.peaks.prover),
    each.verify.ms.toFixed(0),
    each.bytes.toFixed(0),
  ])
  const head = ['large architecture', 'parameters M', 'units G', 'elements M', 'T', 'L', 'd1', 'publish s', 'peak MiB']
  const costHead = ['per drawn job', 'evaluate s', 'trace s', 'peak MiB', 'statements', 'proofs', 'prove s', 'peak MiB']
  return [
    columns([[...head, 'serve s'], ...sizes]),
    '',
    columns([[...costHead, 'verify ms', 'bytes'], ...costs]),
    'Evaluating grows with the model, as serving does, and is done once to trace and once more to open the drawn leaves; statements,',
    'proofs, verification and bytes grow with the tiles that are drawn.',
  ].join('\n')
}
