import { bytesToBigint, equalBytes } from '../../protocol/bytes.ts'
import { seal } from '../../protocol/envelope.ts'
import { SinterError } from '../../protocol/errors.ts'
import { SESSION_START } from '../../protocol/rules/receipt.ts'
import { readFrame, writeFrame } from '../jobs/frames.ts'
import type { FrameStream } from '../net/frame-stream.ts'
import { saidByProvider } from './failures.ts'
import type { ConsumerComponents, SessionTerms } from './session.ts'

/** Opens the job stream and takes the bid, on a session that has no receipts yet. Throws the provider's refusal code, or the stream's. */
export async function assign(components: ConsumerComponents, terms: SessionTerms): Promise<FrameStream> {
  const { identity, networkId, streams } = components
  const stream = await streams.open(terms.bid.peerId, 'job')
  const assignment = seal('assignment', networkId, identity.privateKey, {
    offer: terms.offer,
    bid: terms.bid.id,
    session: terms.session,
  })
  await writeFrame(stream, { case: 'assignment', value: assignment.envelope })
  const reply = await readFrame(stream, 30_000)
  if (reply.case === 'failure') throw saidByProvider(reply.value)
  if (reply.case !== 'accepted')
    throw new SinterError('FRAME_UNEXPECTED', `the provider answered with a ${reply.case} frame`)
  const { seq, cumulative, head } = reply.value
  const start = seq === SESSION_START.seq && equalBytes(head, SESSION_START.head) && bytesToBigint(cumulative) === 0n
  if (!start)
    throw new SinterError('SESSION_OUT_OF_STEP', 'the provider has receipts of this session that we do not know')
  return stream
}
