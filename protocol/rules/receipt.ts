import { bytesToBigint, equalBytes } from '../bytes.ts'
import { type Opened, openEnvelope } from '../envelope.ts'
import type { Envelope } from '../gen/sinter_pb.js'
import type { Address } from '../signature.ts'
import { reject } from '../verdict.ts'
import { accepted, type Judged } from './judged.ts'

/** How far a session has come: the last receipt both sides agree on. */
export type SessionHead = { seq: bigint; cumulative: bigint; head: Uint8Array }

export const SESSION_START: SessionHead = { seq: 0n, cumulative: 0n, head: new Uint8Array(32) }

/**
 * How a drawn job is attested. `zk`: some tiles, drawn by the challenge, in zero knowledge. `full`: every tile, in zero knowledge.
 * `open`: nothing is proven; inputs, outputs and job key are shown, and verifiers compute everything again.
 */
export const POLICIES = ['zk', 'full', 'open'] as const
/** One of `POLICIES`: `zk`, `full` or `open`. */
export type Policy = (typeof POLICIES)[number]

/** `zk` is not spelled out on the wire; null for what is no policy. */
const policyOf = (field: string): Policy | null =>
  field === '' ? 'zk' : (POLICIES.find((known) => known === field && known !== 'zk') ?? null)

export type ReceiptFields = {
  session: Uint8Array
  seq: bigint
  manifest: Uint8Array
  inputRoot: Uint8Array
  outputRoot: Uint8Array
  shapes: number[][]
  units: bigint
  price: bigint
  cumulative: bigint
  previous: Uint8Array
  policy: Policy
  /** The output is that of the canonical evaluation, bit for bit: no tolerance. */
  canonical: boolean
}

export type Receipt = ReceiptFields & { hash: Uint8Array; provider: Address }

/** Opens a receipt and checks the widths of its fields; whose it must be and what it must say is the caller's to check. `expected` is who probably signed. */
export function openReceipt(
  envelope: Pick<Envelope, 'payload' | 'signature'>,
  networkId: Uint8Array,
  expected?: Address,
): Judged<Receipt> {
  // [REJECT] The envelope and the receipt are canonically encoded and the signature recovers a key.
  const opened: Opened<'receipt'> | string = openEnvelope('receipt', networkId, envelope, expected)
  if (typeof opened === 'string') return reject(opened)
  const m = opened.message
  // [REJECT] Ids, roots and hashes have 32 bytes, amounts 16.
  if (m.price.length !== 16 || m.cumulative.length !== 16) return reject('RECEIPT_FIELDS')
  for (const field of [m.session, m.inputRoot, m.outputRoot, m.previous])
    if (field.length !== 32) return reject('RECEIPT_FIELDS')
  // [REJECT] The policy is one that there is.
  const policy = policyOf(m.policy)
  if (policy === null) return reject('RECEIPT_POLICY')
  return accepted({
    session: m.session,
    seq: m.seq,
    manifest: m.manifest,
    inputRoot: m.inputRoot,
    outputRoot: m.outputRoot,
    shapes: m.shapes.map(({ dims }) => dims),
    units: m.units,
    price: bytesToBigint(m.price),
    cumulative: bytesToBigint(m.cumulative),
    previous: m.previous,
    policy,
    canonical: m.canonical,
    hash: opened.id,
    provider: opened.signer,
  })
}

export type ReceiptContext = {
  networkId: Uint8Array
  provider: Address
  /** Remaining money: ceiling of the session on chain. */
  ceiling: bigint
  before: SessionHead
  /** What the consumer itself sent, received and agreed to. */
  expected: Omit<ReceiptFields, 'seq' | 'cumulative' | 'previous'>
}

const sameShapes = (a: number[][], b: number[][]): boolean => JSON.stringify(a) === JSON.stringify(b)

/** Judges a receipt, at the consumer, before it is acknowledged with a voucher. */
export function judgeReceipt(envelope: Envelope, context: ReceiptContext): Judged<Receipt> {
  const judged = openReceipt(envelope, context.networkId, context.provider)
  if (judged.action !== 'accept') return judged
  const receipt = judged.value
  const { before, expected } = context
  // [REJECT] It is signed by the provider of the session, and of this session.
  if (receipt.provider !== context.provider) return reject('RECEIPT_SIGNER')
  if (!equalBytes(receipt.session, expected.session)) return reject('RECEIPT_SESSION')
  // [REJECT] It follows the last one: next sequence number, its hash, and the sum of prices.
  if (receipt.seq !== before.seq + 1n) return reject('RECEIPT_SEQUENCE')
  if (!equalBytes(receipt.previous, before.head)) return reject('RECEIPT_PREVIOUS')
  // [REJECT] The price is the bid's, and the session can pay it.
  if (receipt.price !== expected.price) return reject('RECEIPT_PRICE')
  if (receipt.cumulative !== before.cumulative + receipt.price) return reject('RECEIPT_CUMULATIVE')
  if (receipt.cumulative > context.ceiling) return reject('SESSION_CEILING')
  // [REJECT] It is about this model, these shapes and this work.
  if (!equalBytes(receipt.manifest, expected.manifest)) return reject('RECEIPT_MANIFEST')
  if (!sameShapes(receipt.shapes, expected.shapes)) return reject('RECEIPT_SHAPES')
  if (receipt.units !== expected.units) return reject('RECEIPT_UNITS')
  // [REJECT] It is served and attested as was agreed.
  if (receipt.policy !== expected.policy || receipt.canonical !== expected.canonical) return reject('RECEIPT_POLICY')
  // [REJECT] The input root is the one the consumer stated, the output root that of the output it received.
  if (!equalBytes(receipt.inputRoot, expected.inputRoot)) return reject('RECEIPT_INPUT_ROOT')
  if (!equalBytes(receipt.outputRoot, expected.outputRoot)) return reject('RECEIPT_OUTPUT_ROOT')
  return accepted(receipt)
}
