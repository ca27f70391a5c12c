import type { Manifest } from '../../models/manifest.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { SinterError } from '../../protocol/errors.ts'
import { SealedSetSchema, SetIndexSchema } from '../../protocol/gen/sinter_pb.js'
import { openFile, sealedFacts, sealFile } from '../../protocol/sealed.ts'
import type { Identity } from '../identity/identity.ts'
import { cidBytes, cidOfBytes, openTensors, reopenTensors, sealedBound, sealTensors } from '../jobs/sealed.ts'
import { toWire, type WireTensor } from '../jobs/tensors.ts'
import type { Content } from '../net/content.ts'
import { checkNames } from './dataset.ts'

/**
 * Sealed sets (protocol/spec/storage.md §5): inputs of a batch, each sealed for one provider, which fetches them by content; and
 * outputs, each sealed by that provider for us. What they are called and how they open is in the index, sealed for their owner.
 */

/** Files of one set. */
export const MAX_SET_ITEMS = 16_384
export const MAX_SET_BYTES = 2 ** 24
/** The largest file of a set that is kept for somebody, and the largest answer that is read again. */
const MAX_HELD_BYTES = 2 ** 26

export type Owner = { identity: Pick<Identity, 'privateKey' | 'publicKey'>; networkId: Uint8Array }
type Random = (bytes: number) => Uint8Array

/** One file of a set: `seq` counts from 1. */
export type InputItem = { name: string; cid: string; seq: bigint; ephemeral: Uint8Array }
export type OutputItem = { name: string; cid: string; session: Uint8Array; seq: bigint }
type SetOf<Item> = {
  /** CID of the set, under which its files are found. */
  cid: string
  /** Id of the set, 32 bytes: what its inputs are sealed to. */
  job: Uint8Array
  /** Public key of the reader of the inputs, or the sender of the outputs. */
  provider: Uint8Array
  items: Item[]
}

type Entry = { name: string; cid: string; ephemeral?: Uint8Array; session?: Uint8Array; seq?: bigint }

function seal(
  owner: Owner,
  random: Random,
  purpose: 'input' | 'output',
  job: Uint8Array,
  provider: Uint8Array,
  entries: Entry[],
): Uint8Array {
  checkNames(entries)
  if (entries.length > MAX_SET_ITEMS)
    throw new SinterError('DATASET_TOO_LARGE', `a set has at most ${MAX_SET_ITEMS} files: split it`)
  const items = entries.map(({ cid: _, ...entry }) => entry)
  const index = sealFile(encode(SetIndexSchema, { provider, items }), {
    ...{ purpose, job, seq: 0n, networkId: owner.networkId },
    sender: owner.identity.privateKey,
    recipient: owner.identity.publicKey,
    ephemeral: random(32),
  })
  return encode(SealedSetSchema, { items: entries.map(({ cid }) => cidBytes(cid)), index })
}

function open(cid: string, bytes: Uint8Array, owner: Owner, purpose: 'input' | 'output'): SetOf<Entry> {
  const set = decode(SealedSetSchema, bytes)
  if (set === null) throw new SinterError('DATASET_FILES', 'the file is no sealed set')
  const { identity, networkId } = owner
  const expected = { purpose, seq: 0n, sender: identity.publicKey }
  const { job } = sealedFacts(set.index)
  const index = decode(SetIndexSchema, openFile(set.index, { networkId, recipient: identity.privateKey, expected }))
  if (index === null || index.items.length !== set.items.length)
    throw new SinterError('DATASET_FILES', 'the sealed index is not that of the files')
  checkNames(index.items)
  return {
    ...{ cid, job },
    provider: index.provider,
    items: index.items.map((item, i) => ({ ...item, cid: cidOfBytes(set.items[i]!) })),
  }
}

/** CIDs of the files of a set, for whoever keeps it and reads none. Throws `DATASET_FILES`, `CONTENT_CID`. */
export function setFiles(bytes: Uint8Array): string[] {
  const set = decode(SealedSetSchema, bytes)
  if (set === null || set.items.length > MAX_SET_ITEMS)
    throw new SinterError('DATASET_FILES', 'the file is no sealed set')
  return set.items.map(cidOfBytes)
}

/**
 * Fetches a set and all of its files, keeps them over restarts and announces the set: its owner may go. Throws the codes of `Content.get`
 * and `setFiles`, `CONTENT_DISK_FULL`, `DHT_PROVIDE`.
 */
