import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join, parse } from 'node:path'
import { fromHex, type Hex } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { networkId } from '../../protocol/network.ts'
import { isSealedFile } from '../../protocol/sealed.ts'
import { type Address, addressOf } from '../../protocol/signature.ts'
import type { Consumer } from '../client/consumer.ts'
import { MAX_DATASET_BYTES, openDataset } from '../client/dataset.ts'
import {
  type OutputItem,
  type Owner,
  openInputSet,
  readInput as readSealed,
  sealOutputs,
} from '../client/sealed-set.ts'
import type { Item, NamedTensors } from '../client/values.ts'
import { publicKeyOfPeer } from '../identity/identity.ts'
import { cidBytes } from '../jobs/sealed.ts'
import { inputNames, isInput } from './dataset.ts'
import { readJobFile } from './image.ts'
import { connectWith, formatAmount, type JoinOptions, parseCount } from './joined.ts'
import { openIdentity, parsePolicy, readInput, readNetworkFile, STOPPED } from './options.ts'
import { progressLine } from './progress.ts'
import type { Wanted } from './samples.ts'
import { makeFolder, writeWhole } from './write.ts'

const connected = (options: BatchCommandOptions): Promise<Consumer> =>
  connectWith(options, {
    providers: parseCount(options.providers),
    policy: parsePolicy(options.policy),
    region: options.region,
  })

const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes))

export type BatchCommandOptions = JoinOptions & {
  model: string
  out: string
  image: string
  sender?: string
  ceiling: string
  limit?: string
  providers: string
  policy: string
  region: string
  json: boolean
  logLevel: string
}

const plain = (outputs: NamedTensors): object =>
  Object.fromEntries(
    Object.entries(outputs).map(([name, { shape, data }]) => [name, { shape, data: Array.from(data) }]),
  )

/** What a batch reads: names, and the item of each as the provider gets it. */
type Source = {
  names: string[]
  read(name: string, inputs: Wanted[]): Item | Promise<Item>
  /** The provider that everything is sealed for, and what is done once results are there. */
  sealed?: { provider: Address; finish(results: Map<string, Result>): Promise<string> }
}

/** A finished result, as it stands in its file. */
type Result = { receipt: string; sealed?: string }

const folderSource = (folder: string, { image }: BatchCommandOptions): Source => ({
  names: inputNames(folder),
  read: (name, inputs) => readJobFile(name, readInput(join(folder, name)), inputs, image),
})

/** A data set that was sealed as a whole for us: in memory only. */
function wholeSource(sealed: Uint8Array, owner: Owner, options: BatchCommandOptions): Source {
  const sender = options.sender === undefined ? owner.identity.publicKey : publicKeyOfPeer(options.sender)
  const files = openDataset(sealed, { ...owner, sender })
  const byName = new Map(files.map(({ name, data }) => [name, data]))
  const names = [...byName.keys()].filter(isInput).sort()
  return { names, read: (name, inputs) => readJobFile(name, byName.get(name)!, inputs, options.image) }
}

/** Inputs that we sealed, each for one provider: it fetches them, and we look at them again to sign for what is in them. */
async function setSource(
  cid: string,
  bytes: Uint8Array,
  owner: Owner,
  { content, ...consumer }: Consumer,
  options: BatchCommandOptions,
): Promise<Source> {
  const set = openInputSet(cid, bytes, owner)
  // Large enough for an input of the model, which is checked against it before it is used.
  const { inputs } = await consumer.model(options.model)
  const from = options.sender === undefined ? [] : [options.sender]
  const byName = new Map(set.items.map((item) => [item.name, item]))
  return {
    names: [...byName.keys()].sort(),
    async read(name) {
      const item = byName.get(name)!
      const tensors = await readSealed(item, set, { ...owner, inputs, content, from })
      return { tensors, sealed: { cid: cidBytes(item.cid), set: cidBytes(cid), job: set.job, seq: item.seq } }
    },
    sealed: {
      provider: addressOf(set.provider),
      async finish(results) {
        const items = [...results].flatMap(([name, { receipt, sealed }]): OutputItem[] => {
          const [session, seq] = receipt.split('-') as [Hex, string]
          return sealed === undefined ? [] : [{ name, cid: sealed, session: fromHex(session), seq: BigInt(seq) }]
        })
        return content.add(sealOutputs(items, { ...owner, provider: set.provider, random }), { keep: true })
      },
    },
  }
}

