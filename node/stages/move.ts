import type { Batch } from '../chain/views.ts'
import type { Poll } from './poll.ts'

/** What this node sees of one batch at one moment. Times in seconds of the chain's clock. */
export type BatchView = {
  batch: Pick<
    Batch,
    'status' | 'sampleSlot' | 'challengeSlot' | 'committeeSlot' | 'slashAt' | 'auditUntil' | 'verdicts'
  >
  /** This node is the batch's provider. */
  mine: boolean
  /** This node's turn among those who are not: seconds it lets others go first. */
  turnS: number
  now: bigint
  /** Where the beacon is, and where a slot opens: blocks, or with the drand beacon seconds. */
  headBlock: bigint
  slotHeight(slot: bigint): bigint
  /** Blocks on top of a slot's block before its value is answered: an answer to a value that a fork replaced would be a forgery. */
  confirmations: number
  /** End of the present state's window; 0 while the slot that opens it is not recorded, and in final states. */
  deadline: bigint
  /** Length of the vote window, of its first part, in which members commit, and of the time after that in which only the provider may settle. */
  voteWindowS: number
  commitWindowS: number
  pokeGraceS: number
  /** Time after the last vote window before a batch can be abandoned. */
  abandonWindowS: number
  seated: boolean
  /** Where the committee's commitments stand; see poll.ts. Null while no committee is at work. */
  poll: Pick<Poll, 'closes' | 'closed' | 'pending' | 'recorded'> | null
  /** A committee has condemned the batch: its provider may answer until the slash is due. @default false */
  condemned?: boolean
  /** The revealed votes that agree settle. */
  quorum: boolean
  /** This node has found a forgery: `against` a quorum that did not, or without any. See refute.ts. @default neither */
  objects?: { against: boolean }
  /** It is a canary of this node's that was not revealed. @default false */
  canary?: boolean
  /** Committees cannot grow any more. */
  exhausted: boolean
  uncollected: number
  /** When this node first saw the batch in a final state. */
  finalSince: bigint
}

/** The next thing this node should do for a batch. */
export type Move =
  | { do: 'wait' }
  | { do: 'record'; slot: bigint }
  /** `overlooked`: a quorum has paid for a forgery, or is about to. */
  | { do: 'refute'; overlooked: boolean }
  | {
      do:
        | 'trace'
        | 'attest'
        | 'vote'
        | 'commit'
        | 'settle'
        | 'expire'
        | 'redraw'
        | 'abandon'
        | 'finalize'
        | 'contest'
        | 'reveal'
        | 'collect'
        | 'finish'
    }

const wait: Move = { do: 'wait' }

/** Nobody owns a slot: the provider records it at once, the others in turn when it does not. */
function awaitSlot(view: BatchView, slot: bigint): Move | null {
  if (view.deadline > 0n) return null
  const blocksPast = view.headBlock - view.slotHeight(slot)
  if (blocksPast < 0n) return wait
  return view.mine || blocksPast > BigInt(2 + view.turnS) ? { do: 'record', slot } : wait
}

const settled = (view: BatchView, slot: bigint): boolean =>
  view.headBlock - view.slotHeight(slot) >= BigInt(view.confirmations)

/** A step that anyone may take after a moment: the provider first, the others in turn. */
const mayPoke = (view: BatchView, since: bigint): boolean => view.mine || view.now > since + BigInt(view.turnS)

/**
 * The provider hands in all commitments at once when they are all there. Else it hands in what there is after a quarter of the time, so that a
 * member sees when its own has not arrived, and the rest in the last fifth. Others do it in turn when it does not, and a member for its own.
 */
