import { equalBytes, fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import type { Equivocation } from '../../protocol/rules/vote.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Head } from '../chain/beacon.ts'
import type { Chain } from '../chain/chain.ts'
import type { Batch } from '../chain/views.ts'
import type { Committed } from '../chain/votes.ts'
import type { Log } from '../net/log.ts'
import type { BallotBox } from './ballot.ts'
import type { AnchoredBatch } from './book.ts'

/** What stands on chain of a committee's votes, and what could. */
export type Poll = {
  members: Address[]
  recorded: Committed[]
  /** Timestamp (seconds) at which the last commitment was, or can be, handed in. */
  closes: bigint
  /** No commitment can be added any more: votes may be opened. */
  closed: boolean
  /** The close is as deep in the chain as an answer to the beacon has to be. */
  sealed: boolean
  /** Commitments that this node could hand in: how many, whether its own is among them, and whether they are all that is missing. */
  pending: { count: number; own: boolean; all: boolean }
}

export type PollComponents = {
  address: Address
  chain: Pick<
    Chain,
    'ballot' | 'commitments' | 'commitmentSignatures' | 'commitVotes' | 'committee' | 'params' | 'proveEquivocation'
  >
  ballots: BallotBox
  /** Blocks on top of the one that closed a poll before votes are opened: one that a fork reopens could be voted in by whoever has seen them. */
  confirmations: number
  log: Log
}

export type Polls = {
  /** Where a committee at work stands; takes what others have handed in into the ballot box. */
  look(anchored: AnchoredBatch, batch: Batch, deadline: bigint, head: Head): Promise<Poll>
  /** Hands in every commitment that is known here and missing on chain. */
  handIn(id: Hex, batch: Batch, poll: Poll): Promise<void>
  /** Takes a seat of a voter that signed two commitments; for nothing when another node was faster. */
  accuse(proof: Equivocation): Promise<void>
  forget(id: Hex): void
}

export function createPolls({ address, chain, ballots, confirmations, log }: PollComponents): Polls {
  const { voteWindow, commitWindow } = chain.params
  /** By batch: the commitments behind a digest, which are asked for when it changes. */
  const lists = new Map<Hex, { digest: Hex; recorded: Committed[] }>()
  /** By batch: when the poll of an attempt was first seen closed (block). */
  const closings = new Map<Hex, { attempt: number; block: bigint }>()
  const accused = new Set<string>()

  async function recordedOf({ id }: AnchoredBatch, batch: Batch, digest: Hex): Promise<Committed[]> {
    const known = lists.get(id)
    if (known?.digest === digest) return known.recorded
    const recorded = await chain.commitments(id, batch.attempt, batch.anchorBlock)
    lists.set(id, { digest, recorded })
    await compare(id, batch, recorded)
    ballots.adopt(fromHex(id), batch.attempt, fromHex(batch.attestation), recorded)
    return recorded
  }

  /** Whoever told us something else than the chain has signed twice: the other signature is in the transaction. */
  async function compare(id: Hex, { attempt, attestation: digest }: Batch, recorded: Committed[]): Promise<void> {
    const [batch, attestation] = [fromHex(id), fromHex(digest)]
    for (const { voter, commitment: hex, tx } of recorded) {
      const told = ballots.commitment(batch, attempt, voter)
      const commitment = fromHex(hex)
      if (told === null || !equalBytes(told.attestation, attestation)) continue
      if (equalBytes(told.commitment, commitment)) continue
      const signature = (await chain.commitmentSignatures(tx))?.get(hex)
      if (signature === undefined) continue
      await accuse({ voter, batch, attempt, attestation, signed: [told, { attestation, commitment, signature }] })
    }
  }

  async function accuse({ voter, batch, attempt, attestation, signed }: Equivocation): Promise<void> {
    const key = `${toHex(batch)}/${attempt}/${toHex(attestation)}/${voter}`
    const [one, other] = signed
    // Our own second vote is for others to find; what only the chain has told is compared above.
    if (accused.has(key) || voter === address || one!.signature.length === 0) return
    accused.add(key)
    try {
      await chain.proveEquivocation(toHex(batch), attempt, toHex(attestation), one!, other!)
      log.warn({ event: 'equivocation.proven', batch: toHex(batch), attempt, voter }, 'a voter signed two votes')
    } catch (error) {
      // Another node has proven it, or the voter has no free stake now.
      const code = errorCode(error)
      log.warn(
        { event: 'equivocation.found', batch: toHex(batch), voter, code, error: describeError(error) },
        'not proven',
      )
    }
  }

  function sealed(id: Hex, attempt: number, closed: boolean, block: bigint): boolean {
    if (!closed) {
      closings.delete(id)
      return false
    }
    const seen = closings.get(id)
    const since = seen?.attempt === attempt ? seen.block : block
    closings.set(id, { attempt, block: since })
    return block - since >= BigInt(confirmations)
  }

  return {
    async look(anchored, batch, deadline, head) {
      const { id } = anchored
      const [members, ballot] = await Promise.all([chain.committee(id), chain.ballot(id)])
      const begun = ballot.members > 0 && ballot.attempt === batch.attempt
      const recorded = begun ? await recordedOf(anchored, batch, ballot.digest) : []
      const closes =
        begun && ballot.closedAt !== 0 ? BigInt(ballot.closedAt) : deadline - BigInt(voteWindow - commitWindow)
      const closed = (begun && ballot.closedAt !== 0) || head.timestamp > closes
      const missing = members.filter((member) => !recorded.some(({ voter }) => voter === member))
      const known = missing.filter((member) => signed(id, batch, member) !== null)
      const pending = closed
        ? { count: 0, own: false, all: false }
        : { count: known.length, own: known.includes(address), all: known.length === missing.length }
      return { members, recorded, closes, closed, sealed: sealed(id, batch.attempt, closed, head.block), pending }
    },
    async handIn(id, batch, { members, recorded }) {
      const { attempt } = batch
      const commitments = members.flatMap((member, seat) => {
        const own = signed(id, batch, member)
        return own === null || recorded.some(({ voter }) => voter === member) ? [] : [{ seat, ...own }]
      })
      const { gasUsed } = await chain.commitVotes(id, attempt, commitments)
      const count = commitments.length
      log.info({ event: 'votes.committed', batch: id, attempt, count, gas: Number(gasUsed) }, 'commitments handed in')
    },
    accuse,
    forget(id) {
      lists.delete(id)
      closings.delete(id)
    },
  }

  function signed(id: Hex, { attempt, attestation }: Batch, member: Address) {
    const known = ballots.commitment(fromHex(id), attempt, member)
    if (known === null || known.signature.length === 0) return null
    return equalBytes(known.attestation, fromHex(attestation)) ? known : null
  }
}
