import { CID } from 'multiformats/cid'
import type { Committer } from '../../circuits/commit.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { commitmentDigest, recoverTyped, type SigningDomain, voteCommitment } from '../../protocol/eip712.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import { judgeAttestation } from '../../protocol/rules/attestation.ts'
import type { Address } from '../../protocol/signature.ts'
import { consequence, type DrawVerdict } from '../../protocol/vote.ts'
import { verifyAttestation } from '../attestation/verify.ts'
import type { Chain } from '../chain/chain.ts'
import type { Batch } from '../chain/views.ts'
import type { BatchEvent } from '../chain/watch.ts'
import type { ModelLibrary } from '../model/load.ts'
import type { Log } from '../net/log.ts'
import type { Streams } from '../net/streams.ts'
import { fetchAttestation } from '../stages/attestation-stream.ts'
import { type AnchoredBatch, type BatchBook, createBatchBook } from '../stages/book.ts'
import { factsOf } from '../stages/facts.ts'
import { sleep } from '../timers.ts'

/** What this client found in a batch's attestation, as a member of the committee would. */
export type AttestationCheck = {
  /** One per draw. */
  verdicts: DrawVerdict[]
  /** Distinct drawn jobs, of whichever consumer. */
  jobs: number
  proofs: number
  /** Opened leaf commitments. */
  leaves: number
  /** What is wrong with it, by name. */
  faults: string[]
  seconds: number
}

/** The votes by which a batch was settled: signed commitments that stood on chain before, opened. `members` of the committee is what the chain says. */
export type QuorumCheck = { votes: number; members: number; ok: boolean }

/** What a client checked of a batch by itself; null what it has not, or could not. */
export type BatchCheck = { attestation: AttestationCheck | null; quorum: QuorumCheck | null }

export type BatchChecks = {
  apply(event: BatchEvent): void
  of(batch: Hex): BatchCheck
  stop(): Promise<void>
}

/** What was checked of the batch that a receipt lies in; null before it lies in one. */
export const checksOf = (batch: { id: Hex } | null, checks: Pick<BatchChecks, 'of'> | null): BatchCheck | null =>
  batch === null ? null : (checks?.of(batch.id) ?? { attestation: null, quorum: null })

export type BatchChecksComponents = {
  address: Address
  networkId: Uint8Array
  /** Chain and escrow, chain and votes contract. */
  domains: { vouchers: SigningDomain; votes: SigningDomain }
  chain: Pick<
    Chain,
    | 'node'
    | 'batch'
    | 'audits'
    | 'beaconValue'
    | 'network'
    | 'params'
    | 'committee'
    | 'commitments'
    | 'commitmentSignatures'
    | 'standing'
    | 'settlement'
  >
  streams: Pick<Streams, 'open'>
  /** Peers that may have attestations, by id. */
  others(): string[]
  library: Pick<ModelLibrary, 'load'>
  committer: Committer
  /** Made when it is first needed. */
  openVerifier(): Promise<Verifier>
  tileDraws: number
  log: Log
}

const TRIES = 6
const PAUSE_MS = 1_000
/** Batches whose checks are remembered. */
const KEPT = 1_024

