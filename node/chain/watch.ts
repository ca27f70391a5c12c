import { setTimeout as sleep } from 'node:timers/promises'
import type { Abi, GetContractEventsReturnType, Hex, PublicClient } from 'viem'
import { batchesAbi, escrowAbi } from '../../protocol/contracts/abi.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { chainError } from './errors.ts'
import { lowerAddresses } from './values.ts'

type EventOf<L> = L extends { eventName: infer N; args: infer A } ? { name: N; args: A } & Place : never
type Place = { block: bigint; logIndex: number; tx: Hex }

/** A decoded event of `Batches`: switch on `name`, and `args` narrows. */
export type BatchEvent = EventOf<GetContractEventsReturnType<typeof batchesAbi, undefined, true>[number]>
/** A decoded event of `Escrow`. */
export type EscrowEvent = EventOf<GetContractEventsReturnType<typeof escrowAbi, undefined, true>[number]>

/**
 * @param from first block to read. @default the network's deploy block
 * @param confirmations blocks that must lie on top of an event's block. @default 0
 * @param pollMs pause between two looks at the chain. @default 250
 * @param onCursor told the first block not yet handled, after everything before it was; persist it and pass it as `from`.
 * @param onError told of every failed look or handler; the same events come again after the pause.
 */
export type WatchOptions = {
  from?: bigint
  confirmations?: number
  pollMs?: number
  onCursor?: (next: bigint) => void | Promise<void>
  onError?: (error: unknown) => void
}

/** `stop` resolves when the handler that may be running has ended. */
export type Watcher = { stop(): Promise<void>; cursor(): bigint }

/** Widest range asked for at once; public endpoints refuse more. */
const CHUNK = 2_000n

type Source<A extends Abi> = { client: PublicClient; abi: A; address: Hex; deployBlock: number }

/**
 * Hands every event to `handler` in chain order, one at a time, at least once: after a crash or a failure the events of the
 * block in hand come again, so handlers are idempotent.
 */
function watchContract<E>(
  source: Source<Abi>,
  handler: (event: E) => void | Promise<void>,
  options: WatchOptions = {},
): Watcher {
  const { confirmations = 0, pollMs = 250, onCursor, onError } = options
  let cursor = options.from ?? BigInt(source.deployBlock)
  const abort = new AbortController()

  async function look(): Promise<void> {
    const head = (await source.client.getBlockNumber()) - BigInt(confirmations)
    while (cursor <= head && !abort.signal.aborted) {
      const toBlock = head - cursor < CHUNK ? head : cursor + CHUNK - 1n
      const { address, abi } = source
      const logs = await source.client.getContractEvents({ address, abi, fromBlock: cursor, toBlock, strict: true })
      for (const log of logs) {
        if (abort.signal.aborted) return
        if (log.blockNumber > cursor) await advance(log.blockNumber)
        const { eventName: name, args, blockNumber: block, logIndex, transactionHash: tx } = log
        await handler({ name, args: lowerAddresses(args), block, logIndex, tx } as E)
      }
      await advance(toBlock + 1n)
    }
  }

  async function advance(next: bigint): Promise<void> {
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
      await sleep(pollMs, undefined, { signal: abort.signal }).catch(() => undefined)
    }
  }

  const done = loop()
  return {
    cursor: () => cursor,
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
