import type { Hex } from 'viem'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'

/**
 * `IEscrow.Opening`: a session that its consumer has signed for and somebody else opens. `signer` is the voucher key, `nonce` the consumer's
 * `sessionNonce`; `expiry` of the session and `deadline` of the signature in seconds.
 */
export type Opening = {
  consumer: Address
  provider: Address
  ceiling: bigint
  expiry: bigint
  signer: Address
  nonce: bigint
  deadline: bigint
}

const OPEN_SESSION = [
  { name: 'consumer', type: 'address' },
  { name: 'provider', type: 'address' },
  { name: 'ceiling', type: 'uint256' },
  { name: 'expiry', type: 'uint64' },
  { name: 'signer', type: 'address' },
  { name: 'nonce', type: 'uint256' },
  { name: 'deadline', type: 'uint256' },
] as const

/** What a wallet is asked to sign: EIP-712 typed data, as `signTypedData` of viem and `eth_signTypedData_v4` take it. */
export type OpeningToSign = {
  domain: { name: string; version: string; chainId: number; verifyingContract: Hex }
  types: { OpenSession: typeof OPEN_SESSION }
  primaryType: 'OpenSession'
  message: Opening
}

export const openingToSign = (network: NetworkFile, message: Opening): OpeningToSign => ({
  domain: {
    name: 'Sinter',
    version: '1',
    chainId: network.chainId,
    verifyingContract: network.contracts.escrow,
  },
  types: { OpenSession: OPEN_SESSION },
  primaryType: 'OpenSession',
  message,
})

/**
 * An account that pays without being the key of a client: a contract wallet, or a key that is kept elsewhere. Its money lies in the escrow
 * already; the client's key signs the vouchers and pays the gas.
 */
export type Payer = {
  address: Address
  /** The account's consent to one session: a signature of its key, or whatever its contract takes by ERC-1271. */
  sign(opening: OpeningToSign): Promise<Hex>
}
