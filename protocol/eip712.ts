import { bigintToBytes, concat, fromHex, type Hex, utf8 } from './bytes.ts'
import { keccak256 } from './hash.ts'
import { type Address, recoverAddress, SIGNATURE_BYTES, signDigest } from './signature.ts'

/** What an on-chain signature is bound to besides its content: one chain, one contract. */
export type SigningDomain = { chainId: number; contract: Address }

/** A consumer's acknowledgement of all receipts of a session up to `seq`, redeemable at the escrow. */
export type VoucherFields = { session: Uint8Array; seq: bigint; cumulative: bigint; receipt: Uint8Array }

/** A committee member's vote on a batch. `verdicts` holds one byte per draw. */
export type VoteFields = {
  batch: Uint8Array
  attempt: number
  attestation: Uint8Array
  verdicts: Uint8Array
  digest: Uint8Array
}

/** What a committee member signs: `commitment` is `voteCommitment` of its vote. */
export type CommitmentFields = { batch: Uint8Array; attempt: number; attestation: Uint8Array; commitment: Uint8Array }

const typeHash = (text: string): Uint8Array => keccak256(utf8(text))
const word = (value: bigint): Uint8Array => bigintToBytes(value, 32)

const DOMAIN_TYPE = typeHash('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)')
const VOUCHER_TYPE = typeHash('Voucher(bytes32 session,uint64 seq,uint256 cumulative,bytes32 receiptHash)')
const VOTE_TYPE = typeHash(
  'Vote(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 verdicts,bytes32 digest,bytes32 salt,address voter)',
)
const COMMITMENT_TYPE = typeHash('VoteCommitment(bytes32 batch,uint8 attempt,bytes32 attestation,bytes32 commitment)')
const CANARY_CONSENT_TYPE = typeHash('CanaryConsent(bytes32 batch)')
const NAME = typeHash('Sinter')
const VERSION = typeHash('1')

const addressWord = (address: Hex): Uint8Array => concat(new Uint8Array(12), fromHex(address))

/** EIP-712 digest: keccak256(0x1901 ‖ domain separator ‖ struct hash). */
function typedDigest(domain: SigningDomain, structHash: Uint8Array): Uint8Array {
  const separator = keccak256(
    concat(DOMAIN_TYPE, NAME, VERSION, word(BigInt(domain.chainId)), addressWord(domain.contract)),
  )
  return keccak256(concat(Uint8Array.of(0x19, 0x01), separator, structHash))
}

/** `domain.contract` is the escrow. */
export function voucherDigest(domain: SigningDomain, voucher: VoucherFields): Uint8Array {
  const { session, seq, cumulative, receipt } = voucher
  return typedDigest(domain, keccak256(concat(VOUCHER_TYPE, session, word(seq), word(cumulative), receipt)))
}

/**
 * What a voter signs and publishes before anybody opens a vote: a hash of its vote under a salt (32 bytes). It has the voter in it, so whoever
 * signs another's commitment has nothing to open.
 */
export function voteCommitment(vote: VoteFields, salt: Uint8Array, voter: Address): Uint8Array {
  const { batch, attempt, attestation, verdicts, digest } = vote
  return keccak256(
    concat(VOTE_TYPE, batch, word(BigInt(attempt)), attestation, verdicts, digest, salt, addressWord(voter)),
  )
}

/** `domain.contract` is the votes contract. */
export function commitmentDigest(domain: SigningDomain, fields: CommitmentFields): Uint8Array {
  const { batch, attempt, attestation, commitment } = fields
  return typedDigest(domain, keccak256(concat(COMMITMENT_TYPE, batch, word(BigInt(attempt)), attestation, commitment)))
}

/** A consumer's consent to a canary that was paid; `domain.contract` is the canaries contract. */
export function canaryConsentDigest(domain: SigningDomain, batch: Uint8Array): Uint8Array {
  return typedDigest(domain, keccak256(concat(CANARY_CONSENT_TYPE, batch)))
}

/** A signature in the 64 bytes of ERC-2098: r, then s with the parity in its highest bit. */
export function compactSignature(signature: Uint8Array): { r: Uint8Array; vs: Uint8Array } {
  const vs = signature.slice(32, 64)
  if (signature[64] === 28) vs[0]! |= 0x80
  return { r: signature.slice(0, 32), vs }
}

/** Inverse of `compactSignature`. */
export function expandSignature(r: Uint8Array, vs: Uint8Array): Uint8Array {
  const s = vs.slice()
  s[0]! &= 0x7f
  return concat(r, s, Uint8Array.of(vs[0]! < 0x80 ? 27 : 28))
}

/** Signature in the form contracts take: v is 27 or 28. */
export function signTyped(digest: Uint8Array, privateKey: Uint8Array): Uint8Array {
  const signature = signDigest(digest, privateKey)
  signature[64]! += 27
  return signature
}

/** Address that signed, or null for anything but a well-formed low-s signature with v 27 or 28. `expected` is who probably signed. */
export function recoverTyped(digest: Uint8Array, signature: Uint8Array, expected?: Address): Address | null {
  if (signature.length !== SIGNATURE_BYTES || signature[64]! < 27) return null
  return recoverAddress(digest, concat(signature.subarray(0, 64), Uint8Array.of(signature[64]! - 27)), expected)
}