function handsIn(view: BatchView): boolean {
  const { poll, now, mine, commitWindowS } = view
  if (poll === null || poll.closed || poll.pending.count === 0) return false
  const begun = view.deadline - BigInt(view.voteWindowS)
  if (poll.pending.all && mayPoke(view, begun + BigInt(view.pokeGraceS))) return true
  const at = (share: number): bigint => begun + BigInt(Math.floor(commitWindowS * share))
  const none = poll.recorded.length === 0
  if (mine) return now >= at(none ? 0.25 : 0.8)
  return poll.pending.own && (now >= at(0.9) || (!none && mayPoke(view, at(0.25))))
}

/** Before a quorum that overlooks the forgery settles, or, where no quorum comes, before the batch is abandoned and its lock returned. */
function refutes({ objects, exhausted, batch, deadline, now }: BatchView, end: bigint): Move | null {
  if (objects === undefined) return null
  if (objects.against && now <= deadline) return { do: 'refute', overlooked: true }
  const last = exhausted && BigInt(batch.verdicts) === 0n && now > (deadline + end) / 2n
  return last ? { do: 'refute', overlooked: false } : null
}

/**
 * A quorum settles also after the vote window: whoever delays the votes must not win another committee by it. Only where the quorum
 * could not be settled for a while (nobody has the openings) does the batch move on. The last committee votes until the end.
 */
function committed(view: BatchView): Move {
  const { deadline, now } = view
  const end = deadline + BigInt(view.abandonWindowS)
  if (handsIn(view)) return { do: 'commit' }
  const refuted = refutes(view, end)
  if (refuted !== null) return refuted
  const graceEnd = (view.poll?.closes ?? deadline) + BigInt(view.pokeGraceS)
  const quorum = view.quorum && now <= end
  if (quorum && (view.mine || (now > graceEnd && mayPoke(view, graceEnd)))) return { do: 'settle' }
  const last = view.exhausted ? end : deadline
  if (now <= last) return view.seated ? { do: 'vote' } : wait
  if (quorum || !mayPoke(view, last)) return wait
  return { do: view.exhausted ? 'abandon' : 'redraw' }
}

const JUDGED: ReadonlySet<Batch['status']> = new Set(['slashPending', 'paid', 'untraced', 'slashed', 'abandoned'])

/**
 * Decides from facts alone, so that it can be tested without a chain: DESIGN §2, steps 7 to 12. Every branch ends in a move that
 * brings the batch forward or in waiting for something that has a deadline.
 */
export function nextMove(view: BatchView): Move {
  const { batch, mine, now, deadline } = view
  if (view.canary === true && JUDGED.has(batch.status)) return { do: 'reveal' }
  switch (batch.status) {
    case 'none':
      return wait
    case 'anchored': {
      const slot = awaitSlot(view, batch.sampleSlot)
      if (slot !== null) return slot
      if (now > deadline) return mayPoke(view, deadline) ? { do: 'expire' } : wait
      // Until then consumers add to what is drawn.
      return mine && now > batch.auditUntil && settled(view, batch.sampleSlot) ? { do: 'trace' } : wait
    }
    case 'traced': {
      const slot = awaitSlot(view, batch.challengeSlot)
      if (slot !== null) return slot
      if (now > deadline) return mayPoke(view, deadline) ? { do: 'expire' } : wait
      return mine && settled(view, batch.challengeSlot) ? { do: 'attest' } : wait
    }
    case 'committed': {
      const slot = awaitSlot(view, batch.committeeSlot)
      return slot ?? committed(view)
    }
    case 'slashPending':
      if (mine && view.condemned && now < batch.slashAt) return { do: 'contest' }
      return now > batch.slashAt && mayPoke(view, batch.slashAt) ? { do: 'finalize' } : wait
    case 'paid':
    case 'untraced':
    case 'slashed':
    case 'abandoned':
      if (batch.status === 'paid' && view.objects !== undefined)
        return mayPoke(view, view.finalSince) ? { do: 'refute', overlooked: true } : wait
      if (view.uncollected === 0) return { do: 'finish' }
      return mayPoke(view, view.finalSince) ? { do: 'collect' } : wait
  }
}
