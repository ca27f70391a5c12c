import { loadHeldOut } from '../../models/digits.ts'
import { toHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { startClient, TRUST_STATEMENT } from '../client/client.ts'
import { readNpy } from '../client/input-file.ts'
import {
  createLog,
  formatAmount,
  type JoinOptions,
  openIdentity,
  parseAmount,
  parseCount,
  readInput,
  readNetworkFile,
} from './options.ts'

export type InferOptions = JoinOptions & {
  model: string
  /** A JSON file with a list of inputs (each a flat list of numbers), a .npy file with a job per row, or nothing for the held-out digits. */
  input?: string
  count: string
  skip: string
  ceiling: string
  bids?: string
  window: string
  json: boolean
  logLevel: string
}

type Sample = { values: Float32Array; label: number | null }

/** Inputs from a JSON file, or the reference model's held-out images with their labels. */
function samples(options: InferOptions): Sample[] {
  const from = parseCount(options.skip)
  const count = parseCount(options.count)
  if (options.input === undefined) {
    const { images, labels } = loadHeldOut()
    return images.slice(from, from + count).map((values, i) => ({ values, label: labels[from + i]! }))
  }
  if (options.input.endsWith('.npy')) {
    const { shape, data } = readNpy(options.input, readInput(options.input))
    const rows = shape[0] ?? 0
    if (rows === 0) throw new SinterError('INPUT_FILE', `${options.input} must have one job per row of its first axis`)
    const size = data.length / rows
    return Array.from({ length: Math.max(0, Math.min(count, rows - from)) }, (_, i) => ({
      values: data.slice((from + i) * size, (from + i + 1) * size),
      label: null,
    }))
  }
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder().decode(readInput(options.input)))
  } catch (cause) {
    if (cause instanceof SinterError) throw cause
    throw new SinterError('INPUT_FILE', `${options.input} is not JSON`, { cause })
  }
  const rows = Array.isArray(json) ? json : []
  if (rows.length === 0 || !rows.every((row) => Array.isArray(row) && row.every((value) => typeof value === 'number')))
    throw new SinterError('INPUT_FILE', `${options.input} must hold a list of lists of numbers, one list per job`)
  return rows.slice(from, from + count).map((row) => ({ values: Float32Array.from(row as number[]), label: null }))
}

/** Class with the largest logit, and its softmax share. */
export function classify(logits: Float32Array): { digit: number; confidence: number } {
  const digit = logits.indexOf(Math.max(...logits))
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - logits[digit]!), 0)
  return { digit, confidence: 1 / total }
}

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** Sends jobs and prints the answers; `json` prints one object a line instead. */
export async function infer(options: InferOptions): Promise<void> {
  const log = createLog(options.logLevel, 'stderr')
  const say = (event: string, facts: Record<string, unknown>, line: string): void =>
    console.log(options.json ? JSON.stringify({ event, ...facts }) : line)
  const client = await startClient({
    network: readNetworkFile(options.network),
    rpcUrl: options.rpc,
    identity: await openIdentity(options),
    dataDir: options.data,
    listen: options.listen,
    bootstrap: options.bootstrap,
    devnet: options.devnet,
    log,
  })
  try {
    say('trust', { statement: TRUST_STATEMENT }, TRUST_STATEMENT)
    const jobs = samples(options)
    const model = await client.library.load(options.model)
    const { name, outputs, inputs } = model.manifest
    say('model', { name, manifest: options.model }, `model ${name} (${options.model}) fetched from peers and checked`)
    const reclaimed = await client.reclaim()
    if (reclaimed > 0n)
      say(
        'reclaimed',
        { amount: formatAmount(reclaimed) },
        `${formatAmount(reclaimed)} SNTR of earlier sessions came back`,
      )
    await client.network.waitForSubscribers('offers', 1, 20_000)
    const session = await client.openSession({
      model,
      jobs: BigInt(jobs.length),
      priceCeiling: parseAmount(options.ceiling),
      windowMs: parseCount(options.window),
      ...(options.bids === undefined ? {} : { enough: (bids) => bids.length >= parseCount(options.bids!) }),
      onBids(bids, chosen) {
        const all = bids.map((bid) => ({
          provider: bid.provider,
          price: formatAmount(bid.price),
          latencyMs: bid.expectedLatencyMs,
        }))
        const line = `${bids.length} bids; taken: ${chosen.provider} at ${formatAmount(chosen.price)} SNTR a job`
        say('bids', { bids: all, chosen: chosen.provider, price: formatAmount(chosen.price) }, line)
      },
    })
    const id = toHex(session.session)
    const latencies: number[] = []
    const receipts: Promise<unknown>[] = []
    let right = 0
    try {
      for (const [i, { values, label }] of jobs.entries()) {
        const result = await session.infer(inputs.map(() => values))
        latencies.push(result.latencyMs)
        receipts.push(result.acknowledged)
        const { digit, confidence } = classify(result.outputs[outputs[0]!.name]!)
        if (digit === label) right++
        const facts = { job: i + 1, digit, label, confidence, latencyMs: result.latencyMs }
        const truth = label === null ? '' : digit === label ? ' (right)' : ` (wrong: it is ${label})`
        say(
          'answer',
          facts,
          `job ${i + 1}: ${digit}${truth}, confidence ${(100 * confidence).toFixed(1)}%, ${result.latencyMs.toFixed(1)} ms`,
        )
      }
      await Promise.all(receipts)
    } catch (error) {
      // What is left of the ceiling comes back; `reclaim` takes it on a later run.
      await client.release(id)
      throw error
    } finally {
      await session.close()
    }
    const labelled = jobs.filter(({ label }) => label !== null).length
    const spent = session.provider.price * BigInt(jobs.length)
    const summary = {
      jobs: jobs.length,
      labelled,
      right,
      firstMs: latencies[0],
      medianMs: median(latencies),
      spent: formatAmount(spent),
      provider: session.provider.provider,
      session: id,
    }
    const accuracy = labelled === 0 ? '' : `, ${right} of ${labelled} right (${((100 * right) / labelled).toFixed(1)}%)`
    say(
      'summary',
      summary,
      `${jobs.length} jobs${accuracy}, median ${summary.medianMs.toFixed(1)} ms, ${summary.spent} SNTR acknowledged`,
    )
  } finally {
    await client.stop()
  }
}
