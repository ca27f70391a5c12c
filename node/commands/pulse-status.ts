import type { Capacities, Pulse } from '../chain/capacity.ts'
import type { PulseStatus } from '../stages/pulse-notes.ts'
import type { PulseLoss } from '../stages/pulse-plan.ts'
import { formatAmount } from './options.ts'

const REASONS: Record<PulseLoss, string> = {
  CLASS_NOT_MEASURED: 'this network measures no capacity of the class that the node is registered under',
  NO_REPORTERS: 'nobody had stake at the opening before, as with a network’s first pulse',
  STAKE_TOO_NEW: 'the stake for a lane came after the opening before: it counts from the next pulse',
  NOT_WORTH_GAS: 'a claim costs more than it brings',
  TOO_LATE: 'there was no time left to compute a lane',
  NO_LANE_IN_TIME: 'no lane was done in time',
  FORKED: 'a fork has given its slot another value',
  NOT_REPORTED: 'no reporter has the answers in its report',
  NOT_DRAWN: 'none of its lanes was examined',
  CLAIM_CLOSED: 'the time for its claims was over',
  CLAIM_REFUSED: 'the contract refuses the claim',
}

const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

function describeSkipped({ slot, reason, detail }: NonNullable<PulseStatus['skipped']>): string {
  const { pay, cost, ...others } = detail
  const amounts =
    pay === undefined || cost === undefined
      ? Object.values(others).join(', ')
      : `${formatAmount(BigInt(cost))} for ${formatAmount(BigInt(pay))} SNTR`
  const why = `${REASONS[reason]}${amounts === '' ? '' : ` (${amounts})`}`
  return reason === 'CLASS_NOT_MEASURED' ? why : `nothing came of slot ${slot}: ${why}`
}

/**
 * A node's pulses in words.
 * @param last the network's
 * @param history what the chain has of the node, null where nobody knows
 * @param noted what the node has noted of itself, null where it has never run here
 */
export function describePulses(
  last: Pulse | null,
  history: Awaited<ReturnType<Capacities['capacityHistory']>>,
  noted: PulseStatus | null,
): string[] {
  const at = last === null ? null : new Date(Number(last.openedAt) * 1000).toISOString()
  const network = at === null ? 'none was opened yet' : `the last was opened at ${at} (slot ${last!.slot})`
  const paid =
    history === null
      ? ''
      : `; ${plural(history.lanes, 'lane')} of this node examined and claimed so far, ` +
        `${formatAmount(history.credited)} SNTR credited`
  const lines = [`pulses: ${network}${paid}`]
  if (noted === null) return lines
  if (noted.lanes === 0) return [...lines, 'this node takes no part (--lanes 0)']
  const { opened, answered, reported, claimed } = noted.counts
  const did = `opened ${opened}, answered ${answered}, reported ${reported}, claimed ${plural(claimed, 'lane')}`
  lines.push(`up to ${plural(noted.lanes, 'lane')} a pulse; ${did}`)
  if (noted.skipped !== null) lines.push(describeSkipped(noted.skipped))
  return lines
}
