import type { MessageInitShape } from '@bufbuild/protobuf'
import { bigintToBytes, type Hex, toHex } from '../bytes.ts'
import { encode } from '../codec.ts'
import { type SigningDomain, signTyped, voucherDigest } from '../eip712.ts'
import { seal } from '../envelope.ts'
import { type ReceiptSchema, VoucherSchema } from '../gen/sinter_pb.js'
import {
  brokenEnvelopes,
  bytes,
  type Case,
  CHAIN_ID,
  contract,
  type Expectation,
  envelope,
  hex,
  NETWORK_ID,
  OTHER_NETWORK_ID,
  person,
  type Step,
} from './cases.ts'
import { MANIFEST } from './cases-offer.ts'

const consumer = person('consumer')
const provider = person('provider')
const stranger = person('stranger')
const amount = (value: bigint): Uint8Array => bigintToBytes(value, 16)

const SHAPES = [[1, 8, 8], [10]]
type ReceiptInit = Omit<MessageInitShape<typeof ReceiptSchema>, '$typeName' | '$unknown'>

function receipt(changes: Partial<ReceiptInit> = {}): ReceiptInit {
  return {
    session: bytes('session'),
    seq: 1n,
    manifest: MANIFEST,
    inputRoot: bytes('input-root'),
    outputRoot: bytes('output-root'),
    shapes: SHAPES.map((dims) => ({ dims })),
    units: 31_000n,
    price: amount(1_500n),
    cumulative: amount(1_500n),
    previous: new Uint8Array(32),
    ...changes,
  }
}

function receipts(): Case[] {
  const context = {
    provider: provider.address,
    ceiling: '4500',
    expected: {
      session: hex('session'),
      manifest: toHex(MANIFEST),
      inputRoot: hex('input-root'),
      outputRoot: hex('output-root'),
      shapes: SHAPES,
      units: '31000',
      price: '1500',
      policy: 'zk',
      canonical: false,
    },
  }
  const step = (name: string, changes: Partial<ReceiptInit>, expect: Expectation): Step => ({
    name,
    bytes: envelope('receipt', provider.key, receipt(changes)),
    expect,
  })
  const first = seal('receipt', NETWORK_ID, provider.key, receipt())
  const next = { seq: 2n, cumulative: amount(3_000n), previous: first.id }
  const second = seal('receipt', NETWORK_ID, provider.key, receipt(next))
  const third = { seq: 3n, cumulative: amount(4_500n), previous: second.id }
  const fourth = {
    seq: 4n,
    cumulative: amount(6_000n),
    previous: seal('receipt', NETWORK_ID, provider.key, receipt(third)).id,
  }
  return [
    {
      rule: 'receipt',
      name: 'what a first receipt must say',
      context,
      steps: [
        step('a session id of 31 bytes', { session: bytes('session').subarray(1) }, 'reject RECEIPT_FIELDS'),
        step('a price of 15 bytes', { price: amount(1_500n).subarray(1) }, 'reject RECEIPT_FIELDS'),
        step('no previous hash', { previous: new Uint8Array() }, 'reject RECEIPT_FIELDS'),
        step('of another session', { session: bytes('session', 1) }, 'reject RECEIPT_SESSION'),
        step(
          'one unit more than the bid',
          { price: amount(1_501n), cumulative: amount(1_501n) },
          'reject RECEIPT_PRICE',
        ),
        step('a sum that is not the price', { cumulative: amount(1_501n) }, 'reject RECEIPT_CUMULATIVE'),
        step('another model', { manifest: Uint8Array.of(...MANIFEST.subarray(0, 35), 0) }, 'reject RECEIPT_MANIFEST'),
        step('other shapes', { shapes: [{ dims: [1, 8, 8] }, { dims: [1, 10] }] }, 'reject RECEIPT_SHAPES'),
        step('more work', { units: 31_001n }, 'reject RECEIPT_UNITS'),
        step('a policy that there is not', { policy: 'some' }, 'reject RECEIPT_POLICY'),
        step('the default policy spelled out', { policy: 'zk' }, 'reject RECEIPT_POLICY'),
        step('another policy than agreed', { policy: 'open' }, 'reject RECEIPT_POLICY'),
        step('served canonically, which nobody asked for', { canonical: true }, 'reject RECEIPT_POLICY'),
        step('a different input', { inputRoot: bytes('input-root', 1) }, 'reject RECEIPT_INPUT_ROOT'),
        step('a different output', { outputRoot: bytes('output-root', 1) }, 'reject RECEIPT_OUTPUT_ROOT'),
        {
          name: 'signed by somebody else',
          bytes: envelope('receipt', stranger.key, receipt()),
          expect: 'reject RECEIPT_SIGNER',
        },
        {
          name: 'signed for another network',
          bytes: envelope('receipt', provider.key, receipt(), OTHER_NETWORK_ID),
          expect: 'reject RECEIPT_SIGNER',
        },
        ...brokenEnvelopes(first.envelope),
      ],
    },
    {
      rule: 'receipt',
      name: 'receipts follow each other up to the ceiling',
      context,
      steps: [
        step('the second before the first', next, 'reject RECEIPT_SEQUENCE'),
        step('the first', {}, 'accept'),
        step('the first again', {}, 'reject RECEIPT_SEQUENCE'),
        step('the third before the second', third, 'reject RECEIPT_SEQUENCE'),
        step(
          'a second that does not name the first',
          { ...next, previous: new Uint8Array(32) },
          'reject RECEIPT_PREVIOUS',
        ),
        step(
          'a second that starts the sum again',
          { ...next, cumulative: amount(1_500n) },
          'reject RECEIPT_CUMULATIVE',
        ),
        step('the second', next, 'accept'),
        step('the third, which takes the last of the ceiling', third, 'accept'),
        step('a fourth', fourth, 'reject SESSION_CEILING'),
      ],
    },
  ]
}