/** Follows the batches that hold receipts of this account and checks them as they come: their attestation when it is committed, their votes when they settle. */
export function createBatchChecks(components: BatchChecksComponents): BatchChecks {
  const { address, networkId, domains, chain, library, committer, log } = components
  const books = new Map<Hex, BatchBook>()
  const mine = new Set<Hex>()
  const checks = new Map<Hex, BatchCheck>()
  const stopping = new AbortController()
  const running = new Set<Promise<void>>()
  let verifier: Promise<Verifier> | null = null

  function note(batch: Hex, found: Partial<BatchCheck>): void {
    checks.set(batch, { attestation: null, quorum: null, ...checks.get(batch), ...found })
    const [oldest] = checks.keys()
    if (checks.size > KEPT && oldest !== undefined) checks.delete(oldest)
  }

  function start(what: string, batch: Hex, work: () => Promise<void>): void {
    const job = work()
      .catch((error: unknown) => {
        if (stopping.signal.aborted) return
        log.warn({ event: 'check.failed', what, batch, error: describeError(error) }, 'a batch could not be checked')
      })
      .finally(() => running.delete(job))
    running.add(job)
  }

  /** The attestation that the provider committed to, from whoever hands it out. */
  async function obtain(anchored: AnchoredBatch, digest: Uint8Array): Promise<Payload<'attestation'>> {
    const batch = async () => ({ provider: anchored.provider, digest })
    const judge = (sealed: Uint8Array) => judgeAttestation(sealed, { networkId, batch, seen: () => false })
    const got: Uint8Array[] = []
    for (let tries = 0; tries < TRIES; tries++) {
      await fetchAttestation({ ...components, judge, shelf: { keep: (sealed) => void got.push(sealed) } }, anchored)
      const judged = got[0] === undefined ? null : await judge(got[0])
      if (judged?.action === 'accept') return judged.value.message
      await sleep(PAUSE_MS, { signal: stopping.signal })
    }
    throw new SinterError('ATTESTATION_UNAVAILABLE', `nobody handed out the attestation of ${anchored.id}`)
  }

  async function verify(anchored: AnchoredBatch): Promise<void> {
    const batch = await chain.batch(anchored.id)
    const facts = await factsOf(chain, anchored, batch)
    if (facts === null) throw new SinterError('BEACON_UNRECORDED', 'a beacon slot of the batch is not recorded')
    const attestation = await obtain(anchored, fromHex(batch.attestation))
    verifier ??= components.openVerifier()
    const started = performance.now()
    const { verdicts, findings, proofs, leaves } = await verifyAttestation(facts, attestation, {
      networkId,
      tileDraws: components.tileDraws,
      vouchers: domains.vouchers,
      model: (manifest) => library.load(CID.decode(manifest)),
      verifier: await verifier,
      committer,
      voter: address,
    })
    const faults = findings.flatMap(({ fault, detail }) => (fault === null ? [] : [`${fault} ${detail}`.trim()]))
    const seconds = (performance.now() - started) / 1000
    note(anchored.id, { attestation: { verdicts, jobs: findings.length, proofs, leaves, faults, seconds } })
    const outcome = { event: 'check.attestation', batch: anchored.id, verdicts, proofs, faults, seconds }
    if (verdicts.every((verdict) => verdict === 'valid')) log.info(outcome, 'attestation verified')
    else log.warn(outcome, 'an attestation of ours is not valid')
  }

  /** Every commitment that members signed and handed in for this attempt. */
  async function commitmentsOf(id: Hex, { attempt, attestation, anchorBlock }: Batch): Promise<Map<Address, Hex>> {
    const list = await chain.commitments(id, attempt, anchorBlock)
    const signatures = new Map<Hex, Uint8Array>()
    for (const tx of new Set(list.map((each) => each.tx))) {
      const handedIn = await chain.commitmentSignatures(tx)
      if (handedIn === null)
        throw new SinterError('VOTES_HIDDEN', 'commitments were handed in through another contract')
      for (const [commitment, signature] of handedIn) signatures.set(commitment, signature)
    }
    const signed = list.filter(({ voter, commitment: hex }) => {
      const signature = signatures.get(hex)
      const fields = { batch: fromHex(id), attempt, attestation: fromHex(attestation), commitment: fromHex(hex) }
      const digest = commitmentDigest(domains.votes, fields)
      return signature !== undefined && recoverTyped(digest, signature, voter) === voter
    })
    return new Map(signed.map(({ voter, commitment }) => [voter, commitment]))
  }

  /** The votes that the settling transaction opened: committed and signed before, by members, about this attestation, of one consequence, enough. */
  async function tally(id: Hex, transaction: Hex): Promise<void> {
    const [batch, committee, audits] = await Promise.all([chain.batch(id), chain.committee(id), chain.audits(id)])
    const settlement = await chain.settlement(transaction)
    if (settlement === null) throw new SinterError('VOTES_HIDDEN', 'the batch was settled through another contract')
    const { committed, votes } = settlement
    const commitments = await commitmentsOf(id, batch)
    const draws = chain.params.draws + audits.length
    const voters = new Set<Address>()
    const outcomes = new Set<string | null>()
    for (const { place, verdicts, digest, salt } of votes) {
      const fields = {
        batch: fromHex(id),
        attempt: batch.attempt,
        attestation: fromHex(batch.attestation),
        verdicts: fromHex(verdicts),
        digest: fromHex(digest),
      }
      const voter = committed[Number(place)]?.voter
      const said = voter !== undefined && toHex(voteCommitment(fields, fromHex(salt), voter)) === commitments.get(voter)
      if (said && committee.includes(voter)) voters.add(voter)
      outcomes.add(consequence(fields.verdicts, draws))
    }
    const agreed = outcomes.size === 1 && !outcomes.has(null)
    const { given, needed } = await chain.standing(id, [...voters])
    const ok = agreed && given >= needed && voters.size === votes.length
    note(id, { quorum: { votes: voters.size, members: committee.length, ok } })
    if (!ok) log.warn({ event: 'check.quorum', batch: id, votes: votes.length }, 'a settlement without a quorum')
  }

  return {
    of: (batch) => checks.get(batch) ?? { attestation: null, quorum: null },
    apply(event) {
      if (!('batchId' in event.args)) return
      const { batchId: id } = event.args
      if (event.name === 'RangeAnchored' || event.name === 'BatchAnchored') {
        const book = books.get(id) ?? createBatchBook()
        books.set(id, book)
        book.apply(event)
        if (event.name === 'RangeAnchored' && event.args.signer === address) mine.add(id)
        // All ranges of a batch come before it; those of others are no concern of ours.
        if (event.name === 'BatchAnchored' && !mine.has(id)) books.delete(id)
        return
      }
      const anchored = mine.has(id) ? books.get(id)?.get(id) : null
      if (anchored == null) return
      if (event.name === 'AttestationCommitted') start('attestation', id, () => verify(anchored))
      if (event.name === 'BatchSettled') start('quorum', id, () => tally(id, event.tx))
      if (event.name === 'BatchSettled' || event.name === 'BatchExpired' || event.name === 'BatchAbandoned') {
        books.delete(id)
        mine.delete(id)
      }
    },
    async stop() {
      stopping.abort()
      await (await verifier?.catch(() => null))?.close()
      await Promise.all(running)
    },
  }
}
