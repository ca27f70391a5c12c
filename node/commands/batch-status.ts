import { fromHex, type Hex } from '../../protocol/bytes.ts'
import type { Address } from '../../protocol/signature.ts'
import { VERDICT_CODES } from '../../protocol/vote.ts'
import type { Chain } from '../chain/chain.ts'
import type { Batch } from '../chain/views.ts'
import { formatAmount } from './options.ts'

/** What the chain says of a batch that is not over, or not wholly collected. Amounts in base units, times in seconds. */
export type BatchFacts = {
  id: Hex
  batch: Batch
  now: bigint
  /** End of the present window; 0n while the slot that opens it is not recorded, and in final states. */
  deadline: bigint
  lock: bigint
  draws: number
  appeals: { appellant: Address; bond: bigint }[]
  /** What the next appeal would lay down. */
  nextBond: bigint
  /** Last second in which a verdict that is pending can be appealed. */
  appealUntil: bigint
  /** Voters of the last verdict, and until when their seats answer for it. */
  bench: { voters: Address[]; until: bigint } | null
  ranges: { all: number; uncollected: number }
}

const utc = (seconds: bigint): string => new Date(Number(seconds) * 1000).toISOString()
const tokens = (amount: bigint): string => `${formatAmount(amount)} SNTR`
const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

function due(what: string, { deadline, now }: BatchFacts): string {
  if (deadline === 0n) return `${what} once the beacon’s slot is recorded`
  return `${what} by ${utc(deadline)}${deadline < now ? ', which is over' : ''}`
}

function condemned(facts: BatchFacts): string[] {
  const { batch, lock, now, draws, appealUntil, nextBond, bench } = facts
  const slash = `the lock of ${tokens(lock)} is slashed at ${utc(batch.slashAt)}`
  if (BigInt(batch.attestation) === 0n)
    return [`no attestation came in time: ${slash}, and nothing can be said against it`]
  if (BigInt(batch.verdicts) === 0n) return [`the referee has found a fault: ${slash}, and there is no appeal`]
  const forged = fromHex(batch.verdicts)
    .subarray(0, draws)
    .filter((verdict) => verdict === VERDICT_CODES.forged).length
  const by =
    bench === null
      ? 'a committee'
      : `${plural(bench.voters.length, 'voter')}, whose seats answer for it until ${utc(bench.until)}`
  const lines = [`condemned: ${forged} of ${plural(draws, 'draw')} found forged by ${by}; ${slash}`]
  if (batch.silent)
    lines.push('a voter says that there was no attestation: whoever posts it on chain voids the verdict, for no bond')
  if (now <= appealUntil) lines.push(`an appeal, for a bond of ${tokens(nextBond)}, is taken until ${utc(appealUntil)}`)
  else lines.push(`the time for appeals was over at ${utc(appealUntil)}`)
  return lines
}

function stateOf(facts: BatchFacts): string[] {
  const { batch, ranges } = facts
  switch (batch.status) {
    case 'none':
      return ['not on the chain']
    case 'anchored':
      return [due('anchored; its trace is to be anchored', facts)]
    case 'traced':
      return [due('traced; its attestation is to be committed', facts)]
    case 'committed': {
      const committee =
        batch.attempt === 0 ? 'its committee votes' : `committee ${batch.attempt + 1}, a larger one, votes`
      return [due(committee, facts)]
    }
    case 'slashPending':
      return condemned(facts)
    case 'paid':
    case 'untraced':
    case 'slashed':
    case 'abandoned':
      return [`${batch.status}; ${ranges.uncollected} of ${plural(ranges.all, 'range')} not collected yet`]
  }
}

/** One batch in words: a line, and one more for each thing that is pending. */
export function describeBatch(facts: BatchFacts): string[] {
  const { id, batch, lock, appeals } = facts
  const [first, ...more] = stateOf(facts)
  const locked = lock > 0n ? `, ${tokens(lock)} locked` : ''
  const bonds = appeals.map(({ appellant, bond }) => `${tokens(bond)} of ${appellant}`).join(', ')
  return [
    `${id}: ${tokens(batch.total)} of fees${locked}; ${first}`,
    ...more,
    ...(appeals.length === 0 ? [] : [`${plural(appeals.length, 'appeal')} so far; bonds that lie there: ${bonds}`]),
  ]
}

const OVER = new Set(['paid', 'untraced', 'slashed', 'abandoned'])

type Reads = Pick<
  Chain,
  | 'appealBond'
  | 'appeals'
  | 'audits'
  | 'batch'
  | 'batchesOf'
  | 'bench'
  | 'benchesOf'
  | 'deadline'
  | 'head'
  | 'lock'
  | 'params'
  | 'ranges'
  | 'verdictBench'
>

/** Batches of a node of which something is still to come, oldest first. Looks back as far as a batch can be under way. */
export async function openBatches(chain: Reads, provider: Address): Promise<BatchFacts[]> {
  const { params } = chain
  const { timestamp: now } = await chain.head()
  const span = BigInt(params.unbondingDelay)
  const since = now > span ? now - span : 0n
  const found: BatchFacts[] = []
  for (const id of await chain.batchesOf(provider, since)) {
    const batch = await chain.batch(id)
    const ranges = await chain.ranges(id)
    const uncollected = ranges.filter(({ collected }) => !collected).length
    if (OVER.has(batch.status) && uncollected === 0) continue
    const [deadline, lock, appeals, nextBond, audits, bench] = await Promise.all([
      chain.deadline(id),
      chain.lock(id),
      chain.appeals(id),
      chain.appealBond(id),
      chain.audits(id),
      chain.verdictBench(id, batch),
    ])
    found.push({
      id,
      batch,
      now,
      deadline,
      lock,
      draws: params.draws + audits.length,
      appeals,
      nextBond,
      appealUntil: batch.slashAt - BigInt(params.slashPending - params.appealWindow),
      bench,
      ranges: { all: ranges.length, uncollected },
    })
  }
  return found
}

/** The seats that answer for a node's votes, in words; null when there are none. */
export async function describeSeats(chain: Reads, voter: Address): Promise<string | null> {
  const { params } = chain
  const { timestamp: now } = await chain.head()
  const span = BigInt(params.unbondingDelay)
  const benches = await chain.benchesOf(voter, now > span ? now - span : 0n)
  let [count, last] = [0, 0n]
  for (const { id } of benches) {
    const { held, until: end } = await chain.bench(id)
    if (!held) continue
    count++
    if (end > last) last = end
  }
  if (count === 0) return null
  const stake = tokens(params.seatStake * BigInt(count))
  return `${plural(count, 'seat')} answer for votes of this node, ${stake} of its stake, the last until ${utc(last)}`
}
