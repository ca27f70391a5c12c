/** Plays the sequences of `protocol/vectors/rules.json` against the production rules, as the receiver they describe would. */
import { equalBytes, fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/codec.ts'
import type { SigningDomain } from '../../protocol/eip712.ts'
import { type Envelope, EnvelopeSchema, VoucherSchema } from '../../protocol/gen/sinter_pb.js'
import { judgeAssignment } from '../../protocol/rules/assignment.ts'
import { judgeAttestation } from '../../protocol/rules/attestation.ts'
import { judgeBid } from '../../protocol/rules/bid.ts'
import { judgeInput } from '../../protocol/rules/input.ts'
import { judgeOffer } from '../../protocol/rules/offer.ts'
import { judgeReceipt, SESSION_START } from '../../protocol/rules/receipt.ts'
import { judgeVote } from '../../protocol/rules/vote.ts'
import { judgeVoucher } from '../../protocol/rules/voucher.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Bytes, Case } from '../../protocol/vectors/cases.ts'
import { reject, type Verdict } from '../../protocol/verdict.ts'

/** A receiver: judges messages one after the other under a context as JSON has it. */
export type Receiver = (bytes: Uint8Array, context: Context) => Verdict | Promise<Verdict>
// biome-ignore lint/suspicious/noExplicitAny: contexts are JSON, one shape for each rule.
export type Context = Record<string, any>

export const messageBytes = (bytes: Bytes): Uint8Array =>
  typeof bytes === 'string' ? fromHex(bytes) : new Uint8Array(bytes.zeros)

export const describeVerdict = (verdict: Verdict): string =>
  verdict.action === 'accept' ? 'accept' : `${verdict.action} ${verdict.code}`

const optional = (hex: Hex | null): Uint8Array | null => (hex === null ? null : fromHex(hex))
/** An envelope that is a field of a frame is decoded with the frame; alone, it is decoded like one. */
const inner = (bytes: Uint8Array): Envelope | null => decode(EnvelopeSchema, bytes)

function memory(): { seen(id: Uint8Array): boolean; keep(id: Uint8Array): void } {
  const ids = new Set<string>()
  return { seen: (id) => ids.has(toHex(id)), keep: (id) => ids.add(toHex(id)) }
}

function offers(networkId: Uint8Array): Receiver {
  const { seen, keep } = memory()
  return (bytes, { nowMs }) => {
    const judged = judgeOffer(bytes, { networkId, nowMs, seen })
    if (judged.action === 'accept') keep(judged.value.id)
    return judged
  }
}

function bids(networkId: Uint8Array): Receiver {
  const { seen, keep } = memory()
  return (bytes, { nowMs, offer, peerKey }) => {
    const terms = { ...offer, id: fromHex(offer.id), priceCeiling: BigInt(offer.priceCeiling) }
    const judged = judgeBid(bytes, { networkId, nowMs, offer: terms, peerKey: fromHex(peerKey), seen })
    if (judged.action === 'accept') keep(judged.value.id)
    return judged
  }
}

const assignments =
  (networkId: Uint8Array): Receiver =>
  (bytes, context) => {
    const envelope = inner(bytes)
    if (envelope === null) return reject('ENVELOPE_MALFORMED')
    const find = (list: Context[], id: Uint8Array): Context | undefined => list.find((each) => each.id === toHex(id))
    return judgeAssignment(envelope, {
      networkId,
      nowMs: context.nowMs,
      provider: context.provider,
      peerKey: fromHex(context.peerKey),
      minimumLifeS: context.minimumLifeS,
      bid(id) {
        const bid = find(context.bids, id)
        if (bid === undefined) return null
        const { consumer, manifest, expiryMs } = bid
        const price = BigInt(bid.price)
        return { id, offer: fromHex(bid.offer), price, consumer, manifest, expiryMs, policy: 'zk', canonical: false }
      },
      async session(id) {
        const session = find(context.sessions, id)
        if (session === undefined) return null
        const { signer, provider, expiry, closing } = session
        return { signer, provider, expiry, closing, ceiling: BigInt(session.ceiling), spent: BigInt(session.spent) }
      },
      resumable: async (session, bid) =>
        context.resumable.some((each: Context) => each.session === toHex(session) && each.bid === toHex(bid)),
    })
  }

const inputs =
  (networkId: Uint8Array): Receiver =>
  (bytes, { signer, session, seq, received }) => {
    const envelope = inner(bytes)
    if (envelope === null) return reject('ENVELOPE_MALFORMED')
    return judgeInput(envelope, {
      networkId,
      signer,
      session: fromHex(session),
      seq: BigInt(seq),
      received: {
        inputDigest: fromHex(received.inputDigest),
        jobKeyDigest: fromHex(received.jobKeyDigest),
        inputRoot: fromHex(received.inputRoot),
      },
    })
  }

function receipts(networkId: Uint8Array): Receiver {
  let before = SESSION_START
  return (bytes, { provider, ceiling, expected }) => {
    const envelope = inner(bytes)
    if (envelope === null) return reject('ENVELOPE_MALFORMED')
    const judged = judgeReceipt(envelope, {
      networkId,
      provider,
      ceiling: BigInt(ceiling),
      before,
      expected: {
        session: fromHex(expected.session),
        manifest: fromHex(expected.manifest),
        inputRoot: fromHex(expected.inputRoot),
        outputRoot: fromHex(expected.outputRoot),
        shapes: expected.shapes,
        units: BigInt(expected.units),
        price: BigInt(expected.price),
        policy: expected.policy,
        canonical: expected.canonical,
      },
    })
    if (judged.action === 'accept')
      before = { seq: judged.value.seq, cumulative: judged.value.cumulative, head: judged.value.hash }
    return judged
  }
}

const vouchers =
  (): Receiver =>
  (bytes, { domain, signer, receipt }) => {
    const voucher = decode(VoucherSchema, bytes)
    if (voucher === null) return reject('VOUCHER_FIELDS')
    const { session, seq, cumulative, hash } = receipt
    return judgeVoucher(voucher, {
      domain: domain as SigningDomain,
      signer,
      receipt: { session: fromHex(session), seq: BigInt(seq), cumulative: BigInt(cumulative), hash: fromHex(hash) },
    })
  }

function attestations(networkId: Uint8Array): Receiver {
  const { seen, keep } = memory()
  return async (bytes, { batches }) => {
    const judged = await judgeAttestation(bytes, {
      networkId,
      seen,
      async batch(id) {
        const batch = batches.find((each: Context) => each.id === toHex(id))
        return batch === undefined ? null : { provider: batch.provider, digest: optional(batch.digest) }
      },
    })
    if (judged.action === 'accept') keep(judged.value.id)
    return judged
  }
}

function votes(networkId: Uint8Array): Receiver {
  const { seen, keep } = memory()
  const commitments = new Map<string, Uint8Array>()
  const place = (batch: Uint8Array, attempt: number, voter: Address): string => `${toHex(batch)}/${attempt}/${voter}`
  return async (bytes, { domain, panels }) => {
    const judged = await judgeVote(bytes, {
      networkId,
      domain,
      seen,
      async panel(batch) {
        const panel = panels.find((each: Context) => equalBytes(fromHex(each.batch), batch))
        return panel === undefined ? null : { ...panel, attestation: fromHex(panel.attestation) }
      },
      commitment: (batch, attempt, voter) => commitments.get(place(batch, attempt, voter)) ?? null,
    })
    if (judged.action !== 'accept') return judged
    const vote = judged.value
    keep(vote.id)
    if (vote.kind === 'commitment') commitments.set(place(vote.batch, vote.attempt, vote.voter), vote.commitment)
    return judged
  }
}

const RECEIVERS: Record<string, (networkId: Uint8Array) => Receiver> = {
  offer: offers,
  bid: bids,
  assignment: assignments,
  input: inputs,
  receipt: receipts,
  voucher: vouchers,
  attestation: attestations,
  vote: votes,
}

export const RULES = Object.keys(RECEIVERS)

export const receiver = (rule: string, networkId: Uint8Array): Receiver => RECEIVERS[rule]!(networkId)

/** The verdicts of one sequence, in order. */
export async function replay({ rule, context, steps }: Case, networkId: Uint8Array): Promise<string[]> {
  const judge = receiver(rule, networkId)
  let current: Context = context
  const verdicts: string[] = []
  for (const step of steps) {
    current = { ...current, ...step.context }
    verdicts.push(describeVerdict(await judge(messageBytes(step.bytes), current)))
  }
  return verdicts
}
