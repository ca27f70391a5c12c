import { toHex } from '../../protocol/bytes.ts'
import type { VoteFields } from '../../protocol/eip712.ts'
import type { Vote } from '../../protocol/rules/vote.ts'
import type { Address } from '../../protocol/signature.ts'
import { consequence } from '../../protocol/vote.ts'

export type RevealedVote = { voter: Address; vote: VoteFields; signature: Uint8Array }

/** Commitments and revealed votes of batches, as they came in by gossip or from this node itself. */
export type BallotBox = {
  record(vote: Vote): void
  commitment(batch: Uint8Array, attempt: number, voter: Address): Uint8Array | null
  commitments(batch: Uint8Array, attempt: number): number
  revealed(batch: Uint8Array, attempt: number): RevealedVote[]
  /** The largest set of revealed votes that settle together; those the contract would refuse are left out. */
  majority(batch: Uint8Array, attempt: number, draws: number): RevealedVote[]
  forget(batch: Uint8Array): void
}

type Ballot = { commitments: Map<Address, Uint8Array>; reveals: Map<Address, RevealedVote> }

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
  const revealed: BallotBox['revealed'] = (batch, attempt) => [
    ...(ballots.get(key(batch, attempt))?.reveals.values() ?? []),
  ]

  return {
    record(vote) {
      const { commitments, reveals } = ballot(vote.batch, vote.attempt)
      if (vote.kind === 'commitment') {
        if (!commitments.has(vote.voter)) commitments.set(vote.voter, vote.commitment)
      } else reveals.set(vote.voter, { voter: vote.voter, vote: vote.vote, signature: vote.signature })
    },
    commitment: (batch, attempt, voter) => ballots.get(key(batch, attempt))?.commitments.get(voter) ?? null,
    commitments: (batch, attempt) => ballots.get(key(batch, attempt))?.commitments.size ?? 0,
    revealed,
    majority(batch, attempt, draws) {
      const groups = new Map<string, RevealedVote[]>()
      for (const each of revealed(batch, attempt)) {
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
