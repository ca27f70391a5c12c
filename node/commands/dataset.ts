import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { extname, join } from 'node:path'
import { givenInputs } from '../../models/lookup.ts'
import { SinterError } from '../../protocol/errors.ts'
import { networkId } from '../../protocol/network.ts'
import type { LightClient } from '../client/client.ts'
import { sealDataset } from '../client/dataset.ts'
import { inputTensors, keepSet, type Owner, sealInputs } from '../client/sealed-set.ts'
import { jobValues } from '../client/values.ts'
import { publicKeyOfPeer } from '../identity/identity.ts'
import { isImage, readJobFile } from './image.ts'
import { joinNetwork } from './join.ts'
import { type JoinOptions, readInput, untilAsked } from './options.ts'

export type DatasetOptions = JoinOptions & {
  for?: string
  provider?: string
  model?: string
  image: string
  json: boolean
  once: boolean
  logLevel: string
}

const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes))

/** Whether a file holds inputs as numbers. */
export const isNumbers = (name: string): boolean => ['.json', '.npy'].includes(extname(name))
/** Or as a picture. */
export const isInput = (name: string): boolean => isNumbers(name) || isImage(name)

/** Names of the inputs in a folder, in order. Throws `FILE_UNREADABLE`, `INPUT_FILE` when there are none. */
export function inputNames(folder: string, holds = isInput): string[] {
  let names: string[]
  try {
    names = readdirSync(folder).filter(holds)
  } catch (cause) {
    throw new SinterError('FILE_UNREADABLE', `cannot read the folder ${folder}`, { cause })
  }
  if (names.length === 0)
    throw new SinterError(
      'INPUT_FILE',
      `${folder} holds no inputs: .json${holds === isInput ? ', .npy or pictures' : ' or .npy'}`,
    )
  return names.sort()
}

type Files = { name: string; data: Uint8Array }[]

/** Each file on its own for one provider, as the inputs of jobs of a model, with an index for ourselves. */
async function sealForProvider(
  files: Files,
  client: LightClient,
  owner: Owner,
  options: DatasetOptions,
): Promise<string> {
  const model = await client.library.load(options.model!)
  const wanted = givenInputs(model.manifest)
  const jobs = async function* () {
    for (const { name, data } of files) {
      const inputs = await readJobFile(name, data, wanted, options.image)
      yield { name, tensors: inputTensors(model.manifest, jobValues(model, inputs)) }
    }
  }
  const add = (bytes: Uint8Array): Promise<string> => client.content.add(bytes, { keep: true })
  return sealInputs(jobs(), { ...owner, provider: publicKeyOfPeer(options.provider!), random, add })
}

/**
 * Seals the files of a folder for one reader, by default this identity, or each for one provider as inputs of a model; and serves the
 * result by content until asked to stop. Nothing plain is stored.
 */
export async function dataset(folder: string, options: DatasetOptions): Promise<void> {
  const { provider, model } = options
  if ((provider === undefined) !== (model === undefined) || (provider !== undefined && options.for !== undefined))
    throw new SinterError('OPTION', '--provider and --model go together, and without --for')
  const named = options.for === undefined ? null : publicKeyOfPeer(options.for)
  const names = inputNames(folder)
  const files = names.map((name) => ({ name, data: readInput(join(folder, name)) }))
  const { network, identity, client } = await joinNetwork(options)
  try {
    const owner = { identity, networkId: networkId(network) }
    const reader = named ?? identity.publicKey
    const cid =
      provider === undefined
        ? await client.content.add(sealDataset(files, { ...owner, reader, random }), { keep: true })
        : await sealForProvider(files, client, owner, options)
    await client.content.provide(cid)
    const facts = { cid, files: names.length, sender: client.network.peerId }
    if (options.json) console.log(JSON.stringify({ event: 'dataset', ...facts }))
    else {
      console.log(`${names.length} files sealed by ${facts.sender}\n${cid}`)
      if (!options.once) console.log('serving it until you stop this command')
    }
    if (!options.once) await untilAsked()
  } finally {
    await client.stop()
  }
}

/** Keeps a set of sealed files of somebody, and serves it until asked to stop: its owner may go. Nothing of it can be read here. */
export async function hold(
  cid: string,
  options: JoinOptions & { from?: string; json: boolean; logLevel: string },
): Promise<void> {
  const { client } = await joinNetwork(options)
  try {
    const from = options.from === undefined ? [] : [options.from]
    const facts = await keepSet(cid, client.content, from)
    if (options.json) console.log(JSON.stringify({ event: 'hold', cid, ...facts }))
    else
      console.log(
        `${facts.files} sealed files, ${facts.bytes} bytes, are kept\nserving them until you stop this command`,
      )
    await untilAsked()
  } finally {
    await client.stop()
  }
}
