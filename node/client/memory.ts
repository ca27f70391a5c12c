import type { Address } from '../../protocol/signature.ts'
import type { Cursor } from '../chain/cursor.ts'
import { createReceiptBook, type ReceiptBook } from './receipts.ts'
import { createScores, type Scores } from './score.ts'

/** What a consumer still knows after a restart: how providers did, and what became of its receipts. */
export type Memory = {
  scores: Scores
  receipts: ReceiptBook
  /** How far the chain's events are in the receipts; null when they never were. */
  cursor(): Cursor | null
  /** Events up to here are in the receipts. */
  reached(cursor: Cursor): void
  /** Writes what is not written yet. */
  close(): Promise<void>
}

/** A memory that ends with the process. */
export function createMemory(consumer: Address, now: () => number): Memory {
  let cursor: Cursor | null = null
  return {
    scores: createScores(now),
    receipts: createReceiptBook(consumer, { now }),
    cursor: () => cursor,
    reached: (next) => {
      cursor = next
    },
    async close() {},
  }
}
