import { createHash } from 'node:crypto'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { CID } from 'multiformats/cid'
import { type Committer, createCommitter } from '../../circuits/commit.ts'
import type { ProverPool } from '../../circuits/pool.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { fileCid } from '../../models/cid.ts'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { selectTiles } from '../../models/draw.ts'
import { manifestBytes } from '../../models/manifest.ts'
import { quantise } from '../../models/quantise.ts'
import { buildStatements } from '../../models/statements.ts'
import { commitJob, commitSide } from '../../node/attestation/commit.ts'
import type { BatchFacts, BatchRange } from '../../node/attestation/place.ts'
import { proveJob } from '../../node/attestation/prove.ts'
import { type AttestationResult, type VerifyContext, verifyAttestation } from '../../node/attestation/verify.ts'
import { int16Bytes, type JobRecord, type JobValues } from '../../node/jobs/ledger.ts'
import { jobShapes } from '../../node/jobs/tensors.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { type AttestComponents, type Attester, createAttester } from '../../node/stages/attest.ts'
import type { Codec, Store, Table } from '../../node/store/store.ts'
import { bigintToBytes, equalBytes, fromHex, toHex } from '../../protocol/bytes.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { samplePoints } from '../../protocol/draw.ts'
import { type SigningDomain, signTyped, voucherDigest } from '../../protocol/eip712.ts'
import { open, type Payload, seal } from '../../protocol/envelope.ts'
import { AttestationSchema, type ReceiptSchema } from '../../protocol/gen/sinter_pb.js'
import type { Policy } from '../../protocol/rules/receipt.ts'
import { type Address, addressOf, publicKeyOf } from '../../protocol/signature.ts'
import { SEGMENT_LEAVES } from '../../protocol/statement.ts'
import { type SumTree, sumTree } from '../../protocol/sum-tree.ts'

/** One provider, two consumers with a session each, and a batch over their receipts: no network, no chain. */

export const TILE_DRAWS = 2
export const DRAWS = 2
const PRICE = 1_000n

export type Key = { key: Uint8Array; address: Address }
export const keyOf = (name: string): Key => {
  const key = createHash('sha256').update(name).digest()
  return { key, address: addressOf(publicKeyOf(key)) }
}
export const bytes32 = (name: string): Uint8Array => new Uint8Array(createHash('sha256').update(name).digest())

export const PROVIDER = keyOf('provider')
export const CONSUMERS = [keyOf('consumer 0'), keyOf('consumer 1')] as const
export const VOTER = keyOf('voter')
export const NETWORK = bytes32('network')
export const ESCROW: SigningDomain = { chainId: 31_337, contract: `0x${'e5'.repeat(20)}` }
export const BATCHES: Address = `0x${'ba'.repeat(20)}`

export const committer: Committer = await createCommitter()

const { manifest, manifestBytes: digitsBytes, weights } = loadDigits()
export const DIGITS: LoadedModel = { cid: CID.parse(await fileCid(digitsBytes)), manifest, weights }

/** A model of a test, under the CID it would be published by. */
export const modelOf = async (parts: Pick<LoadedModel, 'manifest' | 'weights'>): Promise<LoadedModel> => ({
  cid: CID.parse(await fileCid(manifestBytes(parts.manifest))),
  ...parts,
})

const { images } = loadHeldOut()
/** Held-out image `i`, quantised. */
export const image = (i: number): Int16Array => quantise(images[i]!, manifest.tensors[0]!.exponent)

/** What a provider answers: the canonical output, off by at most two quanta, as a float kernel would be. */
export const nearly = (model: LoadedModel, inputs: Int16Array[]): Int16Array[] =>
  traceOutputs(model.manifest, evaluate(model.manifest, model.weights, inputs)).map((values) =>
    values.map((value, i) => Math.min(32_767, Math.max(-32_768, value + (i % 5) - 2))),
  )

type ReceiptInit = MessageInitShape<typeof ReceiptSchema>
export type WorldJob = JobRecord & JobValues

export type WorldInit = {
  model?: LoadedModel
  /** Receipts of each session. @default [7, 5] */
  receipts?: [number, number]
  input?(i: number): Int16Array[]
  serve?(model: LoadedModel, inputs: Int16Array[]): Int16Array[]
  /** Changes a receipt before it is sealed. */
  receipt?(fields: ReceiptInit, i: number): ReceiptInit
  /** How every job is attested. @default 'zk' */
  policy?: Policy
  /** Whether the receipts say that jobs were served canonically. @default false */
  canonical?: boolean
  signer?: Key
  batch?: Uint8Array
  /** Jobs, by number, that their consumers name as draws. */
  audits?: number[]
  /** Changes the order in which receipts stand in the sum tree. */
  order?(jobs: WorldJob[]): WorldJob[]
}

