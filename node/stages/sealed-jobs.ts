import { randomBytes } from '@noble/hashes/utils.js'
import type { Manifest } from '../../models/manifest.ts'
import { equalBytes } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { SealedInput } from '../../protocol/gen/sinter_pb.js'
import { tensorsDigest } from '../../protocol/rules/input.ts'
import type { Identity } from '../identity/identity.ts'
import { cidBytes, cidOfBytes, openTensors, sealedBound, sealTensors } from '../jobs/sealed.ts'
import type { WireTensor } from '../jobs/tensors.ts'
import type { Content } from '../net/content.ts'

/** Inputs that requests name by content, and the outputs that answer them, at the provider. */
export type SealedJobs = {
  /**
   * The tensors of a sealed input, fetched from whoever has it and opened. Throws `INPUT_SEALED` for a malformed reference, `CONTENT_*`
   * when it cannot be had or is larger than the model's inputs are, `SEALED_*` when it is not for this job, `INPUT_DIGEST`.
   */
  input(ref: SealedInput, consumer: { peer: string; publicKey: Uint8Array }, manifest: Manifest): Promise<WireTensor[]>
  /** Seals outputs for the consumer, keeps them among the blocks and gives the bytes of their CID. Throws `CONTENT_DISK_FULL`. */
  output(place: { session: Uint8Array; seq: bigint }, reader: Uint8Array, outputs: WireTensor[]): Promise<Uint8Array>
}

export function createSealedJobs(
  components: { identity: Pick<Identity, 'privateKey'>; networkId: Uint8Array; content: Pick<Content, 'get' | 'add'> },
  init: {
    /** Milliseconds that an input may take to arrive. @default 20_000 */
    fetchMs?: number
  } = {},
): SealedJobs {
  const { identity, networkId, content } = components
  return {
    async input(ref, consumer, manifest) {
      if (ref.job.length !== 32 || ref.digest.length !== 32 || ref.seq === 0n)
        throw new SinterError('INPUT_SEALED', 'the sealed input is not named as it must be')
      const [cid, set] = [cidOfBytes(ref.cid), cidOfBytes(ref.set)]
      const bytes = await content.get(cid, {
        maxBytes: sealedBound(manifest.inputs),
        timeoutMs: init.fetchMs ?? 20_000,
        // The set is announced, not each of its files. The consumer is at hand, but need not have it.
        from: [consumer.peer],
        within: set,
      })
      const tensors = openTensors(bytes, {
        networkId,
        recipient: identity.privateKey,
        expected: { purpose: 'input', job: ref.job, seq: ref.seq, sender: consumer.publicKey },
      })
      // Before the model runs: the same digest is signed for in the input statement.
      if (!equalBytes(tensorsDigest(tensors), ref.digest))
        throw new SinterError('INPUT_DIGEST', 'the sealed file does not hold the input that the request names')
      return tensors
    },
    async output({ session, seq }, reader, outputs) {
      const sealed = sealTensors(
        outputs,
        { purpose: 'output', job: session, seq },
        { networkId, sender: identity.privateKey, recipient: reader, ephemeral: randomBytes(32) },
      )
      return cidBytes(await content.add(sealed))
    },
  }
}
