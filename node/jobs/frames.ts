import type { MessageInitShape } from '@bufbuild/protobuf'
import { decode, encode } from '../../protocol/codec.ts'
import { SinterError } from '../../protocol/errors.ts'
import { type JobFrame, JobFrameSchema } from '../../protocol/gen/sinter_pb.js'
import type { FrameStream } from '../net/frame-stream.ts'

export type Frame = NonNullable<JobFrame['frame']>
export type FrameInit = NonNullable<MessageInitShape<typeof JobFrameSchema>['frame']>

export const encodeFrame = (frame: FrameInit): Uint8Array => encode(JobFrameSchema, { frame })

export const writeFrame = (stream: FrameStream, frame: FrameInit): Promise<void> => stream.write(encodeFrame(frame))

/** The next frame. Throws the stream's codes, and `FRAME_MALFORMED` for bytes that are no canonical frame. */
export async function readFrame(stream: FrameStream, timeoutMs: number): Promise<Frame> {
  const message = decode(JobFrameSchema, await stream.read(timeoutMs))
  if (message === null || message.frame.case === undefined)
    throw new SinterError('FRAME_MALFORMED', 'the peer sent bytes that are not a frame of the job protocol')
  return message.frame
}

/** Tells the peer why, with a code it can branch on. `seq` 0 means the session as a whole. */
export function writeFailure(stream: FrameStream, seq: bigint, code: string, message: string): Promise<void> {
  return writeFrame(stream, { case: 'failure', value: { seq, code, message: message.slice(0, 500) } })
}
