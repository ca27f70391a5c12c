import { CID } from 'multiformats/cid'
import type { Committer } from '../../circuits/commit.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { type Hex, toHex } from '../../protocol/bytes.ts'
import {
  commitmentDigest,
  type SigningDomain,
  signTyped,
  type VoteFields,
  voteCommitment,
} from '../../protocol/eip712.ts'
import { type Payload, seal } from '../../protocol/envelope.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import { packVerdicts, VERDICT_CODES, voteSalt } from '../../protocol/vote.ts'
import { FaultFound, type Finding } from '../attestation/faults.ts'
import type { BatchFacts } from '../attestation/place.ts'
import { type AttestationResult, type VerifyContext, verifyAttestation } from '../attestation/verify.ts'
import type { Chain } from '../chain/chain.ts'
import type { Identity } from '../identity/identity.ts'
import type { LoadedModel, ModelLibrary } from '../model/load.ts'
import type { Gossip } from '../net/gossip.ts'
import type { Log } from '../net/log.ts'
import { jsonCodec, type Store, storeKey } from '../store/store.ts'
import type { BallotBox } from './ballot.ts'

export type VoteComponents = {
  identity: Identity
  networkId: Uint8Array
  /** Chain and escrow. */
  vouchers: SigningDomain
  /** Chain and votes contract. */
  votes: SigningDomain
  gossip: Pick<Gossip, 'publish'>
  library: ModelLibrary
  verifier: Verifier
  committer: Committer
  /** Evaluates and commits jobs that are shown. @default `commitJob`, in this process */
  commit?: VerifyContext['commit']
  ballots: BallotBox
  store: Store
  tileDraws: number
  now(): number
  log: Log
}

/** The chain's time (seconds) at which a store was new, which is asked once. */
export async function newSince(store: Store, chain: Pick<Chain, 'head'>): Promise<bigint> {
  const meta = store.table('meta', jsonCodec<bigint>())
  const known = await meta.get('since')
  if (known !== undefined) return known
  const { timestamp } = await chain.head()
  await meta.put('since', timestamp)
  return timestamp
}

export type VoteInit = {
  /**
   * Time (seconds) from which this node knows what it has said: a committee that was at work before is let pass, since a vote that was signed then
   * and is forgotten now would be the first of two. @default always
   */
  knowsSince?: bigint
  /** From the first look at a batch until what has not been handed out counts as withheld (ms). @default 30_000 */
  patienceMs?: number
}

/** Where a seat stands. Persisted before anything signed leaves, so a restart repeats the same vote and never makes another. */
type Seat = {
  vote: VoteFields
  /** Of the commitment. */
  signature: Uint8Array
  salt: Uint8Array
  committed: boolean
  revealed: boolean
}

/**
 * @param recorded this node's commitment as it stands on chain, null while there is none.
 * @param closed nobody can commit any more.
 * @param sealed no fork of a depth that is reckoned with can change that.
 */
export type Panel = {
  attempt: number
  /** When the committee was drawn (seconds). */
  drawnAt: bigint
  attestationDigest: Uint8Array
  recorded: Hex | null
  closed: boolean
  sealed: boolean
}

export type Voter = {
  /**
   * Does what is due for a seat on this batch's committee: verify and commit, later reveal. `attestation` is null while
   * none has arrived. Repeatable.
   */
  attend(facts: BatchFacts, panel: Panel, attestation: Payload<'attestation'> | null): Promise<void>
  /** What this node finds, without a vote. */
  check(facts: BatchFacts, attestation: Payload<'attestation'>): Promise<Found>
  /** Whether this node has found an attestation of the batch forged when it voted. */
  hasCondemned(batch: Hex): Promise<boolean>
}

export type Found = Pick<AttestationResult, 'verdicts' | 'findings'>

/**
 * What the loader throws for content that breaks the rules, whoever looks. Anything else (no disk, no memory, a fault of our own)
 * says nothing about the prover, and no honest provider is slashed for it.
 */
export const INVALID_MODEL: ReadonlySet<string> = new Set([
  'CID_MALFORMED',
  'CONTENT_CID',
  'CONTENT_TOO_LARGE',
  'CONTENT_TYPE',
  'CONTENT_MALFORMED',
  'MANIFEST_TOO_LARGE',
  'MANIFEST_MALFORMED',
  'MANIFEST_NOT_CANONICAL',
  'MODEL_TOO_LARGE',
  'MODEL_HASH',
  'SHAPE',
  'TOPOLOGY',
  'TABLE_RANGE',
  'WEIGHTS_RANGE',
  'WEIGHTS_HASH',
  'WORK_COUNT',
  'ACCUMULATOR_BOUND',
  'DIVISOR_BOUND',
])

function cidOf(manifest: Uint8Array): CID {
  try {
    return CID.decode(manifest)
  } catch (cause) {
    throw new SinterError('CID_MALFORMED', 'the receipt names no content id', { cause })
  }
}