export type World = {
  model: LoadedModel
  policy: Policy
  batch: Uint8Array
  jobs: WorldJob[]
  tree: SumTree
  ranges: BatchRange[]
  /** Points of the sample, of the first beacon that draws two jobs, one of each session; then those of the audits. */
  points: bigint[]
  audited: bigint[]
}

/** Receipts and vouchers as node/stages/session.ts makes them, anchored. */
export function makeWorld(init: WorldInit = {}): World {
  const {
    model = DIGITS,
    receipts = [7, 5],
    serve = nearly,
    signer = PROVIDER,
    policy = 'zk',
    canonical = false,
  } = init
  const input = init.input ?? ((i) => [image(i)])
  const batch = init.batch ?? bytes32('batch')
  const jobs: WorldJob[] = []
  const ranges: BatchRange[] = []
  receipts.forEach((count, s) => {
    const session = bytes32(`session ${s}`)
    const consumer = CONSUMERS[s]!
    let previous: Uint8Array = new Uint8Array(32)
    // The first session has been paid for once before this batch.
    const before = s === 0 ? 3n : 0n
    for (let n = 1n; n <= count; n++) {
      const i = jobs.length
      const seq = before + n
      const jobKey = bytes32(`job ${i}`)
      const inputs = input(i)
      const served = serve(model, inputs)
      const fields: ReceiptInit = {
        session,
        seq,
        manifest: model.cid.bytes,
        inputRoot: commitSide(committer, model, 'input', jobKey, inputs),
        outputRoot: commitSide(committer, model, 'output', jobKey, served),
        shapes: jobShapes(model.manifest).map((dims) => ({ dims })),
        units: BigInt(model.manifest.units),
        price: bigintToBytes(PRICE, 16),
        cumulative: bigintToBytes(seq * PRICE, 16),
        previous,
        policy: policy === 'zk' ? '' : policy,
        canonical,
      }
      const receipt = seal('receipt', NETWORK, signer.key, init.receipt?.(fields, i) ?? fields)
      const cumulative = seq * PRICE
      const voucher = signTyped(voucherDigest(ESCROW, { session, seq, cumulative, receipt: receipt.id }), consumer.key)
      jobs.push({
        session,
        seq,
        manifest: model.cid.toString(),
        receiptHash: receipt.id,
        payload: receipt.envelope.payload,
        signature: receipt.envelope.signature,
        price: PRICE,
        cumulative,
        jobKey,
        inputs: inputs.map(int16Bytes),
        served: served.map(int16Bytes),
        inputStatement: new Uint8Array(),
        voucher,
      })
      previous = receipt.id
    }
    const fee = BigInt(count) * PRICE
    const toSeq = before + BigInt(count)
    const range = { session, signer: consumer.address, fromSeq: before + 1n, toSeq, start: before * PRICE, fee }
    if (count > 0) ranges.push(range)
  })
  const ordered = init.order?.(jobs) ?? jobs
  const tree = sumTree(ordered.map(({ receiptHash, price }) => ({ receiptHash, price })))
  const audited = (init.audits ?? []).map((i) => BigInt(i) * PRICE + 1n)
  const points = [...twoJobs(batch, tree, receipts), ...audited]
  return { model, policy, batch, jobs: ordered, tree, ranges, points, audited }
}

function twoJobs(batch: Uint8Array, tree: SumTree, [first, second]: [number, number]): bigint[] {
  for (let i = 0; ; i++) {
    const points = samplePoints(batch, bytes32(`sample ${i}`), tree.root.sum, DRAWS)
    const [a, b] = points.map((point) => tree.find(point)) as [number, number]
    if (first === 0 || second === 0 || (a < first && b >= first && a > 0)) return points
  }
}

/** Facts of a traced batch; a later beacon value is another name. */
export function factsOf(world: World, traceRoot: Uint8Array, beacon = 'challenge'): BatchFacts {
  return {
    challenge: {
      chainId: ESCROW.chainId,
      batches: BATCHES,
      batch: world.batch,
      provider: PROVIDER.address,
      traceRoot,
      beacon: bytes32(beacon),
    },
    root: world.tree.root.hash,
    total: world.tree.root.sum,
    ranges: world.ranges,
    points: world.points,
    audited: world.audited,
  }
}

