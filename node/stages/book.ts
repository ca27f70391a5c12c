import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import type { Address } from '../../protocol/signature.ts'
import type { BatchRange } from '../attestation/place.ts'
import type { BatchEvent } from '../chain/watch.ts'

/** A batch as its anchoring event states it; what changes later is asked of the chain. */
export type AnchoredBatch = {
  id: Hex
  provider: Address
  root: Hex
  total: bigint
  block: bigint
  ranges: BatchRange[]
}

/** Every batch of the network that is not finished, by id, built from the chain's events. Applying an event twice changes nothing. */
export type BatchBook = {
  apply(event: BatchEvent): void
  get(id: Uint8Array | Hex): AnchoredBatch | null
  open(): AnchoredBatch[]
  /** Forgets what the blocks from `block` on had brought: they were undone. What is mined again comes again. */
  undo(block: bigint): void
  /** Block of the oldest batch that is not finished, null when there is none. */
  oldest(): bigint | null
  /** Stops following a batch for which nothing is left to do. */
  close(id: Hex): void
}

export function createBatchBook(): BatchBook {
  const batches = new Map<Hex, AnchoredBatch>()
  const ranges = new Map<Hex, BatchRange[]>()
  const closed = new Set<Hex>()
  const rangesOf = (id: Hex): BatchRange[] => {
    const known = ranges.get(id)
    if (known) return known
    const fresh: BatchRange[] = []
    ranges.set(id, fresh)
    return fresh
  }

  return {
    apply(event) {
      if ('batchId' in event.args && closed.has(event.args.batchId)) return
      if (event.name === 'RangeAnchored') {
        const { batchId, index, session, signer, fromSeq, toSeq, cumulative, fee } = event.args
        rangesOf(batchId)[Number(index)] = {
          session: fromHex(session),
          signer,
          fromSeq,
          toSeq,
          start: cumulative - fee,
          fee,
        }
      }
      if (event.name === 'BatchAnchored') {
        const { batchId, provider, root, total } = event.args
        batches.set(batchId, { id: batchId, provider, root, total, block: event.block, ranges: rangesOf(batchId) })
      }
    },
    get: (id) => batches.get(typeof id === 'string' ? id : toHex(id)) ?? null,
    open: () => [...batches.values()],
    undo(block) {
      for (const [id, batch] of batches)
        if (batch.block >= block) {
          batches.delete(id)
          ranges.delete(id)
        }
    },
    oldest: () =>
      [...batches.values()].reduce<bigint | null>((a, { block }) => (a === null || block < a ? block : a), null),
    close: (id) => {
      closed.add(id)
      batches.delete(id)
      ranges.delete(id)
    },
  }
}
