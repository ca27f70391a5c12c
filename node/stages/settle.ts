import { bytesToBigint, equalBytes, toHex } from '../../protocol/bytes.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { openReceipt } from '../../protocol/rules/receipt.ts'
import { VERDICT_CODES } from '../../protocol/vote.ts'
import type { OpeningInput } from '../chain/steps.ts'
import type { AnchoredBatch } from './book.ts'

/**
 * Sum-tree openings that `settle` needs: one for each distinct receipt whose draw has the verdict `tolerance`, so that the
 * contract knows whose fee goes back. Taken from the attestation, which carries every drawn receipt with its path.
 */
export function toleranceOpenings(
  anchored: AnchoredBatch,
  attestation: Payload<'attestation'>,
  points: bigint[],
  verdicts: Uint8Array,
  networkId: Uint8Array,
): OpeningInput[] {
  const openings: OpeningInput[] = []
  for (const job of attestation.jobs) {
    const judged = job.receipt === undefined ? null : openReceipt(job.receipt, networkId)
    if (judged?.action !== 'accept') continue
    const receipt = judged.value
    const range = anchored.ranges.findIndex(({ session }) => equalBytes(session, receipt.session))
    if (range < 0) continue
    const before = anchored.ranges.slice(0, range).reduce((sum, { fee }) => sum + fee, 0n)
    const start = before + receipt.cumulative - receipt.price - anchored.ranges[range]!.start
    const drawn = points.some(
      (point, draw) => verdicts[draw] === VERDICT_CODES.tolerance && point >= start && point < start + receipt.price,
    )
    if (!drawn) continue
    openings.push({
      range,
      price: receipt.price,
      index: BigInt(job.index),
      receiptHash: toHex(receipt.hash),
      path: job.sumPath.map(({ hash, sum }) => ({ hash: toHex(hash), sum: bytesToBigint(sum) })),
    })
  }
  return openings
}
