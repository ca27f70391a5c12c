import { bytesToBigint, fromHex, type Hex, u32 } from '../../protocol/bytes.ts'
import { hash } from '../../protocol/hash.ts'
import type { PulseClass } from '../../protocol/pulse.ts'
import type { Address } from '../../protocol/signature.ts'

/** Shares of a pulse's window: lanes are computed in the first, answers taken until the second, and the rest is for the report to be mined. */
const COMPUTE_SHARE = 0.45
const ANSWER_SHARE = 0.6
/** Seconds of a window between two turns, and of the time for claims over which those are spread. */
const TURN_SHARE = 0.1
const CLAIM_SHARE = 0.25

/** Gas of a claim as the bench has it (capacity.md §5.2), of a slot's record, and of the end of an epoch of a few classes. */
const CLAIM_GAS = 150_000n
const ENTRY_GAS = 80_000n
const TERM_GAS = 130n
export const RECORD_GAS = 80_000n
export const ROLL_GAS = 200_000n
/** Epochs that a report ends on its way. */
export const ROLLED = 2n

export const gasOfLane = ({ n, entries }: Pick<PulseClass, 'n' | 'entries'>): bigint =>
  CLAIM_GAS + BigInt(entries) * (ENTRY_GAS + TERM_GAS * BigInt(n))

/**
 * Whether a claim brings more than its gas; what is not claimed in time is lost, so a little is enough. Base units of the token.
 * @param cost null where nothing has a price
 */
export const worthClaiming = (pay: bigint, cost: bigint | null): boolean => cost === null || cost < pay

/** Seconds that a node lets others go first in a step that anyone may take and one has to pay. Two of them, in the mean, have each turn. */
export function turnS(value: Hex, operator: Address, nodes: number, window: number): number {
  const draw = bytesToBigint(hash('pulse-turn', fromHex(value), fromHex(operator)).subarray(0, 4))
  return Number(draw % BigInt(Math.max(1, Math.ceil(nodes / 2)))) * window * TURN_SHARE
}

/** Seconds after the draw's record at which a lane is claimed: nodes need not all want the same block. */
export function claimDelayS(value: Hex, operator: Address, lane: number, claimWindow: number): number {
  const draw = bytesToBigint(hash('pulse-claim', fromHex(value), fromHex(operator), u32(lane)).subarray(0, 4))
  return Math.floor((Number(draw) / 2 ** 32) * claimWindow * CLAIM_SHARE)
}

type Times = { openedAt: bigint; window: number }
const after = ({ openedAt, window }: Times, share: number): bigint => openedAt + BigInt(Math.floor(share * window))
export const computeUntil = (times: Times): bigint => after(times, COMPUTE_SHARE)
export const answerUntil = (times: Times): bigint => after(times, ANSWER_SHARE)
export const reportUntil = (times: Times): bigint => after(times, 1)

/** Why nothing comes of a pulse for this node. */
export type PulseLoss =
  | 'CLASS_NOT_MEASURED'
  | 'NO_REPORTERS'
  | 'STAKE_TOO_NEW'
  | 'NOT_WORTH_GAS'
  | 'TOO_LATE'
  | 'NO_LANE_IN_TIME'
  | 'FORKED'
  | 'NOT_REPORTED'
  | 'NOT_DRAWN'
  | 'CLAIM_CLOSED'
  | 'CLAIM_REFUSED'

/** What this node sees of one pulse in which it has lanes, at one moment. Times in seconds of the chain's clock. */
export type PulseView = {
  now: bigint
  /** 0n where a fork has undone the opening. */
  openedAt: bigint
  window: number
  claimWindow: number
  /** Value of its slot on chain now, null where it is not recorded any more. */
  value: Hex | null
  /** What is on disk: the value that the answers are to, and whether one of the reports has them. Null before they are computed. */
  kept: { value: Hex; openedAt: bigint; reported: boolean } | null
  /** Reporters have all taken the answers, or have said that they will not. */
  handedOver: boolean
  /** Some reporter has its root on chain. */
  rootsOut: boolean
  /** The report that has the answers stands on chain as it did. */
  standing: boolean
  /** Value of the draw slot once it is deep enough to be answered, and its record's time, 0n while there is none. */
  drawValue: Hex | null
  drawRecordedAt: bigint
  /** Lanes that are examined, and whether they are done with; each with the seconds that it lets pass. */
  drawn: readonly { lane: number; delayS: number; done: boolean }[]
  /** Whether a claim brings more than its gas now. */
  worth: boolean
  /** It is this node's turn to record the draw slot. */
  turn: boolean
}

export type PulseMove =
  | { do: 'wait' | 'compute' | 'handOver' | 'path' | 'unpath' | 'record' }
  | { do: 'claim'; lanes: number[] }
  | { do: 'end'; loss: PulseLoss | null }

const end = (loss: PulseLoss | null): PulseMove => ({ do: 'end', loss })
const wait: PulseMove = { do: 'wait' }

/** Decides from facts alone what this node does next for a pulse: capacity.md §6. Every branch ends in a move or in waiting for a time that comes. */
export function nextPulseMove(view: PulseView): PulseMove {
  const { now, kept, window, claimWindow } = view
  // Nobody may ever record the draw, so this time does not depend on it.
  const over = reportUntil({ openedAt: kept?.openedAt ?? view.openedAt, window }) + BigInt(2 * claimWindow)
  if (now > over) return end(lossOf(view))
  if (view.openedAt === 0n || view.value === null) return wait
  const times = { openedAt: view.openedAt, window }
  // [SKIP] Answers to a value that a fork has replaced are worth nothing: they are computed anew while there is time.
  if (kept === null || kept.value !== view.value) {
    if (now < computeUntil(times)) return { do: 'compute' }
    return end(kept === null ? 'TOO_LATE' : 'FORKED')
  }
  if (!kept.reported) {
    if (now <= answerUntil(times)) return view.handedOver ? wait : { do: 'handOver' }
    // A report that is not there a window after the last one could come will not be.
    if (now > after(times, 2) && !view.rootsOut) return end('NOT_REPORTED')
    return { do: 'path' }
  }
  if (!view.standing) return { do: 'unpath' }
  return claimMove(view)
}

function claimMove(view: PulseView): PulseMove {
  const { now, drawValue, drawRecordedAt, drawn, worth } = view
  if (drawValue === null) return wait
  if (drawn.length === 0) return end('NOT_DRAWN')
  if (drawn.every(({ done }) => done)) return end(null)
  if (drawRecordedAt === 0n) return worth && view.turn ? { do: 'record' } : wait
  if (now > drawRecordedAt + BigInt(view.claimWindow)) return end(lossOf(view))
  if (!worth) return wait
  const due = drawn
    .filter(({ delayS, done }) => !done && now >= drawRecordedAt + BigInt(delayS))
    .map(({ lane }) => lane)
  return due.length === 0 ? wait : { do: 'claim', lanes: due }
}

/** Why a pulse whose time is over has brought nothing. */
function lossOf({ kept, value, drawValue, worth }: PulseView): PulseLoss {
  if (kept === null) return 'TOO_LATE'
  if (kept.value !== value) return 'FORKED'
  if (!kept.reported) return 'NOT_REPORTED'
  return drawValue !== null && !worth ? 'NOT_WORTH_GAS' : 'CLAIM_CLOSED'
}
