import type { Committer } from '../../circuits/commit.ts'
import { bigintToBytes, equalBytes, toHex } from '../../protocol/bytes.ts'
import type { SigningDomain } from '../../protocol/eip712.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import {
  type Assignment,
  type AssignmentContext,
  type ChainSession,
  judgeAssignment,
} from '../../protocol/rules/assignment.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import type { Roots } from '../attestation/root-pool.ts'
import type { Identity } from '../identity/identity.ts'
import { publicKeyOfPeer } from '../identity/identity.ts'
import { type Frame, readFrame, writeFailure, writeFrame } from '../jobs/frames.ts'
import type { Ledger } from '../jobs/ledger.ts'
import type { Runtime } from '../model/runtime.ts'
import type { FrameStream } from '../net/frame-stream.ts'
import type { Log } from '../net/log.ts'
import type { StreamHandler } from '../net/streams.ts'
import { createLanes } from './lanes.ts'
import type { SealedJobs } from './sealed-jobs.ts'
import { createSession } from './session-jobs.ts'
import { watchSession } from './session-watch.ts'

export type SessionComponents = {
  identity: Identity
  networkId: Uint8Array
  /** Chain and escrow, for vouchers. */
  vouchers: SigningDomain
  ledger: Ledger
  committer: Committer
  /** Roots of inputs and outputs. @default by the committer, in this thread */
  roots?: Roots
  /** The loaded model of a manifest CID, whose jobs can be attested under the policy. */
  runtime(manifest: string, policy: Policy): Promise<Runtime>
  /** Inputs and outputs by content. @default a request that names one is refused */
  sealed?: SealedJobs
  bid: AssignmentContext['bid']
  chainSession: AssignmentContext['session']
  now(): number
  log: Log
}

export type SessionInit = {
  /**
   * Answers of a session that may go without their voucher: with the price, the most a vanished consumer can owe. Those it
   * left unpaid when its stream ended count for ever, so coming back does not open a new window. @default 8
   */
  window?: number
  /** A session without a frame for this long, and without a job, is closed (ms). @default 600_000 */
  idleMs?: number
  /** The same where answers wait for their voucher. @default 120_000 */
  owingMs?: number
  /** Seconds a session must have left on chain. @default 60 */
  minimumLifeS?: number
  /** How often a session in use is looked up on chain (ms): its consumer may be closing it. @default 10_000 */
  recheckMs?: number
}

/** Serves the job protocol: assignment, then jobs until the consumer closes. Errors reach the consumer with their code. */
export function jobHandler(components: SessionComponents, init: SessionInit = {}): StreamHandler {
  const { identity, networkId, ledger, log } = components
  const limits: Required<SessionInit> = {
    window: 8,
    idleMs: 600_000,
    owingMs: 120_000,
    minimumLifeS: 60,
    recheckMs: 10_000,
    ...init,
  }
  const active = new Set<string>()

  async function assigned(stream: FrameStream, peerKey: Uint8Array): Promise<Assignment & { onChain: ChainSession }> {
    const first = await readFrame(stream, 10_000)
    if (first.case !== 'assignment') throw new SinterError('FRAME_UNEXPECTED', 'a session begins with an assignment')
    let onChain: ChainSession | null = null
    const judged = await judgeAssignment(first.value, {
      networkId,
      nowMs: components.now(),
      provider: identity.address,
      peerKey,
      bid: components.bid,
      session: async (session) => {
        onChain = await components.chainSession(session)
        return onChain
      },
      resumable: async (session, bid) => {
        const record = await ledger.session(session)
        return record !== null && equalBytes(record.bid, bid)
      },
      minimumLifeS: limits.minimumLifeS,
    })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the assignment is refused')
    return { ...judged.value, onChain: onChain! }
  }

  /** Only with the session marked as active: what another stream of it was writing is then on disk. */
  async function open({ session, bid, signer, ceiling, onChain }: Assignment & { onChain: ChainSession }) {
    const record = await ledger.session(session)
    if (record !== null) {
      if (!equalBytes(record.bid, bid.id))
        throw new SinterError('SESSION_BID', 'the session was begun under another bid')
      await ledger.dropUnacknowledged(session)
      return record
    }
    // Receipts that we have lost cannot be followed by new ones: the contract would refuse them.
    if (onChain.spent > 0n) throw new SinterError('SESSION_LOST', 'this node has no memory of the session')
    const { id, manifest, price, policy, canonical } = bid
    return ledger.openSession({ session, signer, bid: id, manifest, price, ceiling, policy, canonical })
  }

  async function serve(stream: FrameStream, assignment: Assignment & { onChain: ChainSession }): Promise<void> {
    const record = await open(assignment)
    const runtime = await components.runtime(record.manifest, record.policy)
    const { seq, cumulative, head } = record.acknowledged
    const { unpaid, workedAt, ...handler } = createSession(
      components,
      stream,
      record,
      runtime,
      watchSession(components, record.session, assignment.onChain, limits),
      limits.window,
    )
    await writeFrame(stream, { case: 'accepted', value: { seq, cumulative: bigintToBytes(cumulative, 16), head } })
    log.info({ event: 'session.opened', session: toHex(record.session), consumer: record.signer }, 'session opened')
    const lanes = createLanes(handler)
    /** The next frame. A consumer that waits for its answer is not idle, and one that owes nothing did no wrong by being so. */
    async function nextFrame(): Promise<Frame> {
      const since = performance.now()
      for (;;)
        try {
          return await lanes.orFailure(readFrame(stream, Math.min(limits.idleMs, limits.owingMs)))
        } catch (error) {
          if (errorCode(error) !== 'STREAM_TIMEOUT' || stream.closed) throw error
          const silentMs = performance.now() - Math.max(since, workedAt())
          if (silentMs < (unpaid() > 0 ? limits.owingMs : limits.idleMs)) continue
          throw unpaid() > 0 ? error : new SinterError('SESSION_IDLE', 'nothing was asked for any more')
        }
    }
    try {
      for (;;) await lanes.push(await nextFrame())
    } finally {
      await lanes.settled()
      if (unpaid() > 0) await ledger.addUnpaid(record.session, unpaid())
    }
  }

  return async (stream, peer) => {
    let key: string | null = null
    try {
      const assignment = await assigned(stream, publicKeyOfPeer(peer))
      const session = toHex(assignment.session)
      if (active.has(session)) throw new SinterError('SESSION_BUSY', 'the session is already served on another stream')
      key = session
      active.add(key)
      await serve(stream, assignment)
    } catch (error) {
      const code = errorCode(error)
      if (code === 'STREAM_CLOSED') return
      if (code === 'SESSION_IDLE') log.info({ event: 'session.idle', session: key }, 'session ended')
      else
        log.warn(
          { event: 'session.failed', session: key, code, error: describeError(error) },
          'session ended with an error',
        )
      if (!stream.closed) {
        const message = error instanceof SinterError ? error.message : 'the provider failed'
        await writeFailure(stream, 0n, code, message).catch(() => {})
      }
    } finally {
      if (key !== null) active.delete(key)
    }
  }
}
