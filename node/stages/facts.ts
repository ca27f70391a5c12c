import { fromHex } from '../../protocol/bytes.ts'
import type { ChallengeContext } from '../../protocol/challenge.ts'
import { samplePoints } from '../../protocol/draw.ts'
import type { BatchFacts, Sample } from '../attestation/place.ts'
import type { Chain } from '../chain/chain.ts'
import type { Batch } from '../chain/views.ts'
import type { AnchoredBatch } from './book.ts'

type Reads = Pick<Chain, 'audits' | 'beaconValue' | 'network' | 'params'>

/** What is drawn of a batch whose time for audits is over, or null while its beacon slot is not recorded. */
export async function sampleOf(chain: Reads, anchored: AnchoredBatch, batch: Batch): Promise<Sample | null> {
  const [beacon, audits] = await Promise.all([chain.beaconValue(batch.sampleSlot), chain.audits(anchored.id)])
  if (beacon === null) return null
  const audited = audits.map(({ point }) => point)
  const drawn = samplePoints(fromHex(anchored.id), fromHex(beacon), anchored.total, chain.params.draws)
  return { points: [...drawn, ...audited], audited }
}

/** All that prover and verifiers take from the chain about a traced batch, or null while a beacon slot is not recorded. */
export async function factsOf(chain: Reads, anchored: AnchoredBatch, batch: Batch): Promise<BatchFacts | null> {
  const sample = await sampleOf(chain, anchored, batch)
  const beacon = batch.challengeSlot === 0n ? null : await chain.beaconValue(batch.challengeSlot)
  if (sample === null || beacon === null) return null
  const challenge: ChallengeContext = {
    chainId: chain.network.chainId,
    batches: chain.network.contracts.batches,
    batch: fromHex(anchored.id),
    provider: anchored.provider,
    traceRoot: fromHex(batch.traceRoot),
    beacon: fromHex(beacon),
  }
  return { challenge, root: fromHex(anchored.root), total: anchored.total, ranges: anchored.ranges, ...sample }
}
