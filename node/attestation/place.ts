import { bytesToBigint, equalBytes } from '../../protocol/bytes.ts'
import type { ChallengeContext } from '../../protocol/challenge.ts'
import { recoverTyped, type SigningDomain, voucherDigest } from '../../protocol/eip712.ts'
import type { JobAttestation } from '../../protocol/gen/sinter_pb.js'
import { openReceipt, type Receipt } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'
import { verifySumPath } from '../../protocol/sum-tree.ts'
import { check, fail } from './faults.ts'

/** One anchored range: the receipts (fromSeq … toSeq) of a session, worth `fee`, after `start` was already anchored. */
export type BatchRange = {
  session: Uint8Array
  /** The voucher key of the session. */
  signer: Address
  fromSeq: bigint
  toSeq: bigint
  start: bigint
  fee: bigint
}

/** What is drawn of a batch. */
export type Sample = {
  /** In [0, total): k that the beacon drew, then those that consumers named. */
  points: bigint[]
  /** Those that consumers named. */
  audited: bigint[]
}

/** Whether one of the points lies in a receipt's part of the sum. */
export const holds = ({ start, end }: { start: bigint; end: bigint }, points: bigint[]): boolean =>
  points.some((point) => point >= start && point < end)

/** A batch as the chain has it, with what was drawn of it. */
export type BatchFacts = Sample & {
  challenge: ChallengeContext
  root: Uint8Array
  total: bigint
  ranges: BatchRange[]
}

export type PlacedReceipt = { receipt: Receipt; start: bigint; end: bigint }

/**
 * Step 1 of DESIGN §5.6: the receipt is the provider's, acknowledged by the range's voucher key, and stands in the sum tree at the
 * one place its own sums give it. So no receipt can stand in for another that was left out.
 */
export function placeReceipt(
  facts: BatchFacts,
  job: JobAttestation,
  networkId: Uint8Array,
  vouchers: SigningDomain,
): PlacedReceipt {
  if (job.receipt === undefined) return fail('RECEIPT_MALFORMED', 'missing')
  const judged = openReceipt(job.receipt, networkId)
  if (judged.action !== 'accept') return fail('RECEIPT_MALFORMED', judged.code)
  const receipt = judged.value
  check(receipt.provider === facts.challenge.provider, 'RECEIPT_SIGNER', receipt.provider)
  const at = facts.ranges.findIndex(({ session }) => equalBytes(session, receipt.session))
  const range = facts.ranges[at]
  if (range === undefined || receipt.seq < range.fromSeq || receipt.seq > range.toSeq) return fail('RECEIPT_RANGE')
  const { session, seq, cumulative, hash, price } = receipt
  const signer = recoverTyped(voucherDigest(vouchers, { session, seq, cumulative, receipt: hash }), job.voucher)
  check(signer === range.signer, 'VOUCHER_SIGNATURE')
  const path = job.sumPath.map((step) => ({
    hash: step.hash,
    sum: step.sum.length === 16 ? bytesToBigint(step.sum) : -1n,
  }))
  const placed = verifySumPath(facts.root, facts.total, { receiptHash: hash, price }, job.index, path)
  if (placed === null) return fail('SUM_PATH')
  const before = facts.ranges.slice(0, at).reduce((sum, { fee }) => sum + fee, 0n)
  const start = before + cumulative - price - range.start
  check(placed.start === start && start >= before && start + price <= before + range.fee, 'RECEIPT_POSITION')
  return { receipt, start, end: start + price }
}