export async function keepSet(
  cid: string,
  content: Pick<Content, 'get' | 'add' | 'provide'>,
  from: string[],
): Promise<{ files: number; bytes: number }> {
  const keep = async (file: string, maxBytes: number): Promise<Uint8Array> => {
    const bytes = await content.get(file, { maxBytes, timeoutMs: 60_000, from, within: cid })
    await content.add(bytes, { keep: true })
    return bytes
  }
  const set = await keep(cid, MAX_SET_BYTES)
  const files = setFiles(set)
  let bytes = set.length
  for (const file of files) bytes += (await keep(file, MAX_HELD_BYTES)).length
  await content.provide(cid)
  return { files: files.length, bytes }
}

/** The tensors of a job as they travel, from values in the manifest's order. */
export const inputTensors = (manifest: Manifest, values: readonly Float32Array[]): WireTensor[] =>
  manifest.inputs.map(({ name, shape }, i) => toWire(name, shape, values[i]!))

/**
 * Seals each job's inputs for one provider (33 bytes, compressed), stores them and gives the CID of the set.
 * @param add stores a file and gives its CID. Throws `DATASET_FILES`, `DATASET_TOO_LARGE`, and what `add` throws.
 */
export async function sealInputs(
  jobs: Iterable<{ name: string; tensors: WireTensor[] }> | AsyncIterable<{ name: string; tensors: WireTensor[] }>,
  init: Owner & { provider: Uint8Array; random: Random; add(bytes: Uint8Array): Promise<string> },
): Promise<string> {
  const { identity, networkId, provider, random, add } = init
  const job = random(32)
  const entries: Entry[] = []
  for await (const { name, tensors } of jobs) {
    const ephemeral = random(32)
    const keys = { networkId, sender: identity.privateKey, recipient: provider, ephemeral }
    const place = { purpose: 'input' as const, job, seq: BigInt(entries.length + 1) }
    entries.push({ name, ephemeral, cid: await add(sealTensors(tensors, place, keys)) })
  }
  return add(seal(init, random, 'input', job, provider, entries))
}

/** The set of inputs that we sealed. Throws `DATASET_FILES`, and the codes of `openFile`. */
export function openInputSet(cid: string, bytes: Uint8Array, owner: Owner): SetOf<InputItem> {
  const { items, ...set } = open(cid, bytes, owner, 'input')
  return {
    ...set,
    items: items.map(({ name, cid, ephemeral }, i) => ({ name, cid, ephemeral: ephemeral!, seq: BigInt(i + 1) })),
  }
}

/**
 * The tensors of one of our sealed inputs: we sign for their root, so we look at them again.
 * Throws the codes of `Content.get` and `openFile`, `SEALED_TENSORS`.
 */
export async function readInput(
  item: InputItem,
  set: Omit<SetOf<InputItem>, 'items'>,
  init: Owner & {
    inputs: readonly { name: string; shape: readonly number[] }[]
    content: Pick<Content, 'get'>
    from: string[]
  },
): Promise<WireTensor[]> {
  const { identity, networkId, inputs, content, from } = init
  const file = await content.get(item.cid, { maxBytes: sealedBound(inputs), timeoutMs: 20_000, from, within: set.cid })
  return reopenTensors(file, {
    networkId,
    sender: identity.privateKey,
    recipient: set.provider,
    ephemeral: item.ephemeral,
    expected: { purpose: 'input', job: set.job, seq: item.seq },
  })
}

/** The set of outputs by content, sealed by one provider for us, each of a job of a session. Throws as `sealInputs`. */
export function sealOutputs(
  items: readonly OutputItem[],
  init: Owner & { provider: Uint8Array; random: Random },
): Uint8Array {
  return seal(init, init.random, 'output', init.random(32), init.provider, [...items])
}

/** The set of outputs that we put together. Throws `DATASET_FILES`, and the codes of `openFile`. */
export function openOutputSet(cid: string, bytes: Uint8Array, owner: Owner): SetOf<OutputItem> {
  const { items, ...set } = open(cid, bytes, owner, 'output')
  return { ...set, items: items.map(({ name, cid, session, seq }) => ({ name, cid, session: session!, seq: seq! })) }
}

/** One job's outputs. Throws the codes of `Content.get` and `openFile`, `SEALED_TENSORS`. */
export async function readOutput(
  item: OutputItem,
  set: Omit<SetOf<OutputItem>, 'items'>,
  init: Owner & { content: Pick<Content, 'get'>; from: string[] },
): Promise<WireTensor[]> {
  const { identity, networkId, content, from } = init
  const file = await content.get(item.cid, { maxBytes: MAX_HELD_BYTES, timeoutMs: 30_000, from, within: set.cid })
  const expected = { purpose: 'output' as const, job: item.session, seq: item.seq, sender: set.provider }
  return openTensors(file, { networkId, recipient: identity.privateKey, expected })
}
