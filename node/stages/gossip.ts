import { equalBytes, fromHex, type Hex } from '../../protocol/bytes.ts'
import type { SigningDomain } from '../../protocol/eip712.ts'
import { type Opened, open } from '../../protocol/envelope.ts'
import type { Topic } from '../../protocol/limits.ts'
import { judgeAttestation } from '../../protocol/rules/attestation.ts'
import { judgeOffer, type Offer } from '../../protocol/rules/offer.ts'
import { type Equivocation, judgeVote, type VoteContext } from '../../protocol/rules/vote.ts'
import { accept } from '../../protocol/verdict.ts'
import type { Chain } from '../chain/chain.ts'
import type { Batch } from '../chain/views.ts'
import type { TopicValidator } from '../net/gossip.ts'
import type { BallotBox } from './ballot.ts'
import type { BatchBook } from './book.ts'
import { bounded, remembered } from './seen.ts'

export type GossipComponents = {
  networkId: Uint8Array
  chain: Pick<Chain, 'batch' | 'committee' | 'deadline'>
  /** Chain and votes contract. */
  votes: SigningDomain
  book: BatchBook
  ballots: BallotBox
  onOffer(offer: Offer): void
  /** Told of voters that signed two votes. */
  onEquivocation?(proof: Equivocation): void
  now(): number
}

/** What this node has learned from gossip about attestations. */
export type AttestationShelf = {
  get(batch: Hex): Opened<'attestation'> | null
  /** Takes sealed bytes that did not come by gossip: our own, or fetched from a peer. The digest on chain decides. */
  keep(sealed: Uint8Array): void
  sealed(batch: Hex): Uint8Array | null
}

const ZERO = new Uint8Array(32)

/** What the chain said of a batch is good for this long: messages come from strangers, and each must not cost a request. */
const LOOK_MS = 500

/** The validators of all topics: protocol rules over what the chain says. Accepted messages go where they are used. */
export function gossipValidators(components: GossipComponents): {
  topics: Record<Topic, TopicValidator>
  shelf: AttestationShelf
  /** The attestation rule, for attestations that came over a stream. */
  judgeSealed(sealed: Uint8Array): ReturnType<typeof judgeAttestation>
} {
  const { networkId, chain, book, ballots } = components
  const offers = bounded<true>()
  const votes = bounded<true>(16_384)
  const seenAttestations = bounded<true>()
  const attestations = bounded<{ opened: Opened<'attestation'>; sealed: Uint8Array }>(64)
  const panels = bounded<NonNullable<Awaited<ReturnType<VoteContext['panel']>>>>(256)

  const batchNow = remembered(0, components.now, (id: Hex) => chain.batch(id))
  const seatsOf = remembered(0, components.now, async (id: Hex) =>
    (await chain.deadline(id)) === 0n ? null : chain.committee(id),
  )
  const committed = remembered(LOOK_MS, components.now, batchNow)
  /** A message may come right behind the transaction that it needs, so only a committed batch is answered from memory. */
  const batchFor = async (id: Hex): Promise<Batch> => {
    const known = await committed(id)
    return known.status === 'committed' ? known : batchNow(id)
  }

  const batchOf = async (id: Uint8Array) => {
    const anchored = book.get(id)
    if (anchored === null) return null
    const digest = fromHex((await batchFor(anchored.id)).attestation)
    return { provider: anchored.provider, digest: equalBytes(digest, ZERO) ? null : digest }
  }

  /** The committee of the present attempt; asked of the chain once per attempt and attestation. */
  const panel: VoteContext['panel'] = async (id) => {
    const anchored = book.get(id)
    if (anchored === null) return null
    const batch = await batchFor(anchored.id)
    const known = panels.get(id)
    const attestation = fromHex(batch.attestation)
    if (known?.attempt === batch.attempt && equalBytes(known.attestation, attestation)) return known
    const committee = batch.status === 'committed' ? await seatsOf(anchored.id) : null
    if (committee === null) return null
    const fresh = { committee, attempt: batch.attempt, attestation }
    panels.set(id, fresh)
    return fresh
  }

  const judgeSealed = (sealed: Uint8Array) => judgeAttestation(sealed, { networkId, batch: batchOf, seen: () => false })

  const topics: Record<Topic, TopicValidator> = {
    async offers(bytes) {
      const judged = judgeOffer(bytes, { networkId, nowMs: components.now(), seen: offers.has })
      if (judged.action !== 'accept') return judged
      offers.set(judged.value.id, true)
      components.onOffer(judged.value)
      return accept
    },
    async attestations(bytes) {
      const judged = await judgeAttestation(bytes, { networkId, batch: batchOf, seen: seenAttestations.has })
      if (judged.action !== 'accept') return judged
      seenAttestations.set(judged.value.id, true)
      attestations.set(judged.value.message.batch, { opened: judged.value, sealed: bytes })
      return accept
    },
    async votes(bytes) {
      const judged = await judgeVote(bytes, {
        networkId,
        domain: components.votes,
        panel,
        commitment: ballots.commitment,
        seen: votes.has,
        equivocated: (proof) => components.onEquivocation?.(proof),
      })
      if (judged.action !== 'accept') return judged
      votes.set(judged.value.id, true)
      ballots.record(judged.value)
      return accept
    },
  }
  return {
    topics,
    judgeSealed,
    shelf: {
      get: (batch) => attestations.get(fromHex(batch))?.opened ?? null,
      sealed: (batch) => attestations.get(fromHex(batch))?.sealed ?? null,
      keep(sealed) {
        const opened = open('attestation', networkId, sealed)
        if (typeof opened !== 'string') attestations.set(opened.message.batch, { opened, sealed })
      },
    },
  }
}