export function createVoter(components: VoteComponents, init: VoteInit = {}): Voter {
  const { identity, networkId, votes, ballots, store, log } = components
  const { patienceMs = 30_000, knowsSince = 0n } = init
  const seats = store.table('votes', jsonCodec<Seat>())
  const firstLook = new Map<string, number>()
  const working = new Set<string>()

  /** An invalid model is the prover's fault at once; a missing one after `patience` has run out; the rest is our own trouble. */
  const modelFor =
    (late: boolean) =>
    async (manifest: Uint8Array): Promise<LoadedModel> => {
      try {
        return await components.library.load(cidOf(manifest))
      } catch (error) {
        const code = errorCode(error)
        if (code === 'CONTENT_UNAVAILABLE' && late) throw new FaultFound('MODEL_UNAVAILABLE', describeError(error))
        if (INVALID_MODEL.has(code)) throw new FaultFound('MANIFEST_INVALID', describeError(error))
        throw error
      }
    }

  async function judge(
    facts: BatchFacts,
    panel: Panel,
    attestation: Payload<'attestation'> | null,
    late: boolean,
  ): Promise<VoteFields> {
    const batch = facts.challenge.batch
    const base = { batch, attempt: panel.attempt, attestation: panel.attestationDigest }
    if (attestation === null) {
      report(facts, [{ index: null, verdict: 'forged', fault: 'ATTESTATION_UNAVAILABLE', detail: '' }], 0, 0, 0)
      return { ...base, verdicts: packVerdicts(facts.points.map(() => 'forged')), digest: new Uint8Array(32) }
    }
    const started = performance.now()
    const result = await verify(facts, attestation, late)
    report(facts, result.findings, result.proofs, result.leaves, (performance.now() - started) / 1000)
    return { ...base, verdicts: packVerdicts(result.verdicts), digest: result.digest }
  }

  const verify = (facts: BatchFacts, attestation: Payload<'attestation'>, late: boolean) =>
    verifyAttestation(facts, attestation, {
      networkId,
      tileDraws: components.tileDraws,
      vouchers: components.vouchers,
      model: modelFor(late),
      verifier: components.verifier,
      committer: components.committer,
      ...(components.commit === undefined ? {} : { commit: components.commit }),
      voter: identity.address,
    })

  function report(facts: BatchFacts, findings: Finding[], proofs: number, leaves: number, seconds: number): void {
    const faults = findings
      .filter(({ fault }) => fault !== null)
      .map(({ fault, detail }) => `${fault} ${detail}`.trim())
    log.info(
      {
        event: 'attestation.verified',
        batch: toHex(facts.challenge.batch),
        jobs: findings.length,
        proofs,
        leaves,
        faults,
        seconds,
      },
      'attestation verified',
    )
  }

  async function publish(seat: Seat, kind: 'commitment' | 'reveal'): Promise<void> {
    const { vote, signature, salt } = seat
    const commitment = voteCommitment(vote, salt, identity.address)
    const { attestation, verdicts, digest } = vote
    const body =
      kind === 'commitment'
        ? { case: 'commitment' as const, value: { attestation, commitment, signature } }
        : { case: 'reveal' as const, value: { attestation, verdicts, digest, salt } }
    const { bytes } = seal('vote', networkId, identity.privateKey, { batch: vote.batch, attempt: vote.attempt, body })
    const place = { voter: identity.address, batch: vote.batch, attempt: vote.attempt }
    ballots.record(
      kind === 'commitment' ? { ...place, kind, attestation, commitment, signature } : { ...place, kind, vote, salt },
    )
    await components.gossip.publish('votes', bytes)
    log.info({ event: `vote.${kind}`, batch: toHex(vote.batch), verdicts: toHex(verdicts) }, `vote ${kind} published`)
  }

  async function advance(
    key: string,
    facts: BatchFacts,
    panel: Panel,
    attestation: Payload<'attestation'> | null,
  ): Promise<void> {
    const nowMs = components.now()
    let seat = await seats.get(key)
    if (seat === undefined) {
      const since = firstLook.get(key) ?? nowMs
      firstLook.set(key, since)
      const late = nowMs - since > patienceMs
      if (attestation === null && !late) return
      // Too late for a vote of this attempt, or what was said in it is lost.
      if (panel.recorded === null && (panel.closed || panel.drawnAt < knowsSince)) return
      const vote = await judge(facts, panel, attestation, late)
      const salt = voteSalt(identity.privateKey, vote)
      const commitment = voteCommitment(vote, salt, identity.address)
      // Before this node lost what it knew it had said something else: a second commitment would cost a seat.
      if (panel.recorded !== null && panel.recorded !== toHex(commitment)) {
        log.warn({ event: 'vote.lost', batch: toHex(vote.batch) }, 'another vote of ours stands on chain')
        return
      }
      const signature = signTyped(commitmentDigest(votes, { ...vote, commitment }), identity.privateKey)
      seat = { vote, signature, salt, committed: false, revealed: false }
      await seats.put(key, seat)
    }
    if (!seat.committed) {
      await publish(seat, 'commitment')
      await seats.put(key, { ...seat, committed: true })
      return
    }
    // Whoever sees a vote before everybody has committed can copy it. One that does not stand on chain counts for nothing.
    if (seat.revealed || !panel.sealed || panel.recorded === null) return
    await publish(seat, 'reveal')
    await seats.put(key, { ...seat, revealed: true })
  }

  return {
    check: (facts, attestation) => verify(facts, attestation, false),
    async hasCondemned(batch) {
      // Without a digest it says that there was no attestation.
      for await (const [, { vote }] of seats.entries(`${batch}/`))
        if (vote.verdicts.includes(VERDICT_CODES.forged) && vote.digest.some((byte) => byte !== 0)) return true
      return false
    },
    async attend(facts, panel, attestation) {
      // A fork may have put another attestation in the place of one that was voted on.
      const key = storeKey(toHex(facts.challenge.batch), panel.attempt, toHex(panel.attestationDigest))
      if (working.has(key)) return
      working.add(key)
      try {
        await advance(key, facts, panel, attestation)
      } catch (error) {
        // Our own trouble (gossip without peers, a model still on its way): the next tick tries again.
        log.warn({ event: 'vote.delayed', code: errorCode(error), error: describeError(error) }, 'vote delayed')
      } finally {
        working.delete(key)
      }
    },
  }
}
