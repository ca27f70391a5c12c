/**
 * `npm run sim:economy [folder]`: years of epochs on the contracts' formulas. Writes one SVG for each scenario and conclusions.md to
 * the folder (default .tmp/economy) and prints the conclusions. About two minutes.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run, type Series } from './market.ts'
import { type Panel, plot } from './plot.ts'
import { PARAMETERS } from './population.ts'
import { CHEATS, profits, type Scenario, scenarios, steering } from './scenarios.ts'

const TURN = 365
const WORLD = { days: 3 * 365, providers: 2_000, consumers: 2_000, seed: 1 }
const CHEATERS = { days: 3 * 365, providers: 300, consumers: 300, seed: 1 }

const folder = process.argv[2] ?? join(import.meta.dirname, '../../.tmp/economy')
mkdirSync(folder, { recursive: true })

const million = (value: number): string => `${(value / 1e6).toFixed(2)} million`
const percent = (value: number, digits = 1): string => `${(100 * value).toFixed(digits)}%`
const last = (values: number[]): number => values.at(-1)!
const micro = (value: number): string => `${(value * 1e6).toFixed(0)} µSNTR`

function panels(s: Series): Panel[] {
  return [
    { title: 'Supply', unit: 'SNTR', lines: [{ label: 'supply', values: s.supply }] },
    {
      title: 'Since the start',
      unit: 'SNTR',
      lines: [
        { label: 'burned', values: s.burned },
        { label: 'minted for work', values: s.work },
        { label: 'for capacity', values: s.available },
      ],
    },
    {
      title: 'A unit on a GPU',
      unit: 'SNTR',
      lines: [
        { label: 'index', values: s.index },
        { label: 'market', values: s.market },
      ],
    },
    { title: 'Utilisation', unit: 'share of measured capacity', lines: [{ label: 'used', values: s.used }] },
    { title: 'Burn rate', unit: 'share of fees', lines: [{ label: 'beta', values: s.beta }] },
    { title: 'Middle provider', unit: 'USD a day', lines: [{ label: 'income', values: s.income }] },
    { title: 'Providers online', unit: 'of those at the start', lines: [{ label: 'online', values: s.online }] },
  ]
}

/** Days after the turn on which the middle provider loses more than a dollar. */
function badDays(income: number[]): number {
  return income.slice(TURN).filter((usd) => usd < -1).length
}

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

function conclude({ name, what }: Scenario, s: Series, profit: Record<string, number>, honest: number): string {
  const after = (values: number[]): number[] => values.slice(TURN)
  const years = WORLD.days / 365
  const net = (last(s.supply) / s.supply[0]!) ** (1 / years) - 1
  const cheats = Object.entries(profit).map(
    ([cheat, tokens]) => `| ${cheat} | ${tokens.toFixed(0)} | ${percent(tokens / Math.abs(honest), 2)} |`,
  )
  const best = Math.max(...Object.values(profit))
  return [
    `## ${name}: ${what}`,
    '',
    `Supply ends at ${million(last(s.supply))} (${percent(net)} a year): ${million(last(s.burned))} burned, ${million(last(s.work))} minted for`,
    `work, ${million(last(s.available))} for capacity. β stands at ${percent(s.beta[TURN]!)} before the turn, then between`,
    `${percent(Math.min(...after(s.beta)))} and ${percent(Math.max(...after(s.beta)))}, at the end at ${percent(last(s.beta))}. The index of a GPU goes from ${micro(s.index[TURN]!)} to ${micro(last(s.index))}`,
    `(between ${micro(Math.min(...after(s.index)))} and ${micro(Math.max(...after(s.index)))}; the market pays ${micro(last(s.market))}). The middle provider earns ${mean(s.income.slice(TURN - 90, TURN)).toFixed(2)} USD a day in the quarter before, at`,
    `worst ${Math.min(...after(s.income)).toFixed(2)}, ${mean(s.income.slice(-90)).toFixed(2)} in the last quarter; it loses more than a dollar on ${badDays(s.income)} days. Online: at least ${percent(Math.min(...after(s.online)))}, at the end ${percent(last(s.online))}.`,
    best <= 0 ? 'Every cheat loses.' : `A cheat gains ${best.toFixed(0)} SNTR.`,
    '',
    '| cheat of a tenth of the nodes | SNTR | of what honest work brings |',
    '|---|---|---|',
    ...cheats,
    '',
  ].join('\n')
}

const started = Date.now()
const text = ['# The economy in the simulation', '']
for (const scenario of scenarios(TURN)) {
  const { series } = run({ ...WORLD, weather: scenario.weather })
  writeFileSync(join(folder, `${scenario.name}.svg`), plot(`${scenario.name}: ${scenario.what}`, panels(series), TURN))
  const { profit, honest } = profits(CHEATS, scenario.weather, CHEATERS)
  text.push(conclude(scenario, series, profit, honest))
  console.log(text.at(-1))
}
const [steady] = scenarios(TURN)
const { profit, honest } = profits(CHEATS.slice(0, 4), steady!.weather, CHEATERS, 'index')
text.push(
  '## If availability paid by the moving index and by the median of utilisation',
  '',
  ...Object.entries(profit).map(
    ([name, tokens]) =>
      `- ${name}: ${tokens.toFixed(0)} SNTR, ${percent(tokens / honest, 2)} of what honest work brings`,
  ),
  '',
)
console.log(text.slice(-6).join('\n'))
for (const returns of [PARAMETERS.betaReturnEpochs, 10n ** 9n]) {
  const rows = steering({ days: 700, providers: 90, consumers: 90, seed: 3 }, 400, returns)
  const lines = rows.map(({ share, most }) => `- ${percent(share, 0)} of the nodes: ${most.gain} (${most.pattern})`)
  text.push(`## Most gained by steering, β returning within ${returns} epochs`, '', ...lines, '')
  console.log(text.slice(-5).join('\n'))
}
writeFileSync(join(folder, 'conclusions.md'), text.join('\n'))
console.log(`${folder}: ${((Date.now() - started) / 1000).toFixed(0)} s`)
