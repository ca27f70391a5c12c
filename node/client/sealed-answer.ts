import type { Manifest } from '../../models/manifest.ts'
import { SinterError } from '../../protocol/errors.ts'
import { cidOfBytes, openTensors, sealedBound } from '../jobs/sealed.ts'
import type { WireTensor } from '../jobs/tensors.ts'
import type { Content } from '../net/content.ts'

export type SealedAnswerContext = {
  content: Pick<Content, 'get'>
  networkId: Uint8Array
  manifest: Manifest
  session: Uint8Array
  /** Who sealed it, and where it is. */
  provider: { peerId: string; providerKey: Uint8Array }
  /** Private key of whom it is sealed for. */
  recipient: Uint8Array
}

/** The outputs of an answer by content: only this provider can have sealed them, for us, this session and this job. Throws `ANSWER_UNREADABLE`. */
export async function sealedAnswer(
  { content, networkId, manifest, session, provider, recipient }: SealedAnswerContext,
  seq: bigint,
  bytes: Uint8Array,
  timeoutMs: number,
): Promise<{ cid: string; outputs: WireTensor[] }> {
  try {
    const cid = cidOfBytes(bytes)
    const limits = { maxBytes: sealedBound(manifest.outputs), timeoutMs, from: [provider.peerId] }
    const file = await content.get(cid, limits)
    const expected = { purpose: 'output' as const, job: session, seq, sender: provider.providerKey }
    return { cid, outputs: openTensors(file, { networkId, recipient, expected }) }
  } catch (cause) {
    throw new SinterError('ANSWER_UNREADABLE', 'the sealed answer could not be had', { cause })
  }
}
