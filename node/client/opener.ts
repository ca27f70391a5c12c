import { SinterError } from '../../protocol/errors.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import type { LoadedModel } from '../model/load.ts'
import type { LightClient } from './client.ts'
import type { IterateComponents } from './iterate.ts'
import type { ReceivedBid } from './offer.ts'
import type { PoolInit } from './pool.ts'
import { rankBids, type Scores } from './score.ts'

type Components = { client: Pick<LightClient, 'openSessions'>; scores: Scores; model: LoadedModel }
type Terms = { ceiling: bigint; scheduler?: Omit<PoolInit, 'ceiling'> }

/** Milliseconds that bids are gathered for; a graph that nobody has loaded takes a while. */
const WINDOW_MS = 10_000

/** Opens canonical sessions with several owners out of one offer, the best ranked bids first. */
export function openerOf(
  { client, scores, model }: Components,
  { ceiling, scheduler = {} }: Terms,
  { policy }: { policy?: Policy },
): IterateComponents['open'] {
  const { accept = () => true, bids: wanted = 3, windowMs = WINDOW_MS, onBids } = scheduler
  const { latencyValue = ceiling / 10_000n, region = '' } = scheduler
  return (count, jobs, exclude) => {
    const eligible = (bids: ReceivedBid[]): ReceivedBid[] =>
      bids.filter((bid) => accept(bid) && !exclude.includes(bid.provider) && !scores.resting(bid.provider))
    return client.openSessions(
      {
        model,
        priceCeiling: ceiling,
        windowMs,
        canonical: true,
        region,
        exclude,
        ...(policy === undefined ? {} : { policy }),
        ...(onBids === undefined ? {} : { onBids }),
        enough: (bids) => eligible(bids).length >= Math.max(count, wanted - exclude.length),
        choose(bids) {
          const [best] = rankBids(eligible(bids), scores, latencyValue, region)
          if (best === undefined)
            throw new SinterError('NO_BIDS', `${bids.length} providers bid, and none can be taken`)
          return best
        },
      },
      Array<bigint>(count).fill(BigInt(jobs)),
    )
  }
}