async function contentSource(cid: string, consumer: Consumer, options: BatchCommandOptions): Promise<Source> {
  const owner = { identity: await openIdentity(options), networkId: networkId(readNetworkFile(options.network)) }
  const bytes = await consumer.content.get(cid, {
    // What sealing adds: a tag of 16 bytes to each chunk, and the header.
    maxBytes: MAX_DATASET_BYTES + 2 ** 20,
    timeoutMs: 10 * 60_000,
    ...(options.sender !== undefined && { from: [options.sender] }),
  })
  return isSealedFile(bytes) ? wholeSource(bytes, owner, options) : setSource(cid, bytes, owner, consumer, options)
}

/**
 * Runs a model on every file of a folder, of a sealed data set or of a set of sealed inputs by its CID, and writes one JSON result per
 * file. Files that have a result are left out, so the command goes on where an earlier run stopped. Ends with code 1 when items failed.
 */
export async function batch(from: string, options: BatchCommandOptions): Promise<void> {
  if (existsSync(from) || !/^b[a-z2-7]{50,}$/.test(from)) return run(folderSource(from, options), options)
  const consumer = await connected(options)
  let source: Source
  try {
    source = await contentSource(from, consumer, options)
  } catch (error) {
    await consumer.stop()
    throw error
  }
  return run(source, options, consumer)
}

async function run(source: Source, options: BatchCommandOptions, joined?: Consumer): Promise<void> {
  const { names } = source
  const bare = names.map((name) => parse(name).name)
  const twice = bare.find((name, i) => bare.indexOf(name) !== i)
  if (twice !== undefined)
    throw new SinterError('INPUT_FILE', `two files are named ${twice}: their results would be one`)
  makeFolder(options.out)
  const resultOf = (name: string): string => join(options.out, `${parse(name).name}.json`)
  const open = names.filter((name) => !existsSync(resultOf(name)))
  const say = (event: string, facts: object, line: string): void => {
    if (options.json) console.log(JSON.stringify({ event, ...facts }))
    else if (process.stdout.isTTY && event === 'progress') process.stdout.write(`\r${line}\u001b[K`)
    else console.log(process.stdout.isTTY ? `\r${line}\u001b[K` : line)
  }
  const before = names.length - open.length
  say('begin', { files: names.length, before }, `${names.length} files, ${before} of them done before`)
  if (open.length === 0 && source.sealed === undefined) return joined?.stop()
  const consumer = joined ?? (await connected(options))
  const stopping = new AbortController()
  const onSignal = (): void => stopping.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  try {
    const { inputs } = await consumer.model(options.model)
    // Files are read as providers ask for them; one that cannot be read fails alone.
    const dataset = async function* (): AsyncGenerator<Item> {
      for (const name of open) {
        const item = await Promise.resolve()
          .then(() => source.read(name, inputs))
          .catch((error: unknown) => () => {
            throw error
          })
        yield item
      }
    }
    let failed = 0
    const began = performance.now()
    const provider = source.sealed?.provider
    const request = { signal: stopping.signal, ...(provider && { provider }) }
    for await (const item of consumer.batch(options.model, dataset(), request)) {
      const name = open[item.index]!
      if (item.ok) {
        const { outputs, receipt, sealed } = item.inference
        const facts = { receipt: receipt.id, price: receipt.price.toString(), provider: receipt.provider }
        writeWhole(
          resultOf(name),
          `${JSON.stringify({ outputs: plain(outputs), ...facts, ...(sealed && { sealed }) })}\n`,
        )
      } else {
        failed++
        say('failed', { file: name, code: item.error.code }, `${name}: ${item.error.code}: ${item.error.message}`)
      }
      const { done, cost } = item.progress
      const progress = { done, failed, of: open.length, cost: formatAmount(cost) }
      const columns = process.stdout.isTTY ? process.stdout.columns : 200
      say('progress', progress, progressLine({ ...progress, elapsedMs: performance.now() - began }, columns))
    }
    if (!options.json && process.stdout.isTTY) process.stdout.write('\n')
    if (source.sealed !== undefined) {
      const done = names.filter((name) => existsSync(resultOf(name)))
      const results = done.map((name) => [name, JSON.parse(readFileSync(resultOf(name), 'utf8')) as Result] as const)
      const cid = await source.sealed.finish(new Map(results))
      say('results', { cid, files: results.length }, `${results.length} sealed results by content\n${cid}`)
    }
    if (failed > 0) process.exitCode = 1
  } catch (error) {
    if (!stopping.signal.aborted || errorCode(error) !== 'ABORTED') throw error
    const done = names.filter((name) => existsSync(resultOf(name))).length
    say('stopped', { done, of: names.length }, `stopped with ${done} of ${names.length} done: the same command goes on`)
    process.exitCode = STOPPED
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
    await consumer.stop()
  }
}
