import type { Committer } from '../../circuits/commit.ts'
import { bigintToBytes, equalBytes, toHex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import type { SigningDomain } from '../../protocol/eip712.ts'
import { seal } from '../../protocol/envelope.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import { type Envelope, EnvelopeSchema, type Request, type Voucher } from '../../protocol/gen/sinter_pb.js'
import {
  type Assignment,
  type AssignmentContext,
  type ChainSession,
  judgeAssignment,
} from '../../protocol/rules/assignment.ts'
import { jobKeyDigest, judgeInput, tensorsDigest } from '../../protocol/rules/input.ts'
import type { Policy, SessionHead } from '../../protocol/rules/receipt.ts'
import { judgeVoucher } from '../../protocol/rules/voucher.ts'
import { commitSide } from '../attestation/commit.ts'
import type { Roots } from '../attestation/root-pool.ts'
import type { Identity } from '../identity/identity.ts'
import { publicKeyOfPeer } from '../identity/identity.ts'
import { type Frame, readFrame, writeFailure, writeFrame } from '../jobs/frames.ts'
import { int16Bytes, type JobRecord, type Ledger, type SessionRecord } from '../jobs/ledger.ts'
import { carriedTensors, jobShapes, quantisedInputs, type WireTensor } from '../jobs/tensors.ts'
import type { Runtime, Served } from '../model/runtime.ts'
import type { FrameStream } from '../net/frame-stream.ts'
import type { Log } from '../net/log.ts'
import type { StreamHandler } from '../net/streams.ts'
import type { SealedJobs } from './sealed-jobs.ts'
import { watchSession } from './session-watch.ts'

export type SessionComponents = {
  identity: Identity
  networkId: Uint8Array
  /** Chain and escrow, for vouchers. */
  vouchers: SigningDomain
  ledger: Ledger
  committer: Committer
  /** Roots of inputs and outputs. @default by the committer, in this thread */
  roots?: Roots
  /** The loaded model of a manifest CID, whose jobs can be attested under the policy. */
  runtime(manifest: string, policy: Policy): Promise<Runtime>
  /** Inputs and outputs by content. @default a request that names one is refused */
  sealed?: SealedJobs
  bid: AssignmentContext['bid']
  chainSession: AssignmentContext['session']
  now(): number
  log: Log
}

export type SessionInit = {
  /**
   * Answers of a session that may go without their voucher: with the price, the most a vanished consumer can owe. Those it
   * left unpaid when its stream ended count for ever, so coming back does not open a new window. @default 8
   */
  window?: number
  /** A session without a frame for this long is closed (ms). @default 120_000 */
  idleMs?: number
  /** Seconds a session must have left on chain. @default 60 */
  minimumLifeS?: number
  /** How often a session in use is looked up on chain (ms): its consumer may be closing it. @default 10_000 */
  recheckMs?: number
}

/** A job that has been served and awaits the consumer's statement of its input. The request's own bytes are not kept. */
type Unreceipted = { jobKey: Uint8Array; inputDigest: Uint8Array; inputs: Int16Array[]; quantised: Served['quantised'] }

/** One session on one stream. Frames are handled in order, so receipts are too. */
function createSession(
  components: SessionComponents,
  stream: FrameStream,
  record: SessionRecord,
  { model }: Runtime,
  chainSession: () => ChainSession,
  window: number,
) {
  const { identity, networkId, vouchers, ledger, committer, log } = components
  const { manifest } = model
  const { roots = async (of, ...side) => commitSide(committer, of, ...side) } = components
  let acknowledged: SessionHead = record.acknowledged
  let issued: SessionHead = acknowledged
  let served = acknowledged.seq
  const allowed = BigInt(window - record.unpaid)
  const awaiting = new Map<bigint, Unreceipted>()
  /** Outputs of the last result on this stream, which the next request may take as inputs without sending them back. */
  let last: WireTensor[] | null = null

  /** What the consumer is to its files: whom it sealed them for, and who opens what we seal. */
  const reader = { peer: stream.remotePeer.toString(), publicKey: publicKeyOfPeer(stream.remotePeer) }

  /** The input as its digest has it: what was sent, then what is carried; or all of it by content. */
  async function received({ inputs, carry, sealed }: Request): Promise<WireTensor[]> {
    if (sealed === undefined) return [...inputs, ...carriedTensors(manifest, last, carry)]
    if (components.sealed === undefined || inputs.length + carry.length > 0)
      throw new SinterError('INPUT_SEALED', 'an input goes by content as a whole, with a provider that takes it so')
    return components.sealed.input(sealed, reader, manifest)
  }

  async function onRequest(request: Request): Promise<void> {
    const { seq } = request
    if (seq !== served + 1n) throw new SinterError('REQUEST_SEQUENCE', `job ${served + 1n} expected, not ${seq}`)
    if (request.jobKey.length !== 32) throw new SinterError('REQUEST_JOB_KEY', 'a job key has 32 bytes')
    if (seq - acknowledged.seq > allowed)
      return writeFailure(stream, seq, 'WINDOW_FULL', `${window} answers have no voucher`)
    const { closing, ceiling } = chainSession()
    if (closing) return writeFailure(stream, seq, 'SESSION_CLOSING', 'the session ends too soon to be paid')
    if (issued.cumulative + BigInt(awaiting.size + 1) * record.price > ceiling)
      return writeFailure(stream, seq, 'SESSION_CEILING', 'the session cannot pay for another job')
    try {
      const tensors = await received(request)
      const inputs = quantisedInputs(manifest, tensors)
      const runtime = await components.runtime(record.manifest, record.policy)
      const result = await (record.canonical ? runtime.serveCanonical(inputs) : runtime.serve(inputs))
      // An input the model was not calibrated for can push the answer off its canonical value; no receipt is made over that.
      if (!record.canonical && !runtime.accepts(inputs, result.quantised))
        throw new SinterError('OUTPUT_OFF_TOLERANCE', 'this input is outside of what the model was calibrated for')
      const place = { session: record.session, seq }
      const sealed = request.sealed && (await components.sealed!.output(place, reader.publicKey, result.outputs))
      const answer = sealed === undefined ? { outputs: result.outputs } : { sealed }
      const frame = { seq, ...answer, executionUs: result.executionUs }
      const inputDigest = tensorsDigest(tensors)
      last = result.outputs
      // Before the answer leaves: what the consumer says to it may be here before the transport takes more.
      awaiting.set(seq, { jobKey: request.jobKey, inputDigest, inputs, quantised: result.quantised })
      await writeFrame(stream, { case: 'result', value: frame }).finally(() => {
        // Also when the stream broke: the answer may have arrived.
        served = seq
      })
    } catch (error) {
      if (served === seq) throw error
      // One job fails; the session and the node go on.
      log.warn(
        { event: 'job.failed', session: toHex(record.session), seq: Number(seq), error: describeError(error) },
        'a job failed',
      )
      await writeFailure(stream, seq, errorCode(error), error instanceof SinterError ? error.message : 'the job failed')
    }
  }

  /** The consumer has said what it sent: the job gets its receipt, on disk before it is sent. */
  async function onInputStatement(envelope: Envelope): Promise<void> {
    const seq = issued.seq + 1n
    const job = awaiting.get(seq)
    if (job === undefined) throw new SinterError('INPUT_UNEXPECTED', 'no served job awaits its input statement')
    const { jobKey, inputDigest, inputs, quantised } = job
    const [inputRoot, outputRoot] = await Promise.all([
      roots(model, 'input', jobKey, inputs),
      roots(model, 'output', jobKey, quantised),
    ])
    const judged = judgeInput(envelope, {
      networkId,
      signer: record.signer,
      session: record.session,
      seq,
      received: { inputDigest, jobKeyDigest: jobKeyDigest(jobKey), inputRoot },
    })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the input statement does not match the job')
    const cumulative = issued.cumulative + record.price
    const receipt = seal('receipt', networkId, identity.privateKey, {
      session: record.session,
      seq,
      manifest: model.cid.bytes,
      inputRoot,
      outputRoot,
      shapes: jobShapes(manifest).map((dims) => ({ dims })),
      units: BigInt(manifest.units),
      price: bigintToBytes(record.price, 16),
      cumulative: bigintToBytes(cumulative, 16),
      previous: issued.head,
      // The default is not spelled out on the wire.
      policy: record.policy === 'zk' ? '' : record.policy,
      canonical: record.canonical,
    })
    await ledger.issue({
      session: record.session,
      seq,
      manifest: record.manifest,
      receiptHash: receipt.id,
      payload: receipt.envelope.payload,
      signature: receipt.envelope.signature,
      price: record.price,
      cumulative,
      jobKey,
      inputs: inputs.map(int16Bytes),
      served: quantised.map(int16Bytes),
      inputStatement: encode(EnvelopeSchema, { payload: envelope.payload, signature: envelope.signature }),
      voucher: null,
    })
    awaiting.delete(seq)
    issued = { seq, cumulative, head: receipt.id }
    await writeFrame(stream, { case: 'receipt', value: receipt.envelope })
  }

  async function onVoucher(voucher: Voucher): Promise<void> {
    const job: JobRecord | null = await ledger.job(record.session, acknowledged.seq + 1n)
    if (job === null) throw new SinterError('VOUCHER_UNEXPECTED', 'no receipt awaits a voucher')
    const receipt = { session: job.session, seq: job.seq, cumulative: job.cumulative, hash: job.receiptHash }
    const judged = judgeVoucher(voucher, { domain: vouchers, signer: record.signer, receipt })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the voucher does not acknowledge the receipt')
    acknowledged = await ledger.acknowledge(job, judged.value.signature)
    log.debug(
      { event: 'receipt.acknowledged', session: toHex(record.session), seq: Number(job.seq) },
      'receipt acknowledged',
    )
  }

  return {
    async onFrame(frame: Frame): Promise<void> {
      switch (frame.case) {
        case 'request':
          return onRequest(frame.value)
        case 'inputStatement':
          return onInputStatement(frame.value)
        case 'voucher':
          return onVoucher(frame.value)
        default:
          throw new SinterError('FRAME_UNEXPECTED', `a provider does not take ${frame.case} frames`)
      }
    },
    /** Answers given for which there is no voucher. */
    unpaid: (): number => Number(served - acknowledged.seq),
  }
}

/** Requests that may wait for one another; those beyond are left in the stream, whose sender then waits. */
const MAX_WAITING = 4

/**
 * Frames in two lanes: requests, and what makes receipts of answers. A request waits for all that came before it, so the window and the
 * ceiling it is held against are what its sender knew; statements and vouchers do not wait for the model to run.
 */
function createLanes(onFrame: (frame: Frame) => Promise<void>) {
  let failure: { error: unknown } | null = null
  let wake: (error: unknown) => void = () => {}
  const fail = (error: unknown): void => {
    failure ??= { error }
    wake(failure.error)
  }
  let requests: Promise<void> = Promise.resolve()
  let receipts: Promise<void> = Promise.resolve()
  let waiting = 0
  return {
    /** What is waited for, unless a lane fails first. */
    orFailure: <T>(work: Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        wake = reject
        work.then(resolve, reject)
        if (failure !== null) reject(failure.error)
      }),
    async push(frame: Frame): Promise<void> {
      if (frame.case !== 'request') {
        receipts = receipts.then(() => onFrame(frame))
        receipts.catch(fail)
        return
      }
      const before = receipts
      waiting++
      requests = requests.then(() => before).then(() => onFrame(frame))
      requests.catch(fail).finally(() => waiting--)
      if (waiting >= MAX_WAITING) await requests
    },
    /** Once nothing runs any more; a lane that failed runs nothing further. */
    settled: () => Promise.allSettled([requests, receipts]),
  }
}

