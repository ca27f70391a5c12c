import { SinterError } from '../../protocol/errors.ts'

/**
 * What a consumer lets itself be charged. A job counts from when it is sent until it fails; one that failed has no voucher, and
 * without a voucher nothing is owed. Amounts in base units.
 */
export type Budget = {
  readonly limit: bigint | null
  /** Prices of jobs that are answered or under way. */
  readonly spent: bigint
  /** Throws `SPENDING_LIMIT` when the price does not fit any more. */
  take(price: bigint): void
  giveBack(price: bigint): void
}

/** @param limit the most that is ever spent; null for no limit */
export function createBudget(limit: bigint | null): Budget {
  let spent = 0n
  return {
    limit,
    get spent() {
      return spent
    },
    take(price) {
      if (limit !== null && spent + price > limit)
        throw new SinterError('SPENDING_LIMIT', `${price} base units more would pass the limit of ${limit}`, {
          detail: { spent: spent.toString(), price: price.toString(), limit: limit.toString() },
        })
      spent += price
    },
    giveBack(price) {
      spent -= price
    },
  }
}
