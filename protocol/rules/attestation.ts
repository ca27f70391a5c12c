import { equalBytes } from '../bytes.ts'
import { attestationParts } from '../claims.ts'
import { type Opened, open } from '../envelope.ts'
import { MAX_ATTESTATION_BYTES } from '../limits.ts'
import type { Address } from '../signature.ts'
import { ignore, reject } from '../verdict.ts'
import { accepted, type Judged, oversized } from './judged.ts'

export type AttestationContext = {
  networkId: Uint8Array
  /** The batch as the chain has it; `digest` is null until the provider commits it. */
  batch(id: Uint8Array): Promise<{ provider: Address; digest: Uint8Array | null } | null>
  seen(id: Uint8Array): boolean
}

/** What the provider commits on chain before its committee is drawn. */
export const attestationDigest = (payload: Uint8Array, networkId: Uint8Array): Uint8Array =>
  attestationParts(payload, networkId).digest

/**
 * Judges a gossiped attestation as far as forwarding goes: it is the one that its provider committed to on chain, so each
 * batch puts at most one on the network. Whether it holds is for the committee to find out.
 */
export async function judgeAttestation(
  bytes: Uint8Array,
  context: AttestationContext,
): Promise<Judged<Opened<'attestation'>>> {
  // [REJECT] The message is at most MAX_ATTESTATION_BYTES.
  const tooLarge = oversized(bytes, MAX_ATTESTATION_BYTES)
  if (tooLarge) return tooLarge
  // [REJECT] The envelope and the attestation are canonically encoded and the signature recovers a key.
  const opened = open('attestation', context.networkId, bytes)
  if (typeof opened === 'string') return reject(opened)
  // [IGNORE] It was not seen before.
  if (context.seen(opened.id)) return ignore('DUPLICATE')
  // [REJECT] The batch id is 32 bytes.
  if (opened.message.batch.length !== 32) return reject('ATTESTATION_FIELDS')
  // [IGNORE] The batch is known and its attestation is committed; a peer may be a block ahead of us.
  const batch = await context.batch(opened.message.batch)
  if (batch === null) return ignore('BATCH_UNKNOWN')
  if (batch.digest === null) return ignore('ATTESTATION_EARLY')
  // [REJECT] The signer is the batch's provider, and the payload the one it committed.
  if (opened.signer !== batch.provider) return reject('ATTESTATION_SIGNER')
  if (!equalBytes(attestationDigest(opened.payload, context.networkId), batch.digest))
    return reject('ATTESTATION_DIGEST')
  return accepted(opened)
}
