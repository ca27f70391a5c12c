import { setMaxListeners } from 'node:events'
import type { Committer } from '../../circuits/commit.ts'
import type { ProverPool } from '../../circuits/pool.ts'
import { bigintToBytes, equalBytes, fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { decode } from '../../protocol/codec.ts'
import { seal } from '../../protocol/envelope.ts'
import { SinterError } from '../../protocol/errors.ts'
import { EnvelopeSchema, ReceiptSchema } from '../../protocol/gen/sinter_pb.js'
import { merkleTree } from '../../protocol/merkle.ts'
import { attestationDigest } from '../../protocol/rules/attestation.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import type { CommittedJob, commitJob } from '../attestation/commit.ts'
import type { BatchFacts, Sample } from '../attestation/place.ts'
import { attestedAs } from '../attestation/policy.ts'
import type { JobProof, proveJob } from '../attestation/prove.ts'
import type { Chain } from '../chain/chain.ts'
import type { Identity } from '../identity/identity.ts'
import { bytesInt16, type JobRecord, type Ledger } from '../jobs/ledger.ts'
import { judgedModel, type LoadedModel, type ModelLibrary } from '../model/load.ts'
import type { Log } from '../net/log.ts'
import { bytesCodec, type Store } from '../store/store.ts'
import type { Batcher, BatchRecord } from './batch.ts'
import type { CanaryMaker } from './canary.ts'

export type AttestComponents = {
  identity: Identity
  networkId: Uint8Array
  chain: Pick<Chain, 'anchorTrace' | 'commitAttestation'>
  library: ModelLibrary
  committer: Committer
  pool: ProverPool
  /** How drawn jobs are committed and proven. */
  commit: typeof commitJob
  prove: typeof proveJob
  batcher: Batcher
  ledger: Pick<Ledger, 'values'>
  /** Batches that are canaries. @default none is */
  canaries?: Pick<CanaryMaker, 'trapOf'> | null
  store: Store
  tileDraws: number
  log: Log
}

type DrawnJob = { index: number; job: JobRecord; model: LoadedModel; committed: CommittedJob }
type Drawn = { jobs: DrawnJob[]; root: Uint8Array; path(position: number): Uint8Array[] }

/** The provider's part after the draw: trace, attestation. Every step can be repeated after a crash with the same result. */
export type Attester = {
  /** Evaluates and commits the drawn jobs and anchors the root of their traces. */
  trace(batch: Hex, sample: Sample): Promise<void>
  /** Proves what the challenge asks and commits the attestation's digest on chain. Returns the sealed attestation. */
  attest(batch: Hex, facts: BatchFacts): Promise<Uint8Array>
  /** The sealed attestation made earlier, if any. */
  sealed(batch: Hex): Promise<Uint8Array | null>
  forget(batch: Hex): Promise<void>
}

/** How a job's receipt says that it is attested and was served. */
function termsOf({ payload }: JobRecord): { policy: Policy; canonical: boolean } {
  const { policy, canonical } = decode(ReceiptSchema, payload)!
  return { policy: policy === '' ? 'zk' : (policy as Policy), canonical }
}

const payloadOf = (sealed: Uint8Array): Uint8Array => decode(EnvelopeSchema, sealed)!.payload

export function createAttester(components: AttestComponents): Attester {
  const { identity, networkId, chain, library, committer, pool, batcher, ledger, store, tileDraws, log } = components
  const made = store.table('attestations', bytesCodec)
  const drawn = new Map<Hex, Promise<Drawn>>()
  /** Proofs of drawn jobs by batch and challenge, job by job: a prover that fails at the last one does not cost the others. */
  const proven = new Map<Hex, { seed: Hex; jobs: Map<number, JobProof> }>()
  /** Places of batches in the order in which they began to be proven, which is that of their deadlines. */
  const places = new Map<Hex, number>()
  let begun = 0

  async function commitDrawn(record: BatchRecord, { points, audited }: Sample): Promise<Drawn> {
    const { jobs, tree } = await batcher.tree(record)
    const indexes = [...new Set(points.map((point) => tree.find(point)))].sort((a, b) => a - b)
    const shown = new Set(audited.map((point) => tree.find(point)))
    const out = await Promise.all(
      indexes.map(async (index): Promise<DrawnJob> => {
        const job = jobs[index]!
        const { policy, canonical } = termsOf(job)
        const model = judgedModel(await library.load(job.manifest), canonical)
        const values = await ledger.values(job.session, job.seq)
        if (values === null) throw new SinterError('BATCH_INCOMPLETE', `the values of job ${job.seq} are not here`)
        const committed = await components.commit(committer, model, {
          receiptHash: job.receiptHash,
          jobKey: job.jobKey,
          inputs: values.inputs.map(bytesInt16),
          served: values.served.map(bytesInt16),
          policy: attestedAs(policy, model.manifest, shown.has(index)),
        })
        return { index, job, model, committed }
      }),
    )
    const roots = merkleTree(out.map(({ committed }) => committed.root))
    return { jobs: out, root: roots.root, path: roots.path }
  }

  const trapOf = async (batch: Hex): Promise<Uint8Array | null> => (await components.canaries?.trapOf(batch)) ?? null

  /** Deterministic, so what a restart lost is simply computed again. */
  async function drawnJobs(batch: Hex, sample: Sample): Promise<Drawn> {
    const known = drawn.get(batch)
    if (known) return known
    const record = await batcher.record(batch)
    const promise = commitDrawn(record!, sample)
    drawn.set(batch, promise)
    promise.catch(() => drawn.delete(batch))
    return promise
  }

  /** Proofs of one drawn job. When one fails, those that wait behind it are called off, or a second try would wait for them. */
  async function proveDrawn(
    batch: Hex,
    facts: BatchFacts,
    { index, job, model, committed }: DrawnJob,
  ): Promise<JobProof> {
    const seed = toHex(facts.challenge.beacon)
    if (!places.has(batch)) places.set(batch, begun++)
    if (proven.get(batch)?.seed !== seed) proven.set(batch, { seed, jobs: new Map() })
    const { jobs } = proven.get(batch)!
    const known = jobs.get(index)
    if (known !== undefined) return known
    const stop = new AbortController()
    // Every proof of the job listens to it.
    setMaxListeners(0, stop.signal)
    try {
      const challenge = jobChallenge(facts.challenge, job.receiptHash, model.cid.bytes)
      const proof = await components.prove(pool, model, committed, challenge, tileDraws, {
        signal: stop.signal,
        // The last job of a batch does not wait behind the first of the next.
        priority: -places.get(batch)!,
      })
      jobs.set(index, proof)
      return proof
    } catch (error) {
      stop.abort()
      throw error
    }
  }

  async function prove(batch: Hex, facts: BatchFacts): Promise<Uint8Array> {
    const started = performance.now()
    const record = await batcher.record(batch)
    const { tree } = await batcher.tree(record!)
    const { jobs, path, root } = await drawnJobs(batch, facts)
    if (!equalBytes(root, facts.challenge.traceRoot) && (await trapOf(batch)) === null)
      throw new SinterError('TRACE_CHANGED', 'the drawn jobs no longer give the trace that was anchored')
    const attested = []
    let proofs = 0
    for (const [position, each] of jobs.entries()) {
      const { index, job } = each
      const proof = await proveDrawn(batch, facts, each)
      proofs += proof.statements?.reduce((sum, { segments }) => sum + (segments?.length ?? 0), 0) ?? 0
      attested.push({
        receipt: { payload: job.payload, signature: job.signature },
        voucher: job.voucher!,
        index,
        sumPath: tree.path(index).map(({ hash, sum }) => ({ hash, sum: bigintToBytes(sum, 16) })),
        tracePath: path(position),
        ...proof,
      })
      log.debug({ event: 'attest.job', batch, position, of: jobs.length }, 'drawn job proven')
    }
    const { bytes } = seal('attestation', networkId, identity.privateKey, { batch: fromHex(batch), jobs: attested })
    const seconds = (performance.now() - started) / 1000
    log.info(
      { event: 'attest.proven', batch, jobs: jobs.length, proofs, bytes: bytes.length, seconds },
      'attestation proven',
    )
    return bytes
  }

  return {
    async trace(batch, sample) {
      const started = performance.now()
      const { root, jobs } = await drawnJobs(batch, sample)
      const seconds = (performance.now() - started) / 1000
      await chain.anchorTrace(batch, toHex((await trapOf(batch)) ?? root))
      log.info({ event: 'trace.anchored', batch, jobs: jobs.length, seconds }, 'trace anchored')
    },
    async attest(batch, facts) {
      const known = await made.get(batch)
      const bytes = known ?? (await prove(batch, facts))
      // On disk before its digest is on chain: a digest whose attestation is lost would be silence.
      if (known === undefined) await made.put(batch, bytes)
      proven.delete(batch)
      places.delete(batch)
      await chain.commitAttestation(batch, toHex(attestationDigest(payloadOf(bytes), networkId)))
      log.info({ event: 'attestation.committed', batch }, 'attestation committed')
      return bytes
    },
    sealed: async (batch) => (await made.get(batch)) ?? null,
    async forget(batch) {
      drawn.delete(batch)
      proven.delete(batch)
      places.delete(batch)
      await made.del(batch)
    },
  }
}
