import { bytesToBigint, fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import type { Opened, Payload } from '../../protocol/envelope.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import type { Address } from '../../protocol/signature.ts'
import { ofOneMind, VERDICT_CODES } from '../../protocol/vote.ts'
import type { Chain } from '../chain/chain.ts'
import type { Batch } from '../chain/views.ts'
import type { Gossip } from '../net/gossip.ts'
import type { Log } from '../net/log.ts'
import type { Attester } from './attest.ts'
import type { BallotBox, Recorded, RevealedVote } from './ballot.ts'
import type { Batcher } from './batch.ts'
import type { AnchoredBatch, BatchBook } from './book.ts'
import type { CanaryMaker } from './canary.ts'
import { createContester, postedMessage } from './contest.ts'
import { factsOf, sampleOf } from './facts.ts'
import { type BatchView, type Move, nextMove } from './move.ts'
import type { Poll, Polls } from './poll.ts'
import { createRefuter } from './refute.ts'
import { toleranceOpenings } from './settle.ts'
import type { Voter } from './vote.ts'

export type DriverComponents = {
  address: Address
  /** Blocks on top of a slot's block before its value is answered (see move.ts). @default 0 */
  confirmations?: number
  networkId: Uint8Array
  chain: Chain
  book: BatchBook
  ballots: BallotBox
  batcher: Batcher
  attester: Attester
  /** @default none */
  canaries?: CanaryMaker | null
  voter: Voter
  polls: Polls
  gossip: Pick<Gossip, 'publish'>
  /** The attestation of a batch, once it has arrived here (or been made here). */
  attestation(batch: Hex): Opened<'attestation'> | null
  /** Tells whoever keeps attestations about one of our own. */
  keepAttestation(sealed: Uint8Array): void
  /** Asks others for an attestation that gossip did not bring. */
  fetchAttestation(batch: AnchoredBatch): Promise<void>
  log: Log
}

/** Seconds between the turns of nodes that poke a batch which is not theirs. */
const TURN_S = 4
const TURNS = 5

/**
 * Brings every batch forward, one move at a time: reads what the chain says, decides with `nextMove`, acts. All state that
 * matters is on the chain or on disk, so it can stop anywhere.
 */
export type Driver = {
  /**
   * Takes up every batch that nobody is working on. Does not wait for the work: proofs take minutes, and the windows of other
   * batches run meanwhile.
   */
  tick(): void
  /** Resolves when nothing is being worked on. */
  settled(): Promise<void>
}

/** Batches worked on at once. Our own always are: their windows cost the most. */
const AT_ONCE = 16

export function createDriver(components: DriverComponents): Driver {
  const { address, networkId, chain, book, ballots, batcher, attester, voter, polls, log } = components
  const { sealed } = attester
  const { canaries } = components
  const contester = createContester({ networkId, chain, sealed, check: voter.check, log })
  const refuter = createRefuter({ networkId, chain, voter, log })
  const exhausted = new Set<Hex>()
  const finalSince = new Map<Hex, bigint>()
  const published = new Set<Hex>()

  const turnOf = (id: Hex): number =>
    TURN_S * (1 + Number(bytesToBigint(hash('turn', fromHex(id), fromHex(address)).subarray(0, 4)) % BigInt(TURNS)))

  async function majority({ id }: AnchoredBatch, { attempt }: Batch, recorded: Recorded[]): Promise<RevealedVote[]> {
    const audits = await chain.audits(id)
    return ballots.majority(fromHex(id), attempt, chain.params.draws + audits.length, recorded)
  }

  async function look(anchored: AnchoredBatch, batch: Batch): Promise<{ view: BatchView; poll: Poll | null }> {
    const [head, deadline] = await Promise.all([chain.head(), chain.deadline(anchored.id)])
    const atWork = batch.status === 'committed' && deadline > 0n
    const poll = atWork ? await polls.look(anchored, batch, deadline, head) : null
    const agreed = poll?.closed ? await majority(anchored, batch, poll.recorded) : []
    const quorum =
      agreed.length > 0 &&
      ofOneMind(agreed[0]!.vote.verdicts, batch.attempt, agreed.length, poll!.members.length) &&
      (await chain.quorate(
        anchored.id,
        agreed.map(({ voter }) => voter),
      ))
    const asked = batch.status === 'paid' || poll?.closed === true
    const objects = asked && anchored.provider !== address && (await refuter.objects(anchored.id))
    const against = quorum && !agreed[0]!.vote.verdicts.includes(VERDICT_CODES.forged)
    const final = ['paid', 'untraced', 'slashed', 'abandoned'].includes(batch.status)
    const ranges = final ? await chain.ranges(anchored.id) : []
    if (final && !finalSince.has(anchored.id)) finalSince.set(anchored.id, head.timestamp)
    const view: BatchView = {
      batch,
      mine: anchored.provider === address,
      turnS: turnOf(anchored.id),
      now: head.timestamp,
      headBlock: chain.beaconPosition(head),
      slotHeight: chain.slotHeight,
      confirmations: components.confirmations ?? 0,
      deadline,
      voteWindowS: chain.params.voteWindow,
      commitWindowS: chain.params.commitWindow,
      pokeGraceS: chain.params.pokeGrace,
      abandonWindowS: chain.params.abandonWindow,
      seated: poll?.members.includes(address) ?? false,
      poll,
      condemned: batch.status === 'slashPending' && BigInt(batch.verdicts) > 0n,
      quorum,
      ...(objects && { objects: { against } }),
      canary: anchored.provider === address && ((await canaries?.trapOf(anchored.id)) ?? null) !== null,
      exhausted: exhausted.has(anchored.id),
      uncollected: ranges.filter(({ collected }) => !collected).length,
      finalSince: finalSince.get(anchored.id) ?? head.timestamp,
    }
    return { view, poll }
  }

  async function vote(anchored: AnchoredBatch, batch: Batch, poll: Poll): Promise<void> {
    const facts = await factsOf(chain, anchored, batch)
    if (facts === null) return
    const recorded = poll.recorded.find(({ voter: of }) => of === address)?.commitment ?? null
    const { closed, sealed: isSealed } = poll
    const attestationDigest = fromHex(batch.attestation)
    const drawnAt = (await chain.deadline(anchored.id)) - BigInt(chain.params.voteWindow)
    const panel = { attempt: batch.attempt, drawnAt, attestationDigest, recorded, closed, sealed: isSealed }
    await voter.attend(facts, panel, await messageOf(anchored, batch))
  }

  async function messageOf(anchored: AnchoredBatch, batch: Batch): Promise<Payload<'attestation'> | null> {
    if (components.attestation(anchored.id) === null) await components.fetchAttestation(anchored)
    return components.attestation(anchored.id)?.message ?? (await posted(anchored, batch))
  }

  async function refute(anchored: AnchoredBatch, batch: Batch, overlooked: boolean): Promise<void> {
    const facts = await factsOf(chain, anchored, batch)
    const message = await messageOf(anchored, batch)
    if (facts !== null) await refuter.refute(anchored.id, batch, facts, message, overlooked)
  }

  /** What stands on chain of an attestation that nobody has handed out. */
  async function posted(anchored: AnchoredBatch, batch: Batch): Promise<Payload<'attestation'> | null> {
    const payload = await chain.postedAttestation(anchored.id, batch.anchorBlock)
    return payload === null ? null : postedMessage(payload, networkId, batch.attestation)
  }

  async function contest(anchored: AnchoredBatch, batch: Batch): Promise<void> {
    const facts = await factsOf(chain, anchored, batch)
    if (facts !== null) await contester.contest(anchored.id, batch, facts, (await chain.head()).timestamp)
  }

  async function attest(anchored: AnchoredBatch, batch: Batch): Promise<void> {
    const facts = await factsOf(chain, anchored, batch)
    if (facts !== null) components.keepAttestation(await attester.attest(anchored.id, facts))
  }

  async function settle(anchored: AnchoredBatch, batch: Batch, { recorded }: Poll): Promise<void> {
    const votes = await majority(anchored, batch, recorded)
    const sample = await sampleOf(chain, anchored, batch)
    const attestation = components.attestation(anchored.id)
    const openings =
      attestation === null
        ? []
        : toleranceOpenings(anchored, attestation.message, sample!.points, votes[0]!.vote.verdicts, networkId)
    const opened = votes.map(({ voter: of, vote: each, salt }) => ({
      place: BigInt(recorded.findIndex(({ voter: by }) => by === of)),
      verdicts: toHex(each.verdicts),
      digest: toHex(each.digest),
      salt: toHex(salt),
    }))
    const committed = recorded.map(({ voter: by, commitment }) => ({ voter: by, commitment }))
    const { gasUsed } = await chain.settle(anchored.id, committed, opened, openings)
    log.info({ event: 'batch.settled', batch: anchored.id, votes: votes.length, gas: Number(gasUsed) }, 'batch settled')
  }

  async function redraw(id: Hex): Promise<void> {
    try {
      await chain.redraw(id)
    } catch (error) {
      if (errorCode(error) !== 'CHAIN_CommitteeExhausted') throw error
      exhausted.add(id)
    }
  }

  async function abandon(id: Hex): Promise<void> {
    try {
      await chain.abandon(id)
    } catch (error) {
      // Somebody has joined since.
      if (errorCode(error) === 'CHAIN_CommitteeCanGrow') exhausted.delete(id)
      throw error
    }
  }

  async function collect(id: Hex): Promise<void> {
    const ranges = await chain.ranges(id)
    for (const [index, range] of ranges.entries()) if (!range.collected) await chain.collect(id, index)
    log.info({ event: 'batch.collected', batch: id, ranges: ranges.length }, 'batch collected')
  }

  async function finish(anchored: AnchoredBatch, batch: Batch): Promise<void> {
    book.close(anchored.id)
    finalSince.delete(anchored.id)
    ballots.forget(fromHex(anchored.id))
    polls.forget(anchored.id)
    const record = anchored.provider === address ? await batcher.record(anchored.id) : null
    if (record !== null) {
      await batcher.forget(record)
      await attester.forget(anchored.id)
      await canaries?.forget(anchored.id)
    }
    log.info({ event: 'batch.finished', batch: anchored.id, status: batch.status }, 'batch finished')
  }

  async function act(move: Move, anchored: AnchoredBatch, batch: Batch, poll: Poll | null): Promise<void> {
    const { id } = anchored
    switch (move.do) {
      case 'wait':
        return
      case 'record':
        await chain.recordSlot(move.slot)
        return
      case 'trace':
        return attester.trace(id, (await sampleOf(chain, anchored, batch))!)
      case 'attest':
        return attest(anchored, batch)
      case 'vote':
        return vote(anchored, batch, poll!)
      case 'commit':
        return polls.handIn(id, batch, poll!)
      case 'settle':
        return settle(anchored, batch, poll!)
      case 'expire':
        await chain.expire(id)
        return
      case 'redraw':
        return redraw(id)
      case 'abandon':
        return abandon(id)
      case 'contest':
        return contest(anchored, batch)
      case 'refute':
        return refute(anchored, batch, move.overlooked)
      case 'reveal':
        return canaries!.reveal(id, batch)
      case 'finalize':
        await chain.finalize(id)
        return
      case 'collect':
        return collect(id)
      case 'finish':
        return finish(anchored, batch)
    }
  }

  /** Our own attestation goes out as soon as its digest is on chain, and again after a restart. */
  async function publishOwn(anchored: AnchoredBatch, batch: Batch): Promise<void> {
    if (anchored.provider !== address || batch.status !== 'committed' || published.has(anchored.id)) return
    const sealed = await attester.sealed(anchored.id)
    if (sealed === null) return
    components.keepAttestation(sealed)
    try {
      await components.gossip.publish('attestations', sealed)
      published.add(anchored.id)
      log.info({ event: 'attestation.published', batch: anchored.id, bytes: sealed.length }, 'attestation published')
    } catch (error) {
      // Whoever needs it can also fetch it here; the batch goes on, and the next look publishes again.
      log.warn({ event: 'attestation.unpublished', batch: anchored.id, error: describeError(error) }, 'not published')
    }
  }

  async function step(anchored: AnchoredBatch): Promise<void> {
    const batch = await chain.batch(anchored.id)
    await publishOwn(anchored, batch)
    const { view, poll } = await look(anchored, batch)
    await act(nextMove(view), anchored, batch, poll)
  }

  const busy = new Map<Hex, Promise<void>>()

  async function work(anchored: AnchoredBatch): Promise<void> {
    try {
      await step(anchored)
    } catch (error) {
      // Another node may have been faster, or the chain not there for a moment: the next tick sees what is.
      log.warn(
        { event: 'batch.delayed', batch: anchored.id, code: errorCode(error), error: describeError(error) },
        'batch delayed',
      )
    } finally {
      busy.delete(anchored.id)
      looked.set(anchored.id, ++looks)
    }
  }
  /** When each batch was last looked at: whoever has waited longest is next. */
  const looked = new Map<Hex, number>()
  let looks = 0

  return {
    tick() {
      const mine = ({ provider }: AnchoredBatch): boolean => provider === address
      const open = book.open()
      for (const id of looked.keys()) if (!open.some((each) => each.id === id)) looked.delete(id)
      const idle = open
        .filter(({ id }) => !busy.has(id))
        .sort((a, b) => Number(mine(b)) - Number(mine(a)) || (looked.get(a.id) ?? 0) - (looked.get(b.id) ?? 0))
      for (const anchored of idle) {
        if (busy.size >= AT_ONCE && !mine(anchored)) return
        busy.set(anchored.id, work(anchored))
      }
    },
    async settled() {
      while (busy.size > 0) await Promise.all(busy.values())
    },
  }
}
