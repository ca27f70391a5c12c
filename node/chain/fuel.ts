/** Gas of one batch for its provider, all steps with a committee of 13 (`npm run bench:gas`), and what each range adds. */
export const BATCH_GAS = 1_170_000n
export const RANGE_GAS = 165_000n

export const gasOfBatch = (ranges: number): bigint => BATCH_GAS + RANGE_GAS * BigInt(ranges)

/**
 * How far an account's ether reaches. `low` early enough to do something about it; `empty`: the next batch may be left without its trace,
 * which costs part of its lock.
 */
export type FuelLevel = 'ok' | 'low' | 'empty'

/**
 * @param wei what the account has
 * @param feePerGas wei
 * @param low warn below so many batches. @default 20
 * @param empty @default 2
 */
export function fuelLevel(
  { wei, feePerGas }: { wei: bigint; feePerGas: bigint },
  { low = 20, empty = 2 }: { low?: number; empty?: number } = {},
): { level: FuelLevel; batches: bigint } {
  const each = gasOfBatch(1) * feePerGas
  if (each === 0n) return { level: wei === 0n ? 'empty' : 'ok', batches: wei }
  const batches = wei / each
  return { level: batches < BigInt(empty) ? 'empty' : batches < BigInt(low) ? 'low' : 'ok', batches }
}
