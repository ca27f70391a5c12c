import { loadHeldOut } from '../../models/digits.ts'
import { givenInputs, inputValues } from '../../models/lookup.ts'
import { toHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { Receipt } from '../../protocol/rules/receipt.ts'
import { openChecked } from '../client/checked.ts'
import { type LightClient, type SessionRequest, TRUST_STATEMENT } from '../client/client.ts'
import type { Memory } from '../client/memory.ts'
import { chooseBid, type ReceivedBid } from '../client/offer.ts'
import { receiptId } from '../client/receipts.ts'
import type { LoadedModel } from '../model/load.ts'
import { answersOf, classify, describeAnswers } from './answers.ts'
import { joinNetwork } from './join.ts'
import { formatAmount, type JoinOptions, parseAmount, parseCount, parsePolicy, parseShare } from './options.ts'
import { samplesOf } from './samples.ts'

export type InferOptions = JoinOptions & {
  model: string
  /** Jobs in a file or folder (see `samplesOf`), or nothing for the held-out digits. */
  input?: string
  /** How pictures become numbers. */
  image: string
  /** @default all of `input`, or 10 of the held-out digits */
  count?: string
  skip: string
  ceiling: string
  bids?: string
  /** Address of the only provider that is taken. */
  provider?: string
  window: string
  policy: string
  region: string
  canonical: boolean
  /** Share of the jobs that a second provider answers too. */
  audit: string
  /** Providers that all answer every job. */
  replicas: string
  json: boolean
  logLevel: string
}

/** Held-out digits that are sent when nothing is said. */
const DIGITS = 10

type Job = { values: Float32Array[]; label: number | null }

/** Inputs from a file or folder, looked up where the model begins behind an embedding, or the reference model's held-out images. */
async function jobsOf(options: InferOptions, { manifest, weights }: LoadedModel): Promise<Job[]> {
  const from = parseCount(options.skip)
  const most = options.count === undefined ? null : parseCount(options.count)
  const taken = <T>(all: T[], count: number): T[] => {
    const some = all.slice(from, from + count)
    if (some.length === 0) throw new SinterError('INPUT_FILE', `of ${all.length} inputs none is left: --skip ${from}`)
    return some
  }
  if (options.input === undefined) {
    const wanted = givenInputs(manifest).map(({ name, shape }) => `${name} [${shape}]`)
    if (manifest.name !== 'digits')
      throw new SinterError('INPUT_FILE', `the model ${manifest.name} needs --input: ${wanted.join(', ')} for each job`)
    const { images, labels } = loadHeldOut()
    return taken(images, most ?? DIGITS).map((image, i) => ({ values: [image], label: labels[from + i]! }))
  }
  const given = await samplesOf(options.input, givenInputs(manifest), options.image)
  return taken(given, most ?? given.length).map((each) => ({
    values: inputValues(manifest, weights, each),
    label: null,
  }))
}

/** When enough bids are in, and which of them may be taken: any, or those of one provider. */
function choiceOf({ bids: wanted, provider }: InferOptions): Pick<SessionRequest, 'enough' | 'choose'> {
  const count = wanted === undefined ? null : parseCount(wanted)
  if (provider === undefined) return count === null ? {} : { enough: (bids) => bids.length >= count }
  const own = (bids: ReceivedBid[]): ReceivedBid[] =>
    bids.filter((bid) => bid.provider.toLowerCase() === provider.toLowerCase())
  return { enough: (bids) => own(bids).length > 0, choose: (bids) => chooseBid(own(bids)) }
}

/** Time that providers have to anchor disputed jobs (ms). */
const AUDIT_MS = 120_000

/** What happens on chain to the receipts is read from here on, unless an earlier one is still followed. */
async function follow({ chain }: LightClient, memory: Memory): Promise<void> {
  const { block } = await chain.head()
  memory.reached((memory.receipts.unsettled() ? memory.cursor() : null) ?? { next: block + 1n, marks: [] })
}

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

/** Sends jobs and prints the answers; `json` prints one object a line instead. */
export async function infer(options: InferOptions): Promise<void> {
  const say = (event: string, facts: Record<string, unknown>, line: string): void =>
    console.log(options.json ? JSON.stringify({ event, ...facts }) : line)
  const { client, memory, log } = await joinNetwork(options)
  try {
    say('trust', { statement: TRUST_STATEMENT }, TRUST_STATEMENT)
    const model = await client.library.load(options.model)
    const { manifest } = model
    const { name, outputs } = manifest
    const jobs = await jobsOf(options, model)
    say('model', { name, manifest: options.model }, `model ${name} (${options.model}) fetched from peers and checked`)
    const reclaimed = await client.reclaim()
    if (reclaimed > 0n)
      say(
        'reclaimed',
        { amount: formatAmount(reclaimed) },
        `${formatAmount(reclaimed)} SNTR of earlier sessions came back`,
      )
    await client.network.waitForSubscribers('offers', 1, 20_000)
    const request: SessionRequest = {
      model,
      jobs: BigInt(jobs.length),
      priceCeiling: parseAmount(options.ceiling),
      windowMs: parseCount(options.window),
      policy: parsePolicy(options.policy),
      region: options.region,
      canonical: options.canonical,
      ...choiceOf(options),
      onBids(bids, chosen) {
        const all = bids.map((bid) => ({
          provider: bid.provider,
          price: formatAmount(bid.price),
          latencyMs: bid.expectedLatencyMs,
        }))
        const line = `${bids.length} bids; taken: ${chosen.provider} at ${formatAmount(chosen.price)} SNTR a job`
        say('bids', { bids: all, chosen: chosen.provider, price: formatAmount(chosen.price) }, line)
      },
    }
    const checks = { audit: parseShare(options.audit), replicas: parseCount(options.replicas) }
    const checked = await openChecked(client, request, checks, log)
    const { session } = checked
    const [first, ...others] = session.sessions
    const id = toHex(first!.session)
    const latencies: number[] = []
    const receipts: Promise<Receipt>[] = []
    await follow(client, memory)
    const keep = (receipt: Receipt): void => {
      memory.receipts.issued(toHex(receipt.session), receipt.seq, receipt)
      memory.receipts.acknowledged(toHex(receipt.session), receipt.seq)
    }
    let right = 0
    try {
      for (const [i, { values, label }] of jobs.entries()) {
        const result = await session.infer(values)
        latencies.push(result.latencyMs)
        receipts.push(result.acknowledged)
        result.acknowledged.then(keep, () => {})
        const answers = answersOf(manifest, result.outputs)
        const took = `${result.latencyMs.toFixed(1)} ms`
        const facts = {
          job: i + 1,
          latencyMs: result.latencyMs,
          outputs: Object.fromEntries(answers.map((answer) => [answer.name, answer.values])),
        }
        if (label === null) {
          say('answer', facts, `job ${i + 1}: ${describeAnswers(answers)}, ${took}`)
          continue
        }
        const { digit, confidence } = classify(result.outputs[outputs[0]!.name]!)
        if (digit === label) right++
        const truth = digit === label ? ' (right)' : ` (wrong: it is ${label})`
        say(
          'answer',
          { ...facts, digit, label, confidence },
          `job ${i + 1}: ${digit}${truth}, confidence ${(100 * confidence).toFixed(1)}%, ${took}`,
        )
      }
      await Promise.all(receipts)
    } catch (error) {
      // What is left of the ceiling comes back; `reclaim` takes it on a later run.
      await client.release(id)
      throw error
    } finally {
      await session.close()
      for (const each of others) await client.release(toHex(each.session))
      for (const { providers, mismatch } of session.disputes())
        say(
          'dispute',
          { providers, mismatch },
          `${providers.join(' and ')} answered differently: the committee decides`,
        )
      const disputed = session.disputes().length > 0
      if (disputed && !(await checked.settled(AUDIT_MS)))
        say(
          'unaudited',
          {},
          'a disputed job was not anchored in time: nobody was paid for it yet, and nobody looked at it',
        )
      await checked.stop()
    }
    const labelled = jobs.filter(({ label }) => label !== null).length
    const compared = BigInt(session.compared())
    const spent = others.reduce(
      (sum, { provider }) => sum + provider.price * compared,
      first!.provider.price * BigInt(jobs.length),
    )
    const ids = (await Promise.all(receipts)).map((each) => receiptId(each.session, each.seq))
    const summary = {
      jobs: jobs.length,
      labelled,
      right,
      firstMs: latencies[0],
      medianMs: median(latencies),
      spent: formatAmount(spent),
      provider: first!.provider.provider,
      session: id,
      compared: session.compared(),
      receipts: ids,
    }
    const accuracy = labelled === 0 ? '' : `, ${right} of ${labelled} right (${((100 * right) / labelled).toFixed(1)}%)`
    say(
      'summary',
      summary,
      `${jobs.length} job${jobs.length === 1 ? '' : 's'}${accuracy}, median ${summary.medianMs.toFixed(1)} ms, ${summary.spent} SNTR acknowledged`,
    )
    if (!options.json)
      console.log(`${ids.length === 1 ? 'receipt' : `receipts ${ids[0]} to`} ${ids.at(-1)}: ask \`sinter receipt\``)
  } finally {
    await client.stop()
  }
}
