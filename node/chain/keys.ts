import { type Hex, keccak256 } from 'viem'
import { readVerifyingKey } from '../../circuits/artifacts.ts'
import type { VerifyingKey } from '../../circuits/groth16.ts'
import { CIRCUIT_KINDS } from '../../circuits/signals.ts'
import { bigintToBytes, concat, toHex } from '../../protocol/bytes.ts'
import { CIRCUIT_NUMBERS } from '../../protocol/claims.ts'

/** A key in words, as `Groth16.sol` takes it: α, β, γ, δ, then the points of its signals; imaginary parts first. */
export function keyWords({ vk_alpha_1, vk_beta_2, vk_gamma_2, vk_delta_2, IC }: VerifyingKey): bigint[] {
  const g1 = ([x, y]: string[]): bigint[] => [BigInt(x!), BigInt(y!)]
  const g2 = ([x, y]: string[][]): bigint[] => [x![1]!, x![0]!, y![1]!, y![0]!].map(BigInt)
  return [...g1(vk_alpha_1), ...g2(vk_beta_2), ...g2(vk_gamma_2), ...g2(vk_delta_2), ...IC.flatMap(g1)]
}

const hashOf = (key: VerifyingKey): Hex =>
  keccak256(toHex(concat(...keyWords(key).map((word) => bigintToBytes(word, 32)))))

/** What the referee pins: keccak256 over the words of each circuit's key, in the order of their numbers. */
export async function pinnedKeys(): Promise<Hex[]> {
  const kinds = [...CIRCUIT_KINDS].sort((a, b) => CIRCUIT_NUMBERS[a] - CIRCUIT_NUMBERS[b])
  return Promise.all(kinds.map(async (kind) => hashOf(await readVerifyingKey(kind))))
}
