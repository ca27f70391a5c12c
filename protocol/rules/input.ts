import { concat, equalBytes, u32, utf8 } from '../bytes.ts'
import { type Opened, openEnvelope } from '../envelope.ts'
import type { Envelope, Tensor } from '../gen/sinter_pb.js'
import { hash, sha256 } from '../hash.ts'
import type { Address } from '../signature.ts'
import { reject } from '../verdict.ts'
import { accepted, type Judged } from './judged.ts'

/** Digest of the tensors of one side of a job: names, types, shapes and bytes, in order. */
export function tensorsDigest(tensors: Pick<Tensor, 'name' | 'type' | 'shape' | 'data'>[]): Uint8Array {
  return hash(
    'tensors',
    ...tensors.map(({ name, type, shape, data }) =>
      hash('tensor', utf8(name), utf8(type), concat(...shape.map(u32)), sha256(data)),
    ),
  )
}

export const jobKeyDigest = (jobKey: Uint8Array): Uint8Array => hash('job-key', jobKey)

export type InputContext = {
  networkId: Uint8Array
  /** The session’s voucher key, which is the consumer’s identity here. */
  signer: Address
  session: Uint8Array
  seq: bigint
  /** What the provider received and computed itself. */
  received: { inputDigest: Uint8Array; jobKeyDigest: Uint8Array; inputRoot: Uint8Array }
}

/** Judges the consumer's signed statement of what it sent, at the provider, before a receipt is issued over it. */
export function judgeInput(envelope: Envelope, context: InputContext): Judged<Opened<'input'>> {
  // [REJECT] The envelope and the statement are canonically encoded and the signature recovers a key.
  const opened = openEnvelope('input', context.networkId, envelope, context.signer)
  if (typeof opened === 'string') return reject(opened)
  const { message, signer } = opened
  // [REJECT] The voucher key of this session says it, of this job.
  if (signer !== context.signer) return reject('INPUT_SIGNER')
  if (!equalBytes(message.session, context.session) || message.seq !== context.seq) return reject('INPUT_JOB')
  // [REJECT] It is about the bytes and the key that arrived.
  if (!equalBytes(message.inputDigest, context.received.inputDigest)) return reject('INPUT_DIGEST')
  if (!equalBytes(message.jobKeyDigest, context.received.jobKeyDigest)) return reject('INPUT_JOB_KEY')
  // [REJECT] The root is that of the input that arrived, so that no honest provider signs a root it cannot open.
  if (!equalBytes(message.inputRoot, context.received.inputRoot)) return reject('INPUT_ROOT')
  return accepted(opened)
}
