import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { extname, join, parse } from 'node:path'
import { SinterError } from '../../protocol/errors.ts'
import { networkId } from '../../protocol/network.ts'
import type { Consumer } from '../client/consumer.ts'
import { MAX_DATASET_BYTES, openDataset } from '../client/dataset.ts'
import { readInputFile } from '../client/input-file.ts'
import type { NamedTensors } from '../client/values.ts'
import { publicKeyOfPeer } from '../identity/identity.ts'
import { inputNames, READABLE } from './dataset.ts'
import { connectWith, formatAmount, type JoinOptions, parseCount } from './joined.ts'
import { openIdentity, readInput, readNetworkFile } from './options.ts'

export type BatchCommandOptions = JoinOptions & {
  model: string
  out: string
  sender?: string
  ceiling: string
  limit?: string
  providers: string
  json: boolean
  logLevel: string
}

/** A finished file appears whole or not at all, so that one that is there needs no second look. */
function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.part`, text)
  renameSync(`${path}.part`, path)
}

const plain = (outputs: NamedTensors): object =>
  Object.fromEntries(
    Object.entries(outputs).map(([name, { shape, data }]) => [name, { shape, data: Array.from(data) }]),
  )

type Source = { names: string[]; read(name: string): Uint8Array }

const folderSource = (folder: string): Source => ({
  names: inputNames(folder),
  read: (name) => readInput(join(folder, name)),
})

/** A sealed data set by its CID, in memory only. */
async function sealedSource(cid: string, consumer: Consumer, options: BatchCommandOptions): Promise<Source> {
  const identity = await openIdentity(options)
  const sender = options.sender === undefined ? identity.publicKey : publicKeyOfPeer(options.sender)
  const sealed = await consumer.file(cid, {
    // What sealing adds: a tag of 16 bytes to each chunk, and the header.
    maxBytes: MAX_DATASET_BYTES + 2 ** 20,
    timeoutMs: 10 * 60_000,
    ...(options.sender !== undefined && { from: [options.sender] }),
  })
  const files = openDataset(sealed, { identity, sender, networkId: networkId(readNetworkFile(options.network)) })
  const byName = new Map(files.map(({ name, data }) => [name, data]))
  const names = [...byName.keys()].filter((name) => READABLE.has(extname(name))).sort()
  return { names, read: (name) => byName.get(name)! }
}

/**
 * Runs a model on every file of a folder, or of a sealed data set by its CID, and writes one JSON result per file. Files that have a
 * result are left out, so the command goes on where an earlier run stopped. Ends with code 1 when items failed.
 */
export async function batch(from: string, options: BatchCommandOptions): Promise<void> {
  if (existsSync(from) || !/^b[a-z2-7]{50,}$/.test(from)) return run(folderSource(from), options)
  const consumer = await connectWith(options, { providers: parseCount(options.providers) })
  let source: Source
  try {
    source = await sealedSource(from, consumer, options)
  } catch (error) {
    await consumer.stop()
    throw error
  }
  return run(source, options, consumer)
}

async function run(source: Source, options: BatchCommandOptions, connected?: Consumer): Promise<void> {
  const { names } = source
  const bare = names.map((name) => parse(name).name)
  const twice = bare.find((name, i) => bare.indexOf(name) !== i)
  if (twice !== undefined)
    throw new SinterError('INPUT_FILE', `two files are named ${twice}: their results would be one`)
  mkdirSync(options.out, { recursive: true })
  const resultOf = (name: string): string => join(options.out, `${parse(name).name}.json`)
  const open = names.filter((name) => !existsSync(resultOf(name)))
  const say = (event: string, facts: object, line: string): void => {
    if (options.json) console.log(JSON.stringify({ event, ...facts }))
    else if (process.stdout.isTTY && event === 'progress') process.stdout.write(`\r${line}\u001b[K`)
    else console.log(line)
  }
  const before = names.length - open.length
  say('begin', { files: names.length, before }, `${names.length} files, ${before} of them done before`)
  if (open.length === 0) return connected?.stop()
  const consumer = connected ?? (await connectWith(options, { providers: parseCount(options.providers) }))
  const stopping = new AbortController()
  const onSignal = (): void => stopping.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  try {
    const { inputs } = await consumer.model(options.model)
    const names = inputs.map(({ name }) => name)
    // Files are read as providers ask for them.
    const dataset = function* () {
      for (const name of open) yield () => readInputFile(name, source.read(name), names)
    }
    let failed = 0
    for await (const item of consumer.batch(options.model, dataset(), { signal: stopping.signal })) {
      const name = open[item.index]!
      if (item.ok) {
        const { outputs, receipt } = item.inference
        const facts = { receipt: receipt.id, price: receipt.price.toString(), provider: receipt.provider }
        writeWhole(resultOf(name), `${JSON.stringify({ outputs: plain(outputs), ...facts })}\n`)
      } else {
        failed++
        say('failed', { file: name, code: item.error.code }, `${name}: ${item.error.code}: ${item.error.message}`)
      }
      const { done, cost } = item.progress
      say(
        'progress',
        { done, failed, of: open.length, cost: formatAmount(cost) },
        `${done} of ${open.length} done, ${failed} failed, ${formatAmount(cost)} SNTR`,
      )
    }
    if (!options.json && process.stdout.isTTY) process.stdout.write('\n')
    if (failed > 0) process.exitCode = 1
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
    await consumer.stop()
  }
}
