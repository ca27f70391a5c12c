import { loadDigits } from '../../models/digits.ts'
import { detection } from '../../models/draw.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { formatAmount } from '../commands/options.ts'
import type { ActorEvent } from './actor.ts'
import type { LocalNode } from './localnet.ts'
import type { Ledger } from './money.ts'

const STEPS: [event: string, what: string][] = [
  ['bid.sent', 'bid'],
  ['session.opened', 'assignment and session'],
  ['summary', 'jobs answered and acknowledged'],
  ['batch.anchored', 'batch anchored'],
  ['trace.anchored', 'trace anchored'],
  ['attest.proven', 'drawn jobs proven'],
  ['attestation.committed', 'attestation committed on chain'],
  ['attestation.verified', 'verified'],
  ['vote.commitment', 'vote committed'],
  ['vote.reveal', 'vote revealed'],
  ['batch.settled', 'settled'],
  ['batch.collected', 'collected'],
]

/** Per stage who did it and how long after the stage before. */
export function timeline(events: ActorEvent[]): string[] {
  const lines = ['stage                            who                       after']
  let before: number | null = null
  for (const [name, what] of STEPS) {
    const those = events.filter(({ event }) => event === name)
    const last = those.at(-1)
    if (last === undefined) continue
    const who = [...new Set(those.map(({ actor }) => actor))].join(', ')
    const after = before === null ? '' : `${Math.max(0, (last.at - before) / 1000).toFixed(1)} s`
    lines.push(`${what.padEnd(32)} ${who.padEnd(25)} ${after}`)
    before = last.at
  }
  return lines
}

/** Percent, cut off rather than rounded: odds are never stated too high. */
const percent = (p: number): string => `${(Math.floor(p * 10_000) / 100).toFixed(2)}%`

const first = (events: ActorEvent[], name: string): Record<string, unknown> =>
  events.find(({ event }) => event === name)?.facts ?? {}

/** What exactly was checked, and with what odds. */
export function describeWork(events: ActorEvent[], network: NetworkFile, jobs: number): string[] {
  const { manifest } = loadDigits()
  const draws = Number(network.params.draws)
  const odds = detection(manifest, network.tileDraws)
  const proven = first(events, 'attest.proven')
  const verified = events.filter(({ event }) => event === 'attestation.verified')
  const last = verified.at(-1)?.facts ?? {}
  const distinct = Number(proven.jobs)
  const perBatch = (d: number): string => percent(1 - (1 - d) ** distinct)
  return [
    'what was checked',
    `  ${draws} points were drawn over the ${jobs} receipts of the batch, in proportion to price: ${proven.jobs} distinct jobs.`,
    '  For each: receipt, voucher and place in the batch; input and output roots equal to those of the canonical trace;',
    `  the served output within ${manifest.outputs[0]!.tolerance.quanta} quanta of the canonical one; every tile of the ops with few tiles, the last linear one among them;`,
    `  and ${network.tileDraws} more tiles, half drawn over all ${manifest.tiles} tiles, half over the ${manifest.layers} ops.`,
    `  ${proven.proofs} Groth16 proofs (${proven.bytes} bytes in all, ${Number(proven.seconds).toFixed(1)} s to prove), ${last.leaves} opened leaves;`,
    `  verified by ${verified.length} committee members in ${verified.map(({ facts }) => `${Number(facts.seconds).toFixed(1)} s`).join(', ')}; no input or output was revealed.`,
    '  The rest was not looked at. The odds of catching, in one drawn job,',
    `  a whole broken op: d1 = ${percent(odds.d1)}; one edited leaf: d2 = ${percent(odds.d2)};`,
    `  and in these ${distinct}, for a provider that cheats on every job: ${perBatch(odds.d1)} and ${perBatch(odds.d2)}.`,
  ]
}

const signed = (amount: bigint): string => (amount > 0n ? `+${formatAmount(amount)}` : formatAmount(amount))

/** Who is who. Visitors are the accounts of pages. */
export type Roles = {
  nodes: LocalNode[]
  seller: Address
  consumer: Address
  faucet: Address
  visitors: ReadonlySet<Address>
}

/** Balances before and after of everybody, and that they add up. */
export function describeMoney(
  before: Ledger,
  after: Ledger,
  { nodes, seller, consumer, faucet, visitors }: Roles,
  events: ActorEvent[],
): string[] {
  const voters = new Set(events.filter(({ event }) => event === 'vote.reveal').map(({ actor }) => actor))
  // Who came later had nothing before.
  const total = (ledger: Ledger, ...accounts: Address[]): bigint =>
    accounts.reduce((all, account) => all + (ledger.holdings.get(account)?.total ?? 0n), 0n)
  const row = (who: string, ...accounts: Address[]): string =>
    line(who, total(before, ...accounts), total(after, ...accounts))
  const line = (who: string, was: bigint, is: bigint): string => {
    return `  ${who.padEnd(20)} ${formatAmount(was).padStart(12)} ${formatAmount(is).padStart(28)}   ${signed(is - was)}`
  }
  const role = ({ address, account }: LocalNode): string =>
    `${account.name}${address === seller ? ' (provider)' : voters.has(account.name) ? ' (verifier)' : ''}`
  const sum = (ledger: Ledger): bigint =>
    [...ledger.holdings.values()].reduce((all, each) => all + each.total, ledger.pots)
  const burned = before.supply - after.supply
  const change = sum(after) - sum(before)
  const exact = change === -burned
  return [
    'who paid whom (SNTR; wallet, escrow, stake and session together)',
    `  ${''.padEnd(20)} ${'before'.padStart(12)} ${'after'.padStart(28)}   change`,
    row('client (consumer)', consumer),
    ...nodes.map((node) => row(role(node), node.address)),
    ...(visitors.size === 0
      ? []
      : [row('pages', ...visitors), row('faucet', faucet), line('batches under way', before.pots, after.pots)]),
    `  ${'burned'.padEnd(20)} ${''.padStart(12)} ${''.padStart(28)}   ${formatAmount(burned)}`,
    exact
      ? `  Everybody’s changes and what was burned add up to zero, to the last of 10^18 units.`
      : `  These do not add up: ${formatAmount(change + burned)} SNTR are unaccounted for.`,
    '  Verifiers share a part of the fees and the floor that the provider prepaid.',
    '  What is minted for work and capacity is credited, and waits until it is worth its claim.',
  ]
}
