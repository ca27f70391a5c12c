/** Fees of one attempt at a transaction, wei per gas (EIP-1559). */
export type Fees = { maxFeePerGas: bigint; maxPriorityFeePerGas: bigint }

/** What the chain asks now: the next block's base fee, and the fees that a wallet would offer. */
export type Market = Fees & { baseFeePerGas: bigint }

/** Pools take a replacement only when both fees are a tenth higher (geth's `--txpool.pricebump`); an eighth leaves room for rounding. */
const RAISE_NUM = 9n
const RAISE_DEN = 8n

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)
const raised = (fee: bigint): bigint => (fee * RAISE_NUM + RAISE_DEN - 1n) / RAISE_DEN

/**
 * Fees of a first attempt, or null when the ceiling is below the base fee: what is signed then would only wait, and could be mined
 * long after its reason is gone.
 * @param ceiling most that is paid per gas (wei), null for no limit
 */
export function firstFees(market: Market, ceiling: bigint | null): Fees | null {
  if (ceiling === null) return { maxFeePerGas: market.maxFeePerGas, maxPriorityFeePerGas: market.maxPriorityFeePerGas }
  if (ceiling < market.baseFeePerGas) return null
  const maxFeePerGas = min(market.maxFeePerGas, ceiling)
  return { maxFeePerGas, maxPriorityFeePerGas: min(market.maxPriorityFeePerGas, maxFeePerGas) }
}

/** Fees that replace an attempt that is stuck, or null when the ceiling does not leave room for what pools ask of a replacement. */
export function raisedFees(last: Fees, market: Market, ceiling: bigint | null): Fees | null {
  const maxFeePerGas = max(raised(last.maxFeePerGas), market.maxFeePerGas)
  const maxPriorityFeePerGas = max(raised(last.maxPriorityFeePerGas), market.maxPriorityFeePerGas)
  if (ceiling === null || maxFeePerGas <= ceiling) return { maxFeePerGas, maxPriorityFeePerGas }
  const least = raised(last.maxFeePerGas)
  return ceiling < least ? null : { maxFeePerGas: ceiling, maxPriorityFeePerGas: min(maxPriorityFeePerGas, ceiling) }
}
