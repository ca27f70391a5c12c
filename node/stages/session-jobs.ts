import { bigintToBytes, toHex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import { seal } from '../../protocol/envelope.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import { type Envelope, EnvelopeSchema, type Request, type Voucher } from '../../protocol/gen/sinter_pb.js'
import type { ChainSession } from '../../protocol/rules/assignment.ts'
import { jobKeyDigest, judgeInput, tensorsDigest } from '../../protocol/rules/input.ts'
import type { SessionHead } from '../../protocol/rules/receipt.ts'
import { judgeVoucher } from '../../protocol/rules/voucher.ts'
import { commitSide } from '../attestation/commit.ts'
import { publicKeyOfPeer } from '../identity/identity.ts'
import { type Frame, writeFailure, writeFrame } from '../jobs/frames.ts'
import { int16Bytes, type JobRecord, type SessionRecord } from '../jobs/ledger.ts'
import { carriedTensors, jobShapes, quantisedInputs, type WireTensor } from '../jobs/tensors.ts'
import type { Runtime, Served } from '../model/runtime.ts'
import type { FrameStream } from '../net/frame-stream.ts'
import { ownTurn } from '../timers.ts'
import type { SessionComponents } from './session.ts'

/** Inputs from this size on are dealt with in turns of the event loop of their own: each step over 4 MB takes some milliseconds. */
const LARGE_BYTES = 2 ** 18

/** A job that has been served and awaits the consumer's statement of its input. The request's own bytes are not kept. */
type Unreceipted = { jobKey: Uint8Array; inputDigest: Uint8Array; inputs: Int16Array[]; quantised: Served['quantised'] }

/** What working on a job came to: its input, its outputs, and what goes back, themselves or where they are. */
type Done = Pick<Unreceipted, 'inputs' | 'inputDigest'> & {
  served: Served
  answer: { outputs: WireTensor[] } | { sealed: Uint8Array }
}

/** A job that is being worked on. */
type Job = {
  jobKey: Uint8Array
  done: Promise<Done>
  /** Settles when it has its answer or was dropped. */
  answered: Promise<void>
}

/** One session on one stream. Jobs are worked on side by side and answered in their order; what makes receipts of answers is handled in order, so receipts are too. */
export function createSession(
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
  let answeredAt = Number.NEGATIVE_INFINITY
  const allowed = BigInt(window - record.unpaid)
  /** Jobs that are worked on, by their numbers, which follow the last one answered. */
  const underWay = new Map<bigint, Job>()
  /** Whether the job after the last one under way failed, and its number has not come again. */
  let failing = false
  const awaiting = new Map<bigint, Unreceipted>()
  /** Jobs with a receipt and without a voucher, in order. Those of an earlier stream were dropped when this one began. */
  const unvouched: JobRecord[] = []
  /** Outputs of the last result on this stream, which the next request may take as inputs without sending them back. */
  let last: WireTensor[] | null = null
  const next = (): bigint => served + BigInt(underWay.size) + 1n

  /** What the consumer is to its files: whom it sealed them for, and who opens what we seal. */
  const reader = { peer: stream.remotePeer.toString(), publicKey: publicKeyOfPeer(stream.remotePeer) }

  /** The input as its digest has it: what was sent, then what is carried; or all of it by content. */
  async function received({ inputs, carry, sealed }: Request): Promise<WireTensor[]> {
    if (sealed === undefined) return [...inputs, ...carriedTensors(manifest, last, carry)]
    if (components.sealed === undefined || inputs.length + carry.length > 0)
      throw new SinterError('INPUT_SEALED', 'an input goes by content as a whole, with a provider that takes it so')
    return components.sealed.input(sealed, reader, manifest)
  }

  /** One job fails; those after it, which were sent before anybody knew, fail with it and without a word. The session goes on. */
  function fail(seq: bigint, code: string, message: string): Promise<void> {
    for (const number of underWay.keys()) if (number >= seq) underWay.delete(number)
    failing = true
    return writeFailure(stream, seq, code, message)
  }

  /** Why no further job is taken up now, as a code and its reason, or null. */
  function refusal(seq: bigint): [code: string, message: string] | null {
    if (seq - acknowledged.seq > allowed) return ['WINDOW_FULL', `${window} answers have no voucher`]
    const { closing, ceiling } = chainSession()
    if (closing) return ['SESSION_CLOSING', 'the session ends too soon to be paid']
    const open = BigInt(awaiting.size + underWay.size + 1)
    if (issued.cumulative + open * record.price > ceiling)
      return ['SESSION_CEILING', 'the session cannot pay for another job']
    return null
  }

  async function work(request: Request): Promise<Done> {
    const tensors = await received(request)
    const breath = tensors.reduce((sum, { data }) => sum + data.length, 0) < LARGE_BYTES ? () => {} : ownTurn
    await breath()
    const inputs = quantisedInputs(manifest, tensors)
    const runtime = await components.runtime(record.manifest, record.policy)
    await breath()
    const serving = record.canonical ? runtime.serveCanonical(inputs) : runtime.serve(inputs)
    // While the model runs.
    const digest = async (): Promise<Uint8Array> => {
      await breath()
      return tensorsDigest(tensors)
    }
    const [served, inputDigest] = await Promise.all([serving, digest()])
    // An input the model was not calibrated for can push the answer off its canonical value; no receipt is made over that.
    if (!record.canonical && !runtime.accepts(inputs, served.quantised))
      throw new SinterError('OUTPUT_OFF_TOLERANCE', 'this input is outside of what the model was calibrated for')
    const place = { session: record.session, seq: request.seq }
    const sealed = request.sealed && (await components.sealed!.output(place, reader.publicKey, served.outputs))
    const answer = sealed === undefined ? { outputs: served.outputs } : { sealed }
    return { inputs, inputDigest, served, answer }
  }

  /** Answers a job once the one before it is answered, unless it was dropped by then. */
  async function answer(seq: bigint, job: Job, before: Promise<void> | undefined): Promise<void> {
    await before
    let done: Done
    try {
      done = await job.done
    } catch (error) {
      if (underWay.get(seq) === job) await failed(seq, error)
      return
    }
    if (underWay.get(seq) !== job) return
    const { inputs, inputDigest, served: result } = done
    last = result.outputs
    // Before the answer leaves: what the consumer says to it may be here before the transport takes more.
    awaiting.set(seq, { jobKey: job.jobKey, inputDigest, inputs, quantised: result.quantised })
    // Also when the stream breaks here: the answer may have arrived.
    served = seq
    underWay.delete(seq)
    answeredAt = performance.now()
    const value = { seq, ...done.answer, executionUs: result.executionUs }
    try {
      await writeFrame(stream, { case: 'result', value })
    } catch (error) {
      // Nothing further is given.
      underWay.clear()
      throw error
    }
  }

  function failed(seq: bigint, error: unknown): Promise<void> {
    log.warn(
      { event: 'job.failed', session: toHex(record.session), seq: Number(seq), error: describeError(error) },
      'a job failed',
    )
    return fail(seq, errorCode(error), error instanceof SinterError ? error.message : 'the job failed')
  }

  async function onRequest(request: Request, before: Promise<void>): Promise<{ answered: Promise<void> }> {
    const { seq } = request
    // Its sender may know of vouchers that are still on their way through the other lane.
    if (seq - acknowledged.seq > allowed) await before
    // What is carried is of the answer before.
    if (request.carry.length > 0) await underWay.get(seq - 1n)?.answered
    if (failing && seq > next()) return { answered: Promise.resolve() }
    if (seq !== next()) throw new SinterError('REQUEST_SEQUENCE', `job ${next()} expected, not ${seq}`)
    failing = false
    if (request.jobKey.length !== 32) throw new SinterError('REQUEST_JOB_KEY', 'a job key has 32 bytes')
    const refused = refusal(seq)
    if (refused !== null) return { answered: fail(seq, ...refused) }
    const previous = underWay.get(seq - 1n)?.answered
    const job: Job = { jobKey: request.jobKey, done: work(request), answered: Promise.resolve() }
    // Whoever waits for it later hears of it.
    job.done.catch(() => {})
    underWay.set(seq, job)
    job.answered = answer(seq, job, previous)
    return job
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
    const issue: JobRecord = {
      session: record.session,
      seq,
      manifest: record.manifest,
      receiptHash: receipt.id,
      payload: receipt.envelope.payload,
      signature: receipt.envelope.signature,
      price: record.price,
      cumulative,
      jobKey,
      inputStatement: encode(EnvelopeSchema, { payload: envelope.payload, signature: envelope.signature }),
      voucher: null,
    }
    await ledger.issue(issue, { inputs: inputs.map(int16Bytes), served: quantised.map(int16Bytes) })
    awaiting.delete(seq)
    unvouched.push(issue)
    issued = { seq, cumulative, head: receipt.id }
    await writeFrame(stream, { case: 'receipt', value: receipt.envelope })
  }

  async function onVoucher(voucher: Voucher): Promise<void> {
    const [job] = unvouched
    if (job === undefined) throw new SinterError('VOUCHER_UNEXPECTED', 'no receipt awaits a voucher')
    const receipt = { session: job.session, seq: job.seq, cumulative: job.cumulative, hash: job.receiptHash }
    const judged = judgeVoucher(voucher, { domain: vouchers, signer: record.signer, receipt })
    if (judged.action !== 'accept') throw new SinterError(judged.code, 'the voucher does not acknowledge the receipt')
    acknowledged = await ledger.acknowledge(record, job, judged.value.signature)
    unvouched.shift()
    log.debug(
      { event: 'receipt.acknowledged', session: toHex(record.session), seq: Number(job.seq) },
      'receipt acknowledged',
    )
  }

  return {
    onRequest,
    async onFrame(frame: Frame): Promise<void> {
      switch (frame.case) {
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
    /** When a job was last worked on (ms, by `performance.now`). */
    workedAt: (): number => (underWay.size > 0 ? performance.now() : answeredAt),
  }
}
