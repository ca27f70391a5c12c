import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { LoadedModel } from '../model/load.ts'
import type { LightClient } from './client.ts'
import { type Quote, quoteOf } from './offer.ts'

/** Gathers bids on a job that nobody is given, the cheapest first; none when nobody bids. Throws what `LightClient.openSession` throws before it chooses. */
export async function askPrices(
  client: Pick<LightClient, 'openSession'>,
  model: LoadedModel,
  ceiling: bigint,
  { windowMs = 2_000, bids: most, signal }: { windowMs?: number; bids?: number; signal?: AbortSignal },
): Promise<Quote[]> {
  let quotes: Quote[] = []
  const enough = new SinterError('QUOTED', 'prices were asked for, nothing is bought')
  try {
    await client.openSession({
      model,
      jobs: 1n,
      priceCeiling: ceiling,
      windowMs,
      ...(most === undefined ? {} : { enough: (bids) => bids.length >= most }),
      ...(signal === undefined ? {} : { signal }),
      choose(bids) {
        quotes = bids.map(quoteOf)
        throw enough
      },
    })
  } catch (error) {
    // Nobody has a price to tell.
    if (errorCode(error) === 'NO_BIDS') return []
    if (error !== enough) throw error
  }
  return quotes.sort((a, b) =>
    a.price < b.price ? -1 : a.price > b.price ? 1 : a.expectedLatencyMs - b.expectedLatencyMs,
  )
}
