import { type Abi, decodeFunctionData, encodeFunctionData, type Hex, type PublicClient } from 'viem'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { votesAbi } from '../../protocol/contracts/abi.ts'
import { compactSignature, expandSignature } from '../../protocol/eip712.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { chainError } from './errors.ts'
import type { Done } from './steps.ts'
import type { Transactor } from './transact.ts'
import { lowerAddresses } from './values.ts'

/** What the chain keeps of the commitments of a batch's latest attempt; `members` 0 before the first. Bit i of `missing`: seat i has not committed. */
export type BallotState = { digest: Hex; attempt: number; members: number; closedAt: number; missing: bigint }

/** A commitment on chain, and the transaction that brought it. */
export type Committed = { voter: Address; commitment: Hex; tx: Hex }

/** A commitment and its voter's signature, 65 bytes. */
export type SignedHash = { commitment: Uint8Array; signature: Uint8Array }

/** Commitments of votes. All throw `CHAIN_…` errors (see errors.ts), changes `CHAIN_READ_ONLY` without a key. */
export type Polls = {
  ballot(batchId: Hex): Promise<BallotState>
  /** Commitments of an attempt in the order in which they came, from the chain's events. */
  commitments(batchId: Hex, attempt: number, sinceBlock: number): Promise<Committed[]>
  /** The signatures that a transaction handed in, by commitment; null when it did not call the contract itself. */
  commitmentSignatures(transaction: Hex): Promise<Map<Hex, Uint8Array> | null>
  /** `seat` is the voter's place in the committee. */
  commitVotes(batchId: Hex, attempt: number, commitments: ({ seat: number } & SignedHash)[]): Promise<Done>
  proveEquivocation(batchId: Hex, attempt: number, attestation: Hex, one: SignedHash, other: SignedHash): Promise<Done>
}

export function openPolls(client: PublicClient, network: NetworkFile, transactor: Transactor | null): Polls {
  const votes = { address: network.contracts.votes, abi: votesAbi } as const

  async function ask<T>(name: string, answer: Promise<T>): Promise<T> {
    try {
      return lowerAddresses(await answer)
    } catch (error) {
      throw chainError(error, name)
    }
  }
  async function send(functionName: string, args: unknown[], urgent: boolean): Promise<Done> {
    if (transactor === null) throw new SinterError('CHAIN_READ_ONLY', 'this chain was opened without a key')
    const data = encodeFunctionData({ abi: votesAbi as Abi, functionName, args })
    const receipt = await transactor.send({ to: votes.address, data, action: functionName, urgent })
    return { tx: receipt.transactionHash, block: receipt.blockNumber, gasUsed: receipt.gasUsed }
  }
  const compact = ({ commitment, signature }: SignedHash): { commitment: Hex; r: Hex; vs: Hex } => {
    const { r, vs } = compactSignature(signature)
    return { commitment: toHex(commitment), r: toHex(r), vs: toHex(vs) }
  }

  return {
    ballot: (batchId) => ask('ballot', client.readContract({ ...votes, functionName: 'ballotOf', args: [batchId] })),
    async commitments(batchId, attempt, sinceBlock) {
      const events = await ask(
        'commitments',
        client.getContractEvents({
          ...votes,
          eventName: 'VotesCommitted',
          args: { batchId },
          fromBlock: BigInt(sinceBlock),
          strict: true,
        }),
      )
      return events
        .filter(({ args }) => args.attempt === attempt)
        .flatMap(({ args, transactionHash: tx }) => args.commitments.map((each) => ({ ...each, tx })))
    },
    async commitmentSignatures(transaction) {
      const { to, input } = await ask('commitmentSignatures', client.getTransaction({ hash: transaction }))
      if (to?.toLowerCase() !== votes.address.toLowerCase()) return null
      const { functionName, args } = decodeFunctionData({ abi: votesAbi, data: input })
      if (functionName !== 'commitVotes') return null
      return new Map(
        args[2].map(({ commitment, r, vs }) => [commitment, expandSignature(fromHex(r), fromHex(vs))] as const),
      )
    },
    commitVotes: (batchId, attempt, commitments) =>
      // Late, it leaves a voter out.
      send('commitVotes', [batchId, attempt, commitments.map((each) => ({ seat: each.seat, ...compact(each) }))], true),
    proveEquivocation: (batchId, attempt, attestation, one, other) =>
      send('proveEquivocation', [batchId, attempt, attestation, compact(one), compact(other)], false),
  }
}
