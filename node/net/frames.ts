import { SinterError } from '../../protocol/errors.ts'

/**
 * Frames on a byte stream: an unsigned varint (LEB128, at most 5 bytes, shortest form) with the payload's length, then
 * the payload. See `protocol/spec/gossip.md`, "Streams".
 */

const MAX_PREFIX_BYTES = 5
/** Transports hand in pieces of 64 KiB at most; a part that is no smaller than this is not copied before its frame is whole. */
const VIEW_BYTES = 32 * 1024

export function encodePrefix(length: number): Uint8Array {
  const out: number[] = []
  let rest = length
  while (rest > 127) {
    out.push((rest % 128) + 128)
    rest = Math.floor(rest / 128)
  }
  out.push(rest)
  return Uint8Array.from(out)
}

export type FrameDecoder = {
  /**
   * Takes the next bytes of the stream and returns the frames they complete. Of what is left over it keeps small pieces as copies and
   * large ones as they are: whoever hands them in must not write to them again.
   * Throws `STREAM_FRAME_TOO_LARGE` as soon as a prefix announces more than the limit, before anything is kept for it,
   * and `STREAM_FRAME_MALFORMED` for a prefix that is too long or not in its shortest form.
   */
  push(bytes: Uint8Array): Uint8Array[]
  /** Bytes of an incomplete frame that are held; more than 0 means one has begun. */
  held(): number
}

export function frameDecoder(maxFrameBytes: number): FrameDecoder {
  let prefix: number[] = []
  let missing = -1
  let parts: Uint8Array[] = []
  let size = 0

  const finish = (): Uint8Array => {
    const frame = new Uint8Array(size)
    let at = 0
    for (const part of parts) {
      frame.set(part, at)
      at += part.length
    }
    parts = []
    size = 0
    missing = -1
    return frame
  }

  /** Length announced by the collected prefix. */
  const announced = (): number => {
    if (prefix.length > 1 && prefix.at(-1) === 0)
      throw new SinterError('STREAM_FRAME_MALFORMED', 'the length of a frame is not in its shortest form')
    const length = prefix.reduceRight((value, byte) => value * 128 + (byte & 127), 0)
    if (length > maxFrameBytes)
      throw new SinterError(
        'STREAM_FRAME_TOO_LARGE',
        `a frame of ${length} bytes was announced, ${maxFrameBytes} are allowed`,
      )
    return length
  }

  return {
    push(bytes) {
      const frames: Uint8Array[] = []
      let at = 0
      while (at < bytes.length) {
        if (missing < 0) {
          const byte = bytes[at++]!
          prefix.push(byte)
          if (byte > 127) {
            if (prefix.length === MAX_PREFIX_BYTES)
              throw new SinterError('STREAM_FRAME_MALFORMED', 'the length of a frame has more than 5 bytes')
            continue
          }
          missing = announced()
          prefix = []
          if (missing === 0) frames.push(finish())
          continue
        }
        const end = Math.min(bytes.length, at + missing)
        const taken = bytes.subarray(at, end)
        // A view keeps all that it is part of in memory: one of a few bytes would be held for less than it is.
        parts.push(taken.length < VIEW_BYTES ? taken.slice() : taken)
        size += taken.length
        missing -= taken.length
        at += taken.length
        if (missing === 0) frames.push(finish())
      }
      return frames
    },
    held: () => size + prefix.length + (missing > 0 ? 1 : 0),
  }
}
