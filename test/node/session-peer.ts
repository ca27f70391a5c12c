import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { commitSide } from '../../node/attestation/commit.ts'
import { type Frame, type FrameInit, readFrame, writeFrame } from '../../node/jobs/frames.ts'
import { quantisedInputs, toWire } from '../../node/jobs/tensors.ts'
import type { FrameStream } from '../../node/net/frame-stream.ts'
import { bigintToBytes } from '../../protocol/bytes.ts'
import { signTyped, voucherDigest } from '../../protocol/eip712.ts'
import { seal } from '../../protocol/envelope.ts'
import { errorCode } from '../../protocol/errors.ts'
import { jobKeyDigest, tensorsDigest } from '../../protocol/rules/input.ts'
import { openReceipt, type Receipt } from '../../protocol/rules/receipt.ts'
import { bytes32, committer, consumer, ESCROW, model, NETWORK, type World } from './session-world.ts'

const { images } = loadHeldOut()
const { manifest } = model
const [input] = manifest.inputs

/** The code that some work fails with, or NONE. */
export async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    return errorCode(error)
  }
  return 'NONE'
}

/** A consumer that says what a test wants it to say. */
export function hostile(world: World, stream: FrameStream) {
  const wire = [toWire(input!.name, input!.shape, images[0]!)]
  const jobKey = bytes32()
  const say = (frame: FrameInit) => writeFrame(stream, frame)
  const hear = (): Promise<Frame> => readFrame(stream, 5_000)
  return {
    say,
    hear,
    async assign() {
      const { session, bid } = world
      const fields = { offer: bid.offer, bid: bid.id, session }
      await say({ case: 'assignment', value: seal('assignment', NETWORK, consumer.privateKey, fields).envelope })
      return hear()
    },
    async request(seq: bigint, inputs = wire) {
      await say({ case: 'request', value: { seq, jobKey, inputs } })
      return hear()
    },
    async state(seq: bigint, change: { inputRoot?: Uint8Array; key?: Uint8Array } = {}) {
      const inputRoot = commitSide(committer, model, 'input', jobKey, quantisedInputs(manifest, wire))
      const fields = {
        session: world.session,
        seq,
        inputDigest: tensorsDigest(wire),
        jobKeyDigest: jobKeyDigest(jobKey),
        inputRoot: change.inputRoot ?? inputRoot,
      }
      const { envelope } = seal('input', NETWORK, change.key ?? consumer.privateKey, fields)
      await say({ case: 'inputStatement', value: envelope })
      return hear()
    },
    async vouch(receipt: Receipt, change: Partial<{ session: Uint8Array; cumulative: bigint; key: Uint8Array }> = {}) {
      const { seq, hash } = receipt
      const fields = {
        session: change.session ?? world.session,
        seq,
        cumulative: change.cumulative ?? receipt.cumulative,
        receipt: hash,
      }
      const signature = signTyped(voucherDigest(ESCROW, fields), change.key ?? consumer.privateKey)
      await say({ case: 'voucher', value: { ...fields, cumulative: bigintToBytes(fields.cumulative, 16), signature } })
    },
  }
}

/** The code of a frame that must be a failure. */
export function failureOf(frame: Frame): string {
  assert.is(frame.case, 'failure')
  return frame.case === 'failure' ? frame.value.code : ''
}

/** The receipt in a frame that must be one. */
export function receiptOf(frame: Frame): Receipt {
  assert.is(frame.case, 'receipt')
  const judged = openReceipt(frame.value as never, NETWORK)
  assert.is(judged.action, 'accept')
  return (judged as { value: Receipt }).value
}

/** Opens a stream and brings it to its first receipt. */
export async function withReceipt(world: World) {
  const { stream, served } = world.connect()
  const peer = hostile(world, stream)
  assert.is((await peer.assign()).case, 'accepted')
  assert.is((await peer.request(1n)).case, 'result')
  return { stream, served, peer, receipt: receiptOf(await peer.state(1n)) }
}