/** Serves the job protocol: assignment, then jobs until the consumer closes. Errors reach the consumer with their code. */
export function jobHandler(components: SessionComponents, init: SessionInit = {}): StreamHandler {
  const { identity, networkId, ledger, log } = components
  const limits: Required<SessionInit> = {
    window: 8,
    idleMs: 120_000,
    minimumLifeS: 60,
    recheckMs: 10_000,
    ...init,
  }
  const active = new Set<string>()

  async function assigned(stream: FrameStream, peerKey: Uint8Array): Promise<Assignment & { onChain: ChainSession }> {
    const first = await readFrame(stream, 10_000)
    if (first.case !== 'assignment') throw new SinterError('FRAME_UNEXPECTED', 'a session begins with an assignment')
    let onChain: ChainSession | null = null
    const judged = await judgeAssignment(first.value, {
      networkId,
      nowMs: components.now(),
      provider: identity.address,
      peerKey,
      bid: components.bid,
      session: async (session) => {
        onChain = await components.chainSession(session)
        return onChain
      },
      resumable: async (session, bid) => {
        const record = await ledger.session(session)
        return record !== null && equalBytes(record.bid, bid)
      },
      minimumLifeS: limits.minimumLifeS,
    })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the assignment is refused')
    return { ...judged.value, onChain: onChain! }
  }

  /** Only with the session marked as active: what another stream of it was writing is then on disk. */
  async function open({ session, bid, signer, ceiling, onChain }: Assignment & { onChain: ChainSession }) {
    const record = await ledger.session(session)
    if (record !== null) {
      if (!equalBytes(record.bid, bid.id))
        throw new SinterError('SESSION_BID', 'the session was begun under another bid')
      await ledger.dropUnacknowledged(session)
      return record
    }
    // Receipts that we have lost cannot be followed by new ones: the contract would refuse them.
    if (onChain.spent > 0n) throw new SinterError('SESSION_LOST', 'this node has no memory of the session')
    const { id, manifest, price, policy, canonical } = bid
    return ledger.openSession({ session, signer, bid: id, manifest, price, ceiling, policy, canonical })
  }

  async function serve(stream: FrameStream, assignment: Assignment & { onChain: ChainSession }): Promise<void> {
    const record = await open(assignment)
    const runtime = await components.runtime(record.manifest, record.policy)
    const { seq, cumulative, head } = record.acknowledged
    const { onFrame, unpaid } = createSession(
      components,
      stream,
      record,
      runtime,
      watchSession(components, record.session, assignment.onChain, limits),
      limits.window,
    )
    await writeFrame(stream, { case: 'accepted', value: { seq, cumulative: bigintToBytes(cumulative, 16), head } })
    log.info({ event: 'session.opened', session: toHex(record.session), consumer: record.signer }, 'session opened')
    const lanes = createLanes(onFrame)
    try {
      for (;;) await lanes.push(await lanes.orFailure(readFrame(stream, limits.idleMs)))
    } finally {
      await lanes.settled()
      if (unpaid() > 0) await ledger.addUnpaid(record.session, unpaid())
    }
  }

  return async (stream, peer) => {
    let key: string | null = null
    try {
      const assignment = await assigned(stream, publicKeyOfPeer(peer))
      const session = toHex(assignment.session)
      if (active.has(session)) throw new SinterError('SESSION_BUSY', 'the session is already served on another stream')
      key = session
      active.add(key)
      await serve(stream, assignment)
    } catch (error) {
      const code = errorCode(error)
      if (code === 'STREAM_CLOSED') return
      log.warn(
        { event: 'session.failed', session: key, code, error: describeError(error) },
        'session ended with an error',
      )
      if (!stream.closed) {
        const message = error instanceof SinterError ? error.message : 'the provider failed'
        await writeFailure(stream, 0n, code, message).catch(() => {})
      }
    } finally {
      if (key !== null) active.delete(key)
    }
  }
}
