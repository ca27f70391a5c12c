import type { Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { fromHex } from '../../protocol/bytes.ts'
import {
  type CommitmentFields,
  commitmentDigest,
  type SigningDomain,
  signTyped,
  type VoucherFields,
  voucherDigest,
} from '../../protocol/eip712.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'

/** Domain of vouchers. */
export const escrowDomain = ({ chainId, contracts }: NetworkFile): SigningDomain => ({
  chainId,
  contract: contracts.escrow,
})

/** Domain of votes. */
export const votesDomain = ({ chainId, contracts }: NetworkFile): SigningDomain => ({
  chainId,
  contract: contracts.votes,
})

/** Domain of consents to canaries. */
export const canariesDomain = ({ chainId, contracts }: NetworkFile): SigningDomain => ({
  chainId,
  contract: contracts.canaries,
})

/** 65 bytes; `key` is the consumer's. */
export function signVoucher(network: NetworkFile, key: Hex, voucher: VoucherFields): Uint8Array {
  return signTyped(voucherDigest(escrowDomain(network), voucher), fromHex(key))
}

/** 65 bytes; `key` is the committee member's operator key. */
export function signCommitment(network: NetworkFile, key: Hex, commitment: CommitmentFields): Uint8Array {
  return signTyped(commitmentDigest(votesDomain(network), commitment), fromHex(key))
}

/** The owner's consent to be a node's payout address, as `NodeRegistry.register` takes it. `payoutKey` is the cold key. */
export async function signPayoutConsent(network: NetworkFile, payoutKey: Hex, operator: Address): Promise<Hex> {
  const payout = privateKeyToAccount(payoutKey)
  return payout.signTypedData({
    domain: {
      name: 'Sinter',
      version: '1',
      chainId: network.chainId,
      verifyingContract: network.contracts.registry,
    },
    types: {
      PayoutConsent: [
        { name: 'operator', type: 'address' },
        { name: 'payout', type: 'address' },
      ],
    },
    primaryType: 'PayoutConsent',
    message: { operator, payout: payout.address },
  })
}
