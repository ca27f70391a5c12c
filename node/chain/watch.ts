import { type Abi, BlockNotFoundError, type GetContractEventsReturnType, type Hex, type PublicClient } from 'viem'
import { batchesAbi, escrowAbi } from '../../protocol/contracts/abi.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { sleep } from '../timers.ts'
import type { Cursor } from './cursor.ts'
import { chainError } from './errors.ts'
import { afterFork, withMark } from './marks.ts'
import { lowerAddresses } from './values.ts'

type EventOf<L> = L extends { eventName: infer N; args: infer A } ? { name: N; args: A } & Place : never
type Place = { block: bigint; logIndex: number; tx: Hex }

/** A decoded event of `Batches`: switch on `name`, and `args` narrows. */
export type BatchEvent = EventOf<GetContractEventsReturnType<typeof batchesAbi, undefined, true>[number]>
/** A decoded event of `Escrow`. */
export type EscrowEvent = EventOf<GetContractEventsReturnType<typeof escrowAbi, undefined, true>[number]>

/**
 * @param from where to begin, as `onCursor` gave it. @default the network's deploy block
 * @param confirmations blocks that must lie on top of an event's block. @default 0
 * @param pollMs pause between two looks at the chain. @default 250
 * @param onCursor told how far everything was handled; persist it and pass it as `from`.
 * @param onFork told that the blocks from this one on were undone, before their successors' events come.
 * @param onError told of every failed look or handler; the same events come again after the pause.
 */
export type WatchOptions = {
  from?: Cursor
  confirmations?: number
  pollMs?: number
  onCursor?: (cursor: Cursor) => void | Promise<void>
  onFork?: (from: bigint) => void | Promise<void>
  onError?: (error: unknown) => void
}

/** `stop` resolves when the handler that may be running has ended. */
export type Watcher = { stop(): Promise<void>; cursor(): bigint }

/** Widest range asked for at once; public endpoints refuse more. */
const CHUNK = 2_000n
/** Blocks back to which a fork is found exactly, or nearly so; a deeper one is read from the beginning. */
const MARK_DEPTH = 8_192n

type Source<A extends Abi> = { client: PublicClient; abi: A; address: Hex; deployBlock: number }
type Head = { number: bigint; hash: Hex; parentHash: Hex }

/**
 * Hands every event to `handler` in chain order, one at a time, at least once: after a crash, a failure or a reorganisation the
 * events of the blocks in hand come again, so handlers are idempotent.
 */
function watchContract<E>(
  source: Source<Abi>,
  handler: (event: E) => void | Promise<void>,
  options: WatchOptions = {},
): Watcher {
  const { confirmations = 0, pollMs = 250, onCursor, onFork, onError } = options
  const { client, address, abi } = source
  const start = BigInt(source.deployBlock)
  let cursor: Cursor = options.from ?? { next: start, marks: [] }
  const abort = new AbortController()

  async function blockAt(blockNumber: bigint): Promise<Head | null> {
    return client.getBlock({ blockNumber }).catch((error: unknown) => {
      if (error instanceof BlockNotFoundError) return null
      throw error
    })
  }

  /** Goes back to the last block that is still there. */
  async function checkMarks(head: Head): Promise<void> {
    const last = cursor.marks.at(-1)
    if (last === undefined || last.hash === head.hash || last.hash === head.parentHash) return
    const hashes: (Hex | null)[] = cursor.marks.map(() => null)
    for (let i = cursor.marks.length - 1; i >= 0; i--) {
      const { number, hash } = cursor.marks[i]!
      if (number > head.number) continue
      hashes[i] = number === head.number ? head.hash : ((await blockAt(number))?.hash ?? null)
      if (hashes[i] === hash) break
    }
    const { next, marks } = afterFork(cursor.marks, hashes, start)
    if (next === null || next >= cursor.next) return
    await onFork?.(next)
    await advance({ next, marks })
  }

  async function look(): Promise<void> {
    const head = (await client.getBlock()) as Head
    await checkMarks(head)
    const last = head.number - BigInt(confirmations)
    while (cursor.next <= last && !abort.signal.aborted) {
      const toBlock = last - cursor.next < CHUNK ? last : cursor.next + CHUNK - 1n
      const end = toBlock === head.number ? head : await blockAt(toBlock)
      const logs = await client.getContractEvents({ address, abi, fromBlock: cursor.next, toBlock, strict: true })
      // A fork between the two questions: what was read may be of either side.
      if (end === null || (await blockAt(toBlock))?.hash !== end.hash) return
      for (const log of logs) {
        if (abort.signal.aborted) return
        if (log.blockNumber > cursor.next) await advance({ ...cursor, next: log.blockNumber })
        const { eventName: name, args, blockNumber: block, logIndex, transactionHash: tx } = log
        await handler({ name, args: lowerAddresses(args), block, logIndex, tx } as E)
      }
      const marks = withMark(cursor.marks, { number: toBlock, hash: end.hash }, MARK_DEPTH)
      await advance({ next: toBlock + 1n, marks })
    }
  }

  async function advance(next: Cursor): Promise<void> {
    await onCursor?.(next)
    cursor = next
  }

  async function loop(): Promise<void> {
    while (!abort.signal.aborted) {
      try {
        await look()
      } catch (error) {
        if (!abort.signal.aborted) onError?.(chainError(error, 'watch'))
      }
      await sleep(pollMs, { signal: abort.signal }).catch(() => undefined)
    }
  }

  const done = loop()
  return {
    cursor: () => cursor.next,
    async stop() {
      abort.abort()
      await done
    },
  }
}

export function watchBatches(
  client: PublicClient,
  { contracts, deployBlock }: NetworkFile,
  handler: (event: BatchEvent) => void | Promise<void>,
  options?: WatchOptions,
): Watcher {
  return watchContract({ client, abi: batchesAbi as Abi, address: contracts.batches, deployBlock }, handler, options)
}

export function watchEscrow(
  client: PublicClient,
  { contracts, deployBlock }: NetworkFile,
  handler: (event: EscrowEvent) => void | Promise<void>,
  options?: WatchOptions,
): Watcher {
  return watchContract({ client, abi: escrowAbi as Abi, address: contracts.escrow, deployBlock }, handler, options)
}
