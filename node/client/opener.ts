import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import type { LoadedModel } from '../model/load.ts'
import type { LightClient } from './client.ts'
import type { IterateComponents } from './iterate.ts'
import type { ReceivedBid } from './offer.ts'
import type { PoolInit } from './pool.ts'
import { rankBids, type Scores } from './score.ts'

type Components = {
  client: Pick<LightClient, 'openSessions'>
  scores: Scores
  model: LoadedModel
  /** Runs one piece of work after the other: providers look at two offers of a consumer at once, and no more. */
  inTurn: Turns
}

export type Turns = <T>(work: () => Promise<T>) => Promise<T>

/** A queue of one. */
export function turns(): Turns {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const mine = last.then(work)
    last = mine.catch(() => {})
    return mine
  }
}

type Terms = { ceiling: bigint; scheduler?: Omit<PoolInit, 'ceiling'> }

/** Milliseconds that bids are gathered for at most: a graph that nobody has loaded takes a while. */
const WINDOW_MS = 60_000
/**
 * Offers that are made in that time, one after the other. A provider that is busy with two of ours lets the next pass, and one that had to
 * load the graph first bids on the next.
 */
const OFFERS = 4

/** Opens canonical sessions with several owners out of one offer, the best ranked bids first. */
export function openerOf(
  { client, scores, model, inTurn }: Components,
  { ceiling, scheduler = {} }: Terms,
  { policy, signal }: { policy?: Policy; signal?: AbortSignal },
): IterateComponents['open'] {
  const { accept = () => true, bids: wanted = 3, windowMs = WINDOW_MS, onBids } = scheduler
  const { latencyValue = ceiling / 10_000n, region = '' } = scheduler
  return (count, jobs, exclude) => {
    const eligible = (bids: ReceivedBid[]): ReceivedBid[] =>
      bids.filter((bid) => accept(bid) && !exclude.includes(bid.provider) && !scores.resting(bid.provider))
    const request: Parameters<LightClient['openSessions']>[0] = {
      model,
      priceCeiling: ceiling,
      windowMs: Math.ceil(windowMs / OFFERS),
      canonical: true,
      region,
      exclude,
      ...(signal === undefined ? {} : { signal }),
      ...(policy === undefined ? {} : { policy }),
      ...(onBids === undefined ? {} : { onBids }),
      enough: (bids) => eligible(bids).length >= Math.max(count, wanted - exclude.length),
      choose(bids) {
        const [best] = rankBids(eligible(bids), scores, latencyValue, region)
        if (best === undefined) throw new SinterError('NO_BIDS', `${bids.length} providers bid, and none can be taken`)
        return best
      },
    }
    return inTurn(async () => {
      for (let offer = 1; ; offer++)
        try {
          return await client.openSessions(request, Array<bigint>(count).fill(BigInt(jobs)))
        } catch (error) {
          if (signal?.aborted || errorCode(error) !== 'NO_BIDS' || offer === OFFERS) throw error
        }
    })
  }
}