function vouchers(): Case[] {
  const domain: SigningDomain = { chainId: CHAIN_ID, contract: contract('escrow') }
  const fields = { session: bytes('session'), seq: 7n, cumulative: 10_500n, receipt: bytes('receipt') }
  const sign = (of: SigningDomain, key: Uint8Array, over = fields): Uint8Array =>
    signTyped(voucherDigest(of, over), key)
  const voucher = (signature: Uint8Array, changes: Partial<MessageInitShape<typeof VoucherSchema>> = {}): Hex =>
    toHex(
      encode(VoucherSchema, {
        session: fields.session,
        seq: fields.seq,
        cumulative: amount(fields.cumulative),
        receipt: fields.receipt,
        signature,
        ...changes,
      }),
    )
  const good = sign(domain, consumer.key)
  const low = Uint8Array.from(good)
  low[64]! -= 27
  const step = (name: string, content: Hex, code: string): Step => ({ name, bytes: content, expect: `reject ${code}` })
  return [
    {
      rule: 'voucher',
      name: 'a voucher acknowledges one receipt on one chain at one escrow',
      context: {
        domain,
        signer: consumer.address,
        receipt: { session: hex('session'), seq: '7', cumulative: '10500', hash: hex('receipt') },
      },
      steps: [
        { name: 'the voucher', bytes: voucher(good), expect: 'accept' },
        step(
          'for another session',
          voucher(sign(domain, consumer.key, { ...fields, session: bytes('session', 1) }), {
            session: bytes('session', 1),
          }),
          'VOUCHER_SESSION',
        ),
        step(
          'signed for another session',
          voucher(sign(domain, consumer.key, { ...fields, session: bytes('session', 1) })),
          'VOUCHER_SIGNATURE',
        ),
        step('signed for another chain', voucher(sign({ ...domain, chainId: 1 }, consumer.key)), 'VOUCHER_SIGNATURE'),
        step(
          'signed for another contract',
          voucher(sign({ ...domain, contract: contract('batches') }, consumer.key)),
          'VOUCHER_SIGNATURE',
        ),
        step(
          'for the receipt before',
          voucher(sign(domain, consumer.key, { ...fields, seq: 6n }), { seq: 6n }),
          'VOUCHER_SEQUENCE',
        ),
        step(
          'for one unit less',
          voucher(sign(domain, consumer.key, { ...fields, cumulative: 10_499n }), { cumulative: amount(10_499n) }),
          'VOUCHER_CUMULATIVE',
        ),
        step(
          'for another receipt',
          voucher(sign(domain, consumer.key, { ...fields, receipt: bytes('receipt', 1) }), {
            receipt: bytes('receipt', 1),
          }),
          'VOUCHER_RECEIPT',
        ),
        step('signed by somebody else', voucher(sign(domain, stranger.key)), 'VOUCHER_SIGNATURE'),
        step('not signed', voucher(new Uint8Array()), 'VOUCHER_SIGNATURE'),
        step('signed with v = 0 or 1', voucher(low), 'VOUCHER_SIGNATURE'),
        step('a session id of 31 bytes', voucher(good, { session: fields.session.subarray(1) }), 'VOUCHER_FIELDS'),
        step(
          'an amount of 32 bytes',
          voucher(good, { cumulative: bigintToBytes(fields.cumulative, 32) }),
          'VOUCHER_FIELDS',
        ),
        step(
          'a receipt hash of 33 bytes',
          voucher(good, { receipt: Uint8Array.of(...fields.receipt, 0) }),
          'VOUCHER_FIELDS',
        ),
      ],
    },
  ]
}

export function receiptCases(): Case[] {
  return [...receipts(), ...vouchers()]
}
