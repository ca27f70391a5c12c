import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join, parse } from 'node:path'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { Consumer, Step } from '../client/consumer.ts'
import { readInputFile, readNpy } from '../client/input-file.ts'
import { linksOf } from '../client/iterate.ts'
import type { Inputs } from '../client/values.ts'
import { inputNames, isNumbers } from './dataset.ts'
import { connectWith, formatAmount, type JoinOptions, parseCount } from './joined.ts'
import { parsePolicy, readInput, STOPPED } from './options.ts'
import { append, makeFolder, writeWhole } from './write.ts'

export type RunCommandOptions = JoinOptions & {
  model: string
  steps: string
  state: string
  feed?: string
  out: string
  replicas: string
  policy: string
  ceiling: string
  limit?: string
  json: boolean
  logLevel: string
}

type Named = Record<string, Inputs>

/** Where a run stands: the state that its step `step` begins with. */
type Saved = { model: string; step: number; state: Record<string, number[]> }

const STATE = 'state.json'
const LINES = 'steps.jsonl'

/** Tensors by name: a JSON object, or a folder with an array for each, named after it. Throws `INPUT_FILE`, `FILE_UNREADABLE`. */
export function readState(path: string): Named {
  if (!(statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false)) {
    if (extname(path) !== '.json') throw new SinterError('INPUT_FILE', `${path} is no .json file and no folder`)
    const value = readInputFile(path, readInput(path), [])
    if (Array.isArray(value)) throw new SinterError('INPUT_FILE', `${path} must hold an object of lists by input name`)
    return value as Named
  }
  const arrays = readdirSync(path).filter((name) => extname(name) === '.npy')
  return Object.fromEntries(arrays.map((name) => [parse(name).name, readNpy(name, readInput(join(path, name))).data]))
}

function readSaved(folder: string, model: string): Saved | null {
  const path = join(folder, STATE)
  if (!existsSync(path)) return null
  const saved = JSON.parse(readFileSync(path, 'utf8')) as Saved
  if (saved.model !== model)
    throw new SinterError('INPUT_FILE', `${path} belongs to a run of ${saved.model}: take another folder`)
  // What was noted of a step whose state was not is noted again.
  const lines = existsSync(join(folder, LINES)) ? readFileSync(join(folder, LINES), 'utf8').split('\n') : []
  const kept = lines.filter((line) => line !== '' && (JSON.parse(line) as { step: number }).step < saved.step)
  writeWhole(join(folder, LINES), kept.map((line) => `${line}\n`).join(''))
  return saved
}

/** Inputs of a step that come from files: one for each step in the order of the names, from the first again after the last. */
function feedOf(folder: string, names: string[], links: [string, string][]): (step: number) => Named {
  const files = inputNames(folder, isNumbers)
  const wanted = names.filter((name) => !links.some(([, to]) => to === name))
  return (step) => {
    const file = files[step % files.length]!
    const inputs = readInputFile(file, readInput(join(folder, file)), wanted)
    if (!Array.isArray(inputs)) return inputs as Named
    if (wanted.length !== 1)
      throw new SinterError('INPUT_FILE', `${file} must hold an object with ${wanted.join(', ')}`)
    return { [wanted[0]!]: inputs }
  }
}

export type RunFiles = {
  model: string
  steps: number
  /** Where the first state is. Not looked at when the run goes on. */
  state: string
  /** Folder of the inputs that do not come from the step before. @default there are none */
  feed?: string
  /** Folder of the state and of what each step said. */
  out: string
}

/**
 * Iterates a graph from files to files and goes on where an earlier run in the same folder stopped: after each step `state.json` holds
 * the state and its number, `steps.jsonl` a line with the step's other outputs and its receipts. Yields each step with its number in
 * the whole run. Throws `INPUT_FILE`, `FILE_UNREADABLE` and what `Consumer.run` throws.
 */
export async function* runFiles(
  consumer: Pick<Consumer, 'model' | 'run'>,
  { model, steps, state, feed, out }: RunFiles,
  options: NonNullable<Parameters<Consumer['run']>[3]>,
): AsyncGenerator<Step, void, undefined> {
  makeFolder(out)
  const saved = readSaved(out, model)
  const from = saved?.step ?? 0
  if (from >= steps) return
  const info = await consumer.model(model)
  const links = linksOf(info, null)
  const names = info.inputs.map(({ name }) => name)
  const more = feed === undefined ? null : feedOf(feed, names, links)
  const given: Named = saved?.state ?? readState(state)
  const lost = links.find(([, to]) => given[to] === undefined && more?.(from)[to] === undefined)
  if (lost !== undefined) throw new SinterError('INPUT_FILE', `${state} has no ${lost[1]}`)
  const run = consumer.run(model, given, steps - from, {
    ...options,
    ...(more === null ? {} : { feed: (step: number) => more(from + step) }),
  })
  for await (const step of run) {
    const number = from + step.step
    const carried = new Map(links)
    const others = Object.entries(step.outputs).filter(([name]) => !carried.has(name))
    const line = {
      step: number,
      outputs: Object.fromEntries(others.map(([name, { data }]) => [name, Array.from(data)])),
      receipts: step.receipts.map(({ id }) => id),
      disputed: step.disputed,
    }
    append(join(out, LINES), `${JSON.stringify(line)}\n`)
    const next = links.map(([name, to]) => [to, Array.from(step.outputs[name]!.data)])
    const now: Saved = { model, step: number + 1, state: Object.fromEntries(next) }
    writeWhole(join(out, STATE), `${JSON.stringify(now)}\n`)
    yield { ...step, step: number }
  }
}

/** Runs a graph whose outputs feed its next call, such as a training step. A signal stops it after a step; the same command goes on. */
export async function run(options: RunCommandOptions): Promise<void> {
  const { model, state, feed, out } = options
  const steps = parseCount(options.steps)
  const policy = parsePolicy(options.policy)
  const replicas = parseCount(options.replicas)
  const consumer = await connectWith(options)
  const stopping = new AbortController()
  const onSignal = (): void => stopping.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
  let done = 0
  try {
    const files = { model, steps, state, out, ...(feed === undefined ? {} : { feed }) }
    const all = runFiles(consumer, files, { policy, replicas, signal: stopping.signal })
    for await (const { step, latencyMs, receipts, disputed } of all) {
      done = step + 1
      const cost = formatAmount(consumer.spent)
      const facts = { step, of: steps, latencyMs, receipts: receipts.map(({ id }) => id), disputed, cost }
      const line = `step ${done} of ${steps}: ${receipts.length} agree, ${disputed} do not, ${latencyMs.toFixed(0)} ms, ${cost} SNTR`
      console.log(options.json ? JSON.stringify({ event: 'step', ...facts }) : line)
    }
    const end = `${done === 0 ? 'nothing was left to do' : `${done} steps done`}: the state is in ${join(out, STATE)}`
    console.log(options.json ? JSON.stringify({ event: 'end', steps, state: join(out, STATE) }) : end)
  } catch (error) {
    if (!stopping.signal.aborted || errorCode(error) !== 'ABORTED') throw error
    const stopped = `stopped with ${done} of ${steps} steps done: the same command goes on`
    console.log(options.json ? JSON.stringify({ event: 'stopped', done, of: steps }) : stopped)
    process.exitCode = STOPPED
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
    await consumer.stop()
  }
}
