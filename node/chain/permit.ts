import { type Hex, type PublicClient, parseSignature } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { tokenAbi } from '../../protocol/contracts/abi.ts'
import type { NetworkFile } from '../../protocol/network.ts'

/** Arguments of `IEscrow.depositWithPermit`. */
export type PermittedDeposit = readonly [amount: bigint, deadline: bigint, v: number, r: Hex, s: Hex]

const PERMIT = [
  { name: 'owner', type: 'address' },
  { name: 'spender', type: 'address' },
  { name: 'value', type: 'uint256' },
  { name: 'nonce', type: 'uint256' },
  { name: 'deadline', type: 'uint256' },
] as const

/**
 * Without an end: the escrow takes the tokens of its caller only, so nobody gains by keeping the signature, and a deposit that is made again
 * after a crash is the same bytes.
 */
const DEADLINE = 2n ** 256n - 1n

/** The account's permit (ERC-2612) for exactly `amount` to the escrow; null where the token knows no permits. `key` is the account's. */
export async function permitDeposit(
  client: PublicClient,
  { chainId, contracts }: NetworkFile,
  key: Hex,
  amount: bigint,
): Promise<PermittedDeposit | null> {
  const account = privateKeyToAccount(key)
  const token = { address: contracts.token, abi: tokenAbi } as const
  const facts = await Promise.all([
    client.readContract({ ...token, functionName: 'nonces', args: [account.address] }),
    client.readContract({ ...token, functionName: 'eip712Domain' }),
  ]).catch(() => null)
  if (facts === null) return null
  const [nonce, [, name, version]] = facts
  const signature = await account.signTypedData({
    domain: { name, version, chainId, verifyingContract: contracts.token },
    types: { Permit: PERMIT },
    primaryType: 'Permit',
    message: { owner: account.address, spender: contracts.escrow, value: amount, nonce, deadline: DEADLINE },
  })
  const { r, s, yParity } = parseSignature(signature)
  return [amount, DEADLINE, 27 + yParity, r, s]
}
