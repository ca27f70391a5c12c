import type { Committer } from '../../circuits/commit.ts'
import { bigintToBytes, equalBytes, toHex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import type { SigningDomain } from '../../protocol/eip712.ts'
import { seal } from '../../protocol/envelope.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import { type Envelope, EnvelopeSchema, type Request, type Voucher } from '../../protocol/gen/sinter_pb.js'
import { type AssignmentContext, judgeAssignment } from '../../protocol/rules/assignment.ts'
import { jobKeyDigest, judgeInput, tensorsDigest } from '../../protocol/rules/input.ts'
import type { SessionHead } from '../../protocol/rules/receipt.ts'
import { judgeVoucher } from '../../protocol/rules/voucher.ts'
import { commitSide } from '../attestation/commit.ts'
import type { Identity } from '../identity/identity.ts'
import { publicKeyOfPeer } from '../identity/identity.ts'
import { type Frame, readFrame, writeFailure, writeFrame } from '../jobs/frames.ts'
import { int16Bytes, type JobRecord, type Ledger, type SessionRecord } from '../jobs/ledger.ts'
import { jobShapes, quantisedInputs } from '../jobs/tensors.ts'
import type { Runtime, Served } from '../model/runtime.ts'
import type { FrameStream } from '../net/frame-stream.ts'
import type { Log } from '../net/log.ts'
import type { StreamHandler } from '../net/streams.ts'

export type SessionComponents = {
  identity: Identity
  networkId: Uint8Array
  /** Chain and escrow, for vouchers. */
  vouchers: SigningDomain
  ledger: Ledger
  committer: Committer
  /** The loaded model of a manifest CID. */
  runtime(manifest: string): Promise<Runtime>
  bid: AssignmentContext['bid']
  chainSession: AssignmentContext['session']
  now(): number
  log: Log
}

export type SessionInit = {
  /** Receipts that may await their voucher: with the price, the most a vanished consumer can owe. @default 8 */
  window?: number
  /** A session without a frame for this long is closed (ms). @default 120_000 */
  idleMs?: number
  /** Seconds a session must have left on chain. @default 60 */
  minimumLifeS?: number
}

/** A job that has been served and awaits the consumer's statement of its input. */
type Unreceipted = { request: Request; inputs: Int16Array[]; served: Served }

/** One session on one stream. Frames are handled in order, so receipts are too. */
function createSession(
  components: SessionComponents,
  stream: FrameStream,
  record: SessionRecord,
  runtime: Runtime,
  window: number,
) {
  const { identity, networkId, vouchers, ledger, committer, log } = components
  const { manifest } = runtime.model
  let acknowledged: SessionHead = record.acknowledged
  let issued: SessionHead = acknowledged
  let served = acknowledged.seq
  const awaiting = new Map<bigint, Unreceipted>()

  async function onRequest(request: Request): Promise<void> {
    const { seq } = request
    if (seq !== served + 1n) throw new SinterError('REQUEST_SEQUENCE', `job ${served + 1n} expected, not ${seq}`)
    if (request.jobKey.length !== 32) throw new SinterError('REQUEST_JOB_KEY', 'a job key has 32 bytes')
    if (seq - acknowledged.seq > BigInt(window))
      return writeFailure(stream, seq, 'WINDOW_FULL', `${window} receipts await their vouchers`)
    if (issued.cumulative + BigInt(awaiting.size + 1) * record.price > record.ceiling)
      return writeFailure(stream, seq, 'SESSION_CEILING', 'the session cannot pay for another job')
    try {
      const inputs = quantisedInputs(manifest, request.inputs)
      const result = await runtime.serve(inputs)
      // An input the model was not calibrated for can push the answer off its canonical value; no receipt is made over that.
      if (!runtime.accepts(inputs, result.quantised))
        throw new SinterError('OUTPUT_OFF_TOLERANCE', 'this input is outside of what the model was calibrated for')
      await writeFrame(stream, {
        case: 'result',
        value: { seq, outputs: result.outputs, executionUs: result.executionUs },
      })
      served = seq
      awaiting.set(seq, { request, inputs, served: result })
    } catch (error) {
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
    const { request, inputs } = job
    const inputRoot = commitSide(committer, runtime.model, 'input', request.jobKey, inputs)
    const judged = judgeInput(envelope, {
      networkId,
      consumer: record.consumer,
      session: record.session,
      seq,
      received: { inputDigest: tensorsDigest(request.inputs), jobKeyDigest: jobKeyDigest(request.jobKey), inputRoot },
    })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the input statement does not match the job')
    const cumulative = issued.cumulative + record.price
    const receipt = seal('receipt', networkId, identity.privateKey, {
      session: record.session,
      seq,
      manifest: runtime.model.cid.bytes,
      inputRoot,
      outputRoot: commitSide(committer, runtime.model, 'output', request.jobKey, job.served.quantised),
      shapes: jobShapes(manifest).map((dims) => ({ dims })),
      units: BigInt(manifest.units),
      price: bigintToBytes(record.price, 16),
      cumulative: bigintToBytes(cumulative, 16),
      previous: issued.head,
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
      jobKey: request.jobKey,
      inputs: inputs.map(int16Bytes),
      served: job.served.quantised.map(int16Bytes),
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
    const judged = judgeVoucher(voucher, { domain: vouchers, consumer: record.consumer, receipt })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the voucher does not acknowledge the receipt')
    acknowledged = await ledger.acknowledge(job, judged.value.signature)
    log.debug(
      { event: 'receipt.acknowledged', session: toHex(record.session), seq: Number(job.seq) },
      'receipt acknowledged',
    )
  }

  return async function onFrame(frame: Frame): Promise<void> {
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
  }
}

/** Serves the job protocol: assignment, then jobs until the consumer closes. Errors reach the consumer with their code. */
export function jobHandler(components: SessionComponents, init: SessionInit = {}): StreamHandler {
  const { identity, networkId, ledger, log } = components
  const { window = 8, idleMs = 120_000, minimumLifeS = 60 } = init
  const active = new Set<string>()

  async function open(stream: FrameStream, peerKey: Uint8Array): Promise<SessionRecord> {
    const first = await readFrame(stream, 10_000)
    if (first.case !== 'assignment') throw new SinterError('FRAME_UNEXPECTED', 'a session begins with an assignment')
    const judged = await judgeAssignment(first.value, {
      networkId,
      nowMs: components.now(),
      provider: identity.address,
      peerKey,
      bid: components.bid,
      session: components.chainSession,
      resumable: async (session, bid) => {
        const record = await ledger.session(session)
        return record !== null && equalBytes(record.bid, bid)
      },
      minimumLifeS,
    })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the assignment is refused')
    const { session, bid, consumer, ceiling } = judged.value
    const record =
      (await ledger.session(session)) ??
      (await ledger.openSession({ session, consumer, bid: bid.id, manifest: bid.manifest, price: bid.price, ceiling }))
    return { ...record, ceiling }
  }

  return async (stream, peer) => {
    let key: string | null = null
    try {
      const record = await open(stream, publicKeyOfPeer(peer))
      key = toHex(record.session)
      if (active.has(key)) throw new SinterError('SESSION_BUSY', 'the session is already served on another stream')
      active.add(key)
      await ledger.dropUnacknowledged(record.session)
      const runtime = await components.runtime(record.manifest)
      const { seq, cumulative, head } = record.acknowledged
      await writeFrame(stream, { case: 'accepted', value: { seq, cumulative: bigintToBytes(cumulative, 16), head } })
      log.info({ event: 'session.opened', session: key, consumer: record.consumer }, 'session opened')
      const onFrame = createSession(components, stream, record, runtime, window)
      for (;;) await onFrame(await readFrame(stream, idleMs))
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
