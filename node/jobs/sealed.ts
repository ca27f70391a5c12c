import { CID } from 'multiformats/cid'
import { decode, encode } from '../../protocol/codec.ts'
import { SinterError } from '../../protocol/errors.ts'
import { type SealedInput, TensorSetSchema } from '../../protocol/gen/sinter_pb.js'
import { openFile, reopenFile, SEALED_CHUNK, SEALED_HEADER, sealFile } from '../../protocol/sealed.ts'
import { isContentCid } from '../net/blocks.ts'
import type { WireTensor } from './tensors.ts'

/** Inputs and outputs of jobs that go by content: tensors in a sealed file (protocol/spec/storage.md §5). */

export type SealInit = Omit<Parameters<typeof sealFile>[1], 'seq' | 'purpose' | 'job'>
export type OpenInit = Parameters<typeof openFile>[1]
/** Which file of which set, or which job of which session, a sealed file is. */
export type SealedPlace = Pick<Parameters<typeof sealFile>[1], 'purpose' | 'job' | 'seq'>

/** Most bytes of a sealed file of such tensors: what each says of itself, and what sealing adds, included. */
export function sealedBound(ends: readonly { name: string; shape: readonly number[] }[]): number {
  const plain = ends.reduce(
    (sum, { name, shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1) + 3 * name.length + 5 * shape.length + 64,
    0,
  )
  return plain + SEALED_HEADER + 16 * (Math.ceil(plain / SEALED_CHUNK) + 1)
}

/** See `sealFile`. */
export function sealTensors(tensors: readonly WireTensor[], place: SealedPlace, init: SealInit): Uint8Array {
  return sealFile(encode(TensorSetSchema, { tensors: [...tensors] }), { ...place, ...init })
}

function tensorsOf(plaintext: Uint8Array): WireTensor[] {
  const set = decode(TensorSetSchema, plaintext)
  if (set === null) throw new SinterError('SEALED_TENSORS', 'the sealed file holds no tensors')
  return set.tensors
}

/** The tensors that were sealed for us. Throws what `openFile` throws, and `SEALED_TENSORS`. */
export const openTensors = (bytes: Uint8Array, init: OpenInit): WireTensor[] => tensorsOf(openFile(bytes, init))

/** The tensors that we sealed for another. Throws what `reopenFile` throws, and `SEALED_TENSORS`. */
export const reopenTensors = (bytes: Uint8Array, init: Parameters<typeof reopenFile>[1]): WireTensor[] =>
  tensorsOf(reopenFile(bytes, init))

/** A CID from a message. Throws `CONTENT_CID` for bytes that are none, or one that no file of ours has. */
export function cidOfBytes(bytes: Uint8Array): string {
  let cid: CID
  try {
    cid = CID.decode(bytes)
  } catch (cause) {
    throw new SinterError('CONTENT_CID', 'not a CID', { cause })
  }
  if (!isContentCid(cid)) throw new SinterError('CONTENT_CID', 'not a version 1 CID of a file with SHA-256')
  return cid.toString()
}

export const cidBytes = (cid: string): Uint8Array => CID.parse(cid).bytes

/** A sealed input as the session names it. */
export type SealedRef = Pick<SealedInput, 'cid' | 'set' | 'job' | 'seq'>
