import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hashStruct, hashTypedData, recoverTypedDataAddress } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { toHex } from '../../protocol/bytes.ts'
import {
  commitmentDigest,
  compactSignature,
  expandSignature,
  recoverTyped,
  type SigningDomain,
  signTyped,
  type VoteFields,
  voteCommitment,
  voucherDigest,
} from '../../protocol/eip712.ts'
import { hash } from '../../protocol/hash.ts'
import { contract, otherForm, person } from '../../protocol/vectors/cases.ts'

const domain: SigningDomain = { chainId: 31337, contract: contract('escrow') }
const TYPES = {
  Voucher: [
    { name: 'session', type: 'bytes32' },
    { name: 'seq', type: 'uint64' },
    { name: 'cumulative', type: 'uint256' },
    { name: 'receiptHash', type: 'bytes32' },
  ],
  VoteCommitment: [
    { name: 'batch', type: 'bytes32' },
    { name: 'attempt', type: 'uint8' },
    { name: 'attestation', type: 'bytes32' },
    { name: 'commitment', type: 'bytes32' },
  ],
} as const
const VOTE = [
  { name: 'batch', type: 'bytes32' },
  { name: 'attempt', type: 'uint8' },
  { name: 'attestation', type: 'bytes32' },
  { name: 'verdicts', type: 'bytes32' },
  { name: 'digest', type: 'bytes32' },
  { name: 'salt', type: 'bytes32' },
  { name: 'voter', type: 'address' },
] as const
const hexOf = (fields: VoteFields) => ({
  batch: toHex(fields.batch),
  attempt: fields.attempt,
  attestation: toHex(fields.attestation),
  verdicts: toHex(fields.verdicts),
  digest: toHex(fields.digest),
})
const viemDomain = ({ chainId, contract: verifyingContract }: SigningDomain) => ({
  name: 'Sinter',
  version: '1',
  chainId,
  verifyingContract,
})

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(toHex)
const domains = fc.record({ chainId: fc.nat(), contract: address })
const uint = (bits: bigint) => fc.bigInt({ min: 0n, max: 2n ** bits - 1n })

test('voucher digests are those of EIP-712 as viem computes them', () => {
  const fields = fc.record({ session: bytes32, seq: uint(64n), cumulative: uint(128n), receipt: bytes32 })
  fc.assert(
    fc.property(domains, fields, (where, voucher) => {
      const { session, seq, cumulative, receipt } = voucher
      const message = { session: toHex(session), seq, cumulative, receiptHash: toHex(receipt) }
      const expected = hashTypedData({ domain: viemDomain(where), types: TYPES, primaryType: 'Voucher', message })
      assert.is(toHex(voucherDigest(where, voucher)), expected)
    }),
  )
})

test('what a voter signs is EIP-712 as viem computes it, of a struct hash', () => {
  const fields = fc.record({
    batch: bytes32,
    attempt: fc.nat(255),
    attestation: bytes32,
    verdicts: bytes32,
    digest: bytes32,
  })
  fc.assert(
    fc.property(domains, fields, bytes32, address, (where, vote, salt, voter) => {
      const data = { ...hexOf(vote), salt: toHex(salt), voter }
      const expected = hashStruct({ types: { Vote: VOTE }, primaryType: 'Vote', data })
      const commitment = voteCommitment(vote, salt, voter)
      assert.is(toHex(commitment), expected)
      const message = { ...hexOf(vote), commitment: expected }
      const typed = { domain: viemDomain(where), types: TYPES, primaryType: 'VoteCommitment', message } as const
      assert.is(toHex(commitmentDigest(where, { ...vote, commitment })), hashTypedData(typed))
    }),
  )
})

test('a signature in 64 bytes is the same signature', () => {
  fc.assert(
    fc.property(bytes32, (digest) => {
      const signature = signTyped(digest, signer.key)
      const { r, vs } = compactSignature(signature)
      assert.equal([r.length, vs.length], [32, 32])
      assert.equal(expandSignature(r, vs), signature)
    }),
  )
})

const voucher = { session: hash('session'), seq: 7n, cumulative: 9n, receipt: hash('receipt') }
const signer = person('consumer')

test('signatures pass between us and viem, both ways', async () => {
  const message = { session: toHex(voucher.session), seq: 7n, cumulative: 9n, receiptHash: toHex(voucher.receipt) }
  const typed = { domain: viemDomain(domain), types: TYPES, primaryType: 'Voucher', message } as const
  const digest = voucherDigest(domain, voucher)
  const ours = toHex(signTyped(digest, signer.key))
  assert.is((await recoverTypedDataAddress({ ...typed, signature: ours })).toLowerCase(), signer.address)
  const theirs = await privateKeyToAccount(toHex(signer.key)).signTypedData(typed)
  assert.is(recoverTyped(digest, Uint8Array.from(Buffer.from(theirs.slice(2), 'hex'))), signer.address)
})

test('every field and both parts of the domain are bound', () => {
  const digests = [
    voucherDigest(domain, voucher),
    voucherDigest({ ...domain, chainId: 1 }, voucher),
    voucherDigest({ ...domain, contract: contract('batches') }, voucher),
    voucherDigest(domain, { ...voucher, session: hash('other') }),
    voucherDigest(domain, { ...voucher, seq: 8n }),
    voucherDigest(domain, { ...voucher, cumulative: 10n }),
    voucherDigest(domain, { ...voucher, receipt: hash('other') }),
  ]
  assert.is(new Set(digests.map(toHex)).size, digests.length)
})

test('only v 27 and 28 and a low s are taken, as the contracts do', () => {
  const digest = voucherDigest(domain, voucher)
  const signature = signTyped(digest, signer.key)
  assert.is(recoverTyped(digest, signature), signer.address)
  for (const v of [0, 1, 26, 29, 255]) {
    const other = Uint8Array.from(signature)
    other[64] = v
    assert.is(recoverTyped(digest, other), null, `v = ${v}`)
  }
  const plain = Uint8Array.of(...signature.subarray(0, 64), signature[64]! - 27)
  const high = otherForm(plain)
  high[64]! += 27
  assert.is(recoverTyped(digest, high), null, 'high s')
  for (const length of [0, 64, 66]) assert.is(recoverTyped(digest, new Uint8Array(length).fill(27)), null)
})

test.run()
