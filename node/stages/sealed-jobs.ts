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

export type SealedJobsInit = {
  /** Milliseconds that an input may take to arrive. @default 20_000 */
  fetchMs?: number
  /** Milliseconds for which the holders of a set are taken to be the same. @default 30_000 */
  holdersMs?: number
}

/** Sets whose holders are remembered. */
const MAX_SETS = 256

export function createSealedJobs(
  components: {
    identity: Pick<Identity, 'privateKey'>
    networkId: Uint8Array
    content: Pick<Content, 'get' | 'add'>
    /** Peers that announced a CID. */
    findProviders(cid: string, options: { timeoutMs: number; limit: number }): Promise<string[]>
    now(): number
  },
  { fetchMs = 20_000, holdersMs = 30_000 }: SealedJobsInit = {},
): SealedJobs {
  const { identity, networkId, content, findProviders, now } = components
  const sets = new Map<string, { at: number; holders: Promise<string[]> }>()

  /** The set is announced, not each of its files: who has the one is asked for the others. */
  function holdersOf(set: string): Promise<string[]> {
    const known = sets.get(set)
    if (known !== undefined && now() - known.at < holdersMs) return known.holders
    sets.delete(set)
    const holders = findProviders(set, { timeoutMs: 3_000, limit: 4 }).catch(() => [])
    sets.set(set, { at: now(), holders })
    if (sets.size > MAX_SETS) sets.delete(sets.keys().next().value!)
    return holders
  }

  return {
    async input(ref, consumer, manifest) {
      if (ref.job.length !== 32 || ref.digest.length !== 32 || ref.seq === 0n)
        throw new SinterError('INPUT_SEALED', 'the sealed input is not named as it must be')
      const [cid, set] = [cidOfBytes(ref.cid), cidOfBytes(ref.set)]
      const bytes = await content.get(cid, {
        maxBytes: sealedBound(manifest.inputs),
        timeoutMs: fetchMs,
        // The consumer is at hand, but need not have it.
        from: [...new Set([...(await holdersOf(set)), consumer.peer])],
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
