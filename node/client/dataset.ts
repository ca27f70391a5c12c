import { decode, encode } from '../../protocol/codec.ts'
import { SinterError } from '../../protocol/errors.ts'
import { DataSetSchema } from '../../protocol/gen/sinter_pb.js'
import { openFile, sealFile } from '../../protocol/sealed.ts'
import type { Identity } from '../identity/identity.ts'

/** Files of a batch, by name. They rest sealed for one reader (protocol/spec/storage.md §4). */
export type DataFile = { name: string; data: Uint8Array }

/** A data set is in memory whole while it is sealed or opened. */
export const MAX_DATASET_BYTES = 2 ** 30
const NAME = /^[\w-][\w.-]{0,199}$/

/** Names become files of the reader's: nothing but a plain name may come out of a data set. Throws `DATASET_FILES`. */
export function checkNames(files: readonly { name: string }[]): void {
  const seen = new Set<string>()
  for (const { name } of files) {
    if (!NAME.test(name))
      throw new SinterError('DATASET_FILES', `not a name for a file of a data set: ${name.slice(0, 100)}`)
    if (seen.has(name)) throw new SinterError('DATASET_FILES', `two files of the data set are named ${name}`)
    seen.add(name)
  }
}

/**
 * Seals files from us for the holder of `reader` (33 bytes, compressed).
 * @param random fresh random bytes. Throws `DATASET_FILES`, `DATASET_TOO_LARGE`.
 */
export function sealDataset(
  files: readonly DataFile[],
  init: {
    identity: Pick<Identity, 'privateKey'>
    reader: Uint8Array
    networkId: Uint8Array
    random(bytes: number): Uint8Array
  },
): Uint8Array {
  checkNames(files)
  const plaintext = encode(DataSetSchema, { files: [...files] })
  if (plaintext.length > MAX_DATASET_BYTES)
    throw new SinterError('DATASET_TOO_LARGE', `a data set has at most ${MAX_DATASET_BYTES} bytes: split it`)
  return sealFile(plaintext, {
    purpose: 'input',
    job: init.random(32),
    seq: 0n,
    networkId: init.networkId,
    sender: init.identity.privateKey,
    recipient: init.reader,
    ephemeral: init.random(32),
  })
}

/** The files that `sender` (33 bytes, compressed) sealed for us. Throws the codes of `openFile`, and `DATASET_FILES`. */
export function openDataset(
  sealed: Uint8Array,
  init: { identity: Pick<Identity, 'privateKey'>; sender: Uint8Array; networkId: Uint8Array },
): DataFile[] {
  const plaintext = openFile(sealed, {
    networkId: init.networkId,
    recipient: init.identity.privateKey,
    expected: { purpose: 'input', seq: 0n, sender: init.sender },
  })
  const set = decode(DataSetSchema, plaintext)
  if (set === null) throw new SinterError('DATASET_FILES', 'the sealed file holds no data set')
  checkNames(set.files)
  return set.files.map(({ name, data }) => ({ name, data }))
}
