import { equalBytes, fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { type VoteFields, voteCommitment } from '../../protocol/eip712.ts'
import type { SignedCommitment, Vote } from '../../protocol/rules/vote.ts'
import type { Address } from '../../protocol/signature.ts'
import { consequence } from '../../protocol/vote.ts'

export type RevealedVote = { voter: Address; vote: VoteFields; salt: Uint8Array }
/** A commitment that stands on chain. */
export type Recorded = { voter: Address; commitment: Hex }

/** Commitments and revealed votes of batches, as they came in by gossip, from the chain or from this node itself. */
export type BallotBox = {
  record(vote: Vote): void
  /** Takes what stands on chain: what counts of a voter that said something else elsewhere. */
  adopt(batch: Uint8Array, attempt: number, attestation: Uint8Array, recorded: Recorded[]): void
  /** Of the attestation heard of last. The signature is empty where only the chain has told. */
  commitment(batch: Uint8Array, attempt: number, voter: Address): SignedCommitment | null
  /** Commitments with their signatures, by voter. */
  commitments(batch: Uint8Array, attempt: number): ReadonlyMap<Address, SignedCommitment>
  revealed(batch: Uint8Array, attempt: number): RevealedVote[]
  /**
   * The largest set of revealed votes that settle together, in the order of `recorded`; those the contract would refuse are left out, and
   * so are those whose commitment does not stand on chain.
   */
  majority(batch: Uint8Array, attempt: number, draws: number, recorded: Recorded[]): RevealedVote[]
  forget(batch: Uint8Array): void
}

type Ballot = { commitments: Map<Address, SignedCommitment>; reveals: Map<Address, RevealedVote> }

const UNSIGNED = new Uint8Array()

export function createBallotBox(): BallotBox {
  const ballots = new Map<string, Ballot>()
  const key = (batch: Uint8Array, attempt: number): string => `${toHex(batch)}/${attempt}`
  const ballot = (batch: Uint8Array, attempt: number): Ballot => {
    const known = ballots.get(key(batch, attempt))
    if (known) return known
    const fresh: Ballot = { commitments: new Map(), reveals: new Map() }
    ballots.set(key(batch, attempt), fresh)
    return fresh
  }
  const committed = (batch: Uint8Array, attempt: number): ReadonlyMap<Address, SignedCommitment> =>
    ballots.get(key(batch, attempt))?.commitments ?? new Map()

  return {
    record(vote) {
      const { commitments, reveals } = ballot(vote.batch, vote.attempt)
      if (vote.kind === 'reveal') {
        reveals.set(vote.voter, { voter: vote.voter, vote: vote.vote, salt: vote.salt })
        return
      }
      const { attestation, commitment, signature } = vote
      const known = commitments.get(vote.voter)
      if (known === undefined || !equalBytes(known.attestation, attestation))
        commitments.set(vote.voter, { attestation, commitment, signature })
    },
    adopt(batch, attempt, attestation, recorded) {
      const { commitments } = ballot(batch, attempt)
      for (const { voter, commitment: hex } of recorded) {
        const commitment = fromHex(hex)
        const known = commitments.get(voter)
        if (known === undefined || !equalBytes(known.commitment, commitment))
          commitments.set(voter, { attestation, commitment, signature: UNSIGNED })
      }
    },
    commitment: (batch, attempt, voter) => committed(batch, attempt).get(voter) ?? null,
    commitments: committed,
    revealed: (batch, attempt) => [...(ballots.get(key(batch, attempt))?.reveals.values() ?? [])],
    majority(batch, attempt, draws, recorded) {
      const reveals = ballots.get(key(batch, attempt))?.reveals
      const groups = new Map<string, RevealedVote[]>()
      for (const { voter, commitment } of recorded) {
        const each = reveals?.get(voter)
        if (each === undefined || toHex(voteCommitment(each.vote, each.salt, voter)) !== commitment) continue
        const group = consequence(each.vote.verdicts, draws)
        if (group !== null) groups.set(group, [...(groups.get(group) ?? []), each])
      }
      return [...groups.values()].sort((a, b) => b.length - a.length)[0] ?? []
    },
    forget(batch) {
      for (const each of ballots.keys()) if (each.startsWith(`${toHex(batch)}/`)) ballots.delete(each)
    },
  }
}