export function memoryStore(): Store {
  const data = new Map<string, Uint8Array>()
  return {
    table<T>(name: Table<T>['name'], codec: Codec<T>): Table<T> {
      const at = (key: string): string => `${name}/${key}`
      const unused = (): never => {
        throw new Error('not needed here')
      }
      return {
        name,
        get: async (key) => {
          const bytes = data.get(at(key))
          return bytes === undefined ? undefined : codec.decode(bytes)
        },
        put: async (key, value) => void data.set(at(key), codec.encode(value)),
        del: async (key) => void data.delete(at(key)),
        async *entries(prefix = '') {
          for (const [key, bytes] of [...data].sort())
            if (key.startsWith(at(prefix))) yield [key.slice(at('').length), codec.decode(bytes)]
        },
        putOp: unused,
        delOp: unused,
      }
    },
    batch: async () => {},
    close: async () => {},
  }
}

export const silent = { debug() {}, info() {}, warn() {}, error() {} }

export type Attested = { facts: BatchFacts; sealed: Uint8Array; message: Payload<'attestation'> }

type Parts = Partial<Pick<AttestComponents, 'commit' | 'prove' | 'store'>> & {
  beacon?: string
  points?: bigint[]
  /** Anchors a digest; may fail as a chain does. */
  commitAttestation?(): Promise<void>
}

/** The provider's own stage on stub ports; `root` is what it anchored. */
export function attester(world: World, pool: ProverPool, parts: Parts = {}): { stage: Attester; root(): Uint8Array } {
  let root: Uint8Array = new Uint8Array()
  const stage = createAttester({
    identity: { privateKey: PROVIDER.key, address: PROVIDER.address } as AttestComponents['identity'],
    networkId: NETWORK,
    chain: {
      anchorTrace: async (_batch: string, hex: string) => {
        root = fromHex(hex)
      },
      commitAttestation: parts.commitAttestation ?? (async () => {}),
    } as unknown as AttestComponents['chain'],
    library: { load: async () => world.model, onnx: async () => new Uint8Array() },
    committer,
    pool,
    commit: parts.commit ?? commitJob,
    prove: parts.prove ?? proveJob,
    batcher: {
      record: async () => ({ id: toHex(world.batch), ranges: [] }),
      tree: async () => ({ jobs: world.jobs, tree: world.tree }),
    } as unknown as AttestComponents['batcher'],
    ledger: {
      values: async (session, seq) =>
        world.jobs.find((job) => job.seq === seq && equalBytes(job.session, session)) ?? null,
    },
    store: parts.store ?? memoryStore(),
    tileDraws: TILE_DRAWS,
    log: silent,
  })
  return { stage, root: () => root }
}

/** Whether a drawn job's challenge asks for a relation of more than one segment. */
function chained(world: World, { challenge, points }: BatchFacts): boolean {
  return points.some((point) => {
    const { receiptHash } = world.jobs[world.tree.find(point)]!
    const { random } = jobChallenge(challenge, receiptHash, world.model.cid.bytes)
    const { manifest, weights } = world.model
    const statements = buildStatements(manifest, weights, selectTiles(manifest, random, TILE_DRAWS), () => false, 1n)
    return statements.some((each) => each.kind === 'relation' && each.terms.length > SEGMENT_LEAVES)
  })
}

/**
 * Trace, challenge and attestation by the provider's own stage, with parts exchanged for those of a cheat. Without a `beacon`, the
 * first whose challenge of the digits model has a chain of segments.
 */
export async function attest(world: World, pool: ProverPool, parts: Parts = {}): Promise<Attested> {
  const { audited } = world
  const points = parts.points ?? world.points
  const { stage, root } = attester(world, pool, parts)
  await stage.trace(toHex(world.batch), { points, audited })
  const factsAt = (beacon: string): BatchFacts => ({ ...factsOf(world, root(), beacon), points })
  let facts = factsAt(parts.beacon ?? 'challenge 0')
  if (parts.beacon === undefined && world.model === DIGITS)
    for (let i = 1; !chained(world, facts); i++) facts = factsAt(`challenge ${i}`)
  const sealed = await stage.attest(toHex(world.batch), facts)
  const opened = open('attestation', NETWORK, sealed)
  if (typeof opened === 'string') throw new Error(opened)
  return { facts, sealed, message: opened.message }
}

/** A message that a test may change, through its wire form. */
export const copyOf = (message: Payload<'attestation'>): Payload<'attestation'> =>
  decode(AttestationSchema, encode(AttestationSchema, message))!

/** A committee member's verification. */
export function verify(
  { facts, message }: Pick<Attested, 'facts' | 'message'>,
  verifier: Verifier,
  world: Pick<World, 'model'>,
  overrides: Partial<VerifyContext> = {},
): Promise<AttestationResult> {
  return verifyAttestation(facts, message, {
    networkId: NETWORK,
    tileDraws: TILE_DRAWS,
    vouchers: ESCROW,
    model: async () => world.model,
    verifier,
    committer,
    voter: VOTER.address,
    ...overrides,
  })
}
