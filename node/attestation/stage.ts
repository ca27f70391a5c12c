import { mod } from '../../protocol/field.ts'

/** γ^(first+1), γ^(first+2), …: the weights of the forms from `first` on. */
export function powersOf(gamma: bigint, first: number, count: number): bigint[] {
  let power = 1n
  for (let rest = first, square = gamma; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = mod(power * square)
    square = mod(square * square)
  }
  return Array.from({ length: count }, () => {
    power = mod(power * gamma)
    return power
  })
}

const MASK_BITS = 128

/** Where windows end, as two numbers of 128 bits: bit d of the two together is set when form d ends one. */
export function endMasks(ends: boolean[]): [bigint, bigint] {
  const mask = (from: number): bigint =>
    ends.slice(from, from + MASK_BITS).reduce((sum, end, bit) => (end ? sum | (1n << BigInt(bit)) : sum), 0n)
  return [mask(0), mask(MASK_BITS)]
}
