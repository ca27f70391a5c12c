import { type Hex, type PublicClient, parseEventLogs } from 'viem'
import { batchesAbi, seatsAbi } from '../../protocol/contracts/abi.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { chainError } from './errors.ts'

/** Seats that were taken together: those of a verdict. `until` in seconds. */
export type Bench = { id: Hex; voters: Address[]; until: bigint }

/** What the chain's events say of one account since a time (seconds). All throw `CHAIN_…` errors (see errors.ts). */
export type History = {
  /** Ids of the batches that it has anchored, oldest first. */
  batchesOf(provider: Address, since: bigint): Promise<Hex[]>
  /** Benches on which it has sat, oldest first, released ones too. */
  benchesOf(voter: Address, since: bigint): Promise<Bench[]>
  /** Benches that a transaction has made: one for each verdict. */
  benchesIn(transaction: Hex): Promise<Bench[]>
}

type SeatsTaken = { args: { bench: Hex; voters: readonly Hex[]; until: bigint } }
const benchOf = ({ args: { bench, voters, until } }: SeatsTaken): Bench => ({
  id: bench,
  voters: voters.map((each) => each.toLowerCase() as Address),
  until,
})

/** Widest range asked for at once; public endpoints refuse more. */
const CHUNK = 2_000n

export function openHistory(client: PublicClient, { contracts, deployBlock }: NetworkFile): History {
  async function ask<T>(name: string, answer: Promise<T>): Promise<T> {
    return answer.catch((error: unknown) => {
      throw chainError(error, name)
    })
  }

  /** Ranges of blocks from the first whose time is `since` or later to the newest. */
  async function chunks(since: bigint): Promise<{ fromBlock: bigint; toBlock: bigint }[]> {
    const { number: last } = await ask('head', client.getBlock())
    let [low, high] = [BigInt(deployBlock), last]
    while (low < high) {
      const middle = (low + high) / 2n
      const { timestamp } = await ask('blockAt', client.getBlock({ blockNumber: middle }))
      if (timestamp < since) low = middle + 1n
      else high = middle
    }
    const ranges = []
    for (let from = low; from <= last; from += CHUNK) {
      const end = from + CHUNK - 1n
      ranges.push({ fromBlock: from, toBlock: end < last ? end : last })
    }
    return ranges
  }

  async function gather<T>(name: string, since: bigint, look: (range: Range) => Promise<T[]>): Promise<T[]> {
    const all: T[] = []
    for (const range of await chunks(since)) all.push(...(await ask(name, look(range))))
    return all
  }
  type Range = { fromBlock: bigint; toBlock: bigint }

  return {
    batchesOf: (provider, since) =>
      gather('batchesOf', since, async (range) => {
        const filter = {
          address: contracts.batches,
          abi: batchesAbi,
          eventName: 'BatchAnchored',
          strict: true,
        } as const
        const events = await client.getContractEvents({ ...filter, args: { provider }, ...range })
        return events.map(({ args }) => args.batchId)
      }),
    benchesOf: (voter, since) =>
      gather('benchesOf', since, async (range) => {
        const filter = { address: contracts.seats, abi: seatsAbi, eventName: 'SeatsTaken', strict: true } as const
        const events = await client.getContractEvents({ ...filter, ...range })
        return events.map(benchOf).filter(({ voters }) => voters.includes(voter))
      }),
    async benchesIn(hash) {
      const { logs } = await ask('benchesIn', client.getTransactionReceipt({ hash }))
      const ours = logs.filter(({ address }) => address.toLowerCase() === contracts.seats.toLowerCase())
      return parseEventLogs({ abi: seatsAbi, logs: ours, eventName: 'SeatsTaken' }).map(benchOf)
    },
  }
}
