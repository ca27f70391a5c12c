/** What is known of one signed transaction at one moment. Ages in milliseconds. */
export type Sight = {
  nonce: number
  /** Transactions of the account in the newest block's state: every nonce below it is spent. */
  count: number
  head: bigint
  /** Block of the receipt of any of the attempts, null when none has one. */
  block: bigint | null
  /** An earlier look found a receipt. */
  wasMined: boolean
  volatile: boolean
  cancelled: boolean
  sinceSent: number
  sinceAttempt: number
  /** How long the nonce has been spent without a receipt of ours; 0 while it is not. */
  missing: number
}

/**
 * @param confirmations blocks on top of a receipt before the transaction is forgotten. @default 0
 * @param resendMs the same bytes go out again after so long: pools forget. @default 10_000
 * @param stuckMs fees are raised after so long. @default 30_000
 * @param missingMs a spent nonce without a receipt of ours was somebody else's after so long. @default 10_000
 */
export type FollowInit = { confirmations: number; resendMs: number; stuckMs: number; missingMs: number }

/**
 * - `final`: mined deeply enough, or not ours to follow any more;
 * - `mined`: there is a receipt;
 * - `resend`: the same bytes again; `raise`: the same call with higher fees; `cancel`: nothing, in the place of the call;
 * - `lost`: another transaction took the nonce.
 */
export type FollowStep = 'wait' | 'mined' | 'final' | 'resend' | 'raise' | 'cancel' | 'lost'

/** Decides from facts alone, so that every fault can be tested without a chain. */
export function followStep(sight: Sight, init: FollowInit): FollowStep {
  if (sight.block !== null) return sight.head - sight.block >= BigInt(init.confirmations) ? 'final' : 'mined'
  if (sight.nonce < sight.count) return sight.missing >= init.missingMs ? 'lost' : 'wait'
  // Undone by a reorganisation. What it said may be untrue on the new chain, and others' pools may still hold it: its place is taken.
  if (sight.wasMined && sight.volatile && !sight.cancelled) return 'cancel'
  if (sight.wasMined && sight.sinceSent > 0) return 'resend'
  if (sight.sinceAttempt >= init.stuckMs) return 'raise'
  return sight.sinceSent >= init.resendMs ? 'resend' : 'wait'
}
