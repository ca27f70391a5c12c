/**
 * `npm run test:statistics`: how often draws find each kind of wrong trace against what DESIGN §5.4 predicts, and that no honest
 * statement is refused, on the reference models. Takes about half an hour of one core; the tests run a small part of it.
 */
import { detection } from '../../models/draw.ts'
import { ATTACKS, type Measured, measure, served } from './detection.ts'
import { type HonestTally, judgeHonest } from './honest.ts'
import { openReference, type ReferenceName } from './reference.ts'

export type Row = Measured & { model: string; attack: string; s: number; d1: number; d2: number }

/** Every attack that a model can be the victim of, at `s` tile draws. Models whose ops are all checked whole have odds of 1. */
export async function measureModel(
  name: ReferenceName,
  s: number,
  runs: number,
  thorough: boolean,
  series = '',
): Promise<Row[]> {
  const { model, samples } = await openReference(name)
  const { manifest } = model
  const { d1, d2 } = detection(manifest, s)
  return Object.entries(ATTACKS).flatMap(([attack, forge], i): Row[] => {
    const trace = forge(model, samples[i]!)
    if (trace === null) return []
    return [{ model: name, attack, s, d1, d2, ...measure(model, served(manifest, trace), s, runs, thorough, series) }]
  })
}

export const inside = ({ predicted: p, interval: [low, high] }: Pick<Row, 'predicted' | 'interval'>): boolean =>
  p >= low - 1e-12 && p <= high + 1e-12

export const describeRow = ({ model, attack, s, runs, share, predicted: p, interval }: Row): string =>
  `${model}, s ${s}, ${attack}: ${runs} draws, caught ${share.toFixed(4)} ` +
  `[${interval.map((end) => end.toFixed(4)).join(', ')}], predicted ${p.toFixed(4)}`

export const describeTally = ({ model, jobs, statements, witnesses, rejected, proved }: HonestTally): string =>
  `${model}: ${jobs} honest jobs, ${statements} statements, ${witnesses} witnesses, ${proved} proved, ${rejected} rejected`

/** Of 10,000 honest statements, by model, and 17 proofs each. */
const HONEST: Record<ReferenceName, number> = {
  digits: 2_600,
  breast: 1_200,
  regressor: 600,
  residual: 2_600,
  quantised: 2_200,
  transformer: 900,
}

/** One interval of 99% in a hundred misses the truth: a row that is outside is measured again, with ten times as many other draws. */
async function measureAll(): Promise<boolean> {
  let good = true
  for (const name of ['digits', 'residual', 'quantised', 'transformer', 'breast'] as const)
    for (const s of [4, 8])
      for (const row of await measureModel(name, s, 2_000, true)) {
        console.log(`${inside(row) ? '' : 'OUTSIDE '}${describeRow(row)}`)
        if (inside(row)) continue
        const again = (await measureModel(name, s, 20_000, false, 'again ')).find(
          ({ attack }) => attack === row.attack,
        )!
        console.log(`${inside(again) ? 'again: ' : 'OUTSIDE AGAIN '}${describeRow(again)}`)
        good &&= inside(again)
      }
  return good
}

async function main(): Promise<boolean> {
  const good = await measureAll()
  const wanted = Object.entries(HONEST).map(([model, statements]) => ({
    model: model as ReferenceName,
    statements,
    proofs: 17,
  }))
  const tallies = await judgeHonest(wanted, undefined, (tally) => console.log(describeTally(tally)))
  const sum = (of: (tally: HonestTally) => number): number => tallies.reduce((total, tally) => total + of(tally), 0)
  const [statements, rejected, proved] = [sum((t) => t.statements), sum((t) => t.rejected), sum((t) => t.proved)]
  console.log(JSON.stringify({ statements, witnesses: sum((t) => t.witnesses), proved, rejected }))
  return good && statements >= 10_000 && proved >= 100 && rejected === 0
}

if (import.meta.main) process.exitCode = (await main()) ? 0 : 1
