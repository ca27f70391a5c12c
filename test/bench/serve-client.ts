/**
 * The measuring consumer of `npm run bench:serve`, a process of its own. Direct calls of ONNX Runtime in a child process, the SDK and the
 * gateway take turns on the same inputs. Argument: one JSON object. Prints facts as JSON lines.
 */
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { pino } from 'pino'
import { createExecutor } from '../../node/exec/host.ts'
import { type ConnectOptions, type Consumer, connect } from '../../node/sdk.ts'
import { percentile } from './measure.ts'

export type ServeClientInit = {
  connect: Omit<ConnectOptions, 'log' | 'identity'>
  gateway: string
  models: { name: string; id: string; file: string; shape: number[]; counts: Record<string, number> }[]
  /** Requests of the first model after which memory is read. */
  soak: number
  /** Milliseconds for them. */
  soakMs: number
}

/** Of one way at one size and one concurrency. `cut`: the time was up first. */
export type Measured = { p50: number; p99: number; rps: number; requests: number; failed: number; cut: boolean }
export type Way = 'direct' | 'sdk' | 'gateway'

const init = JSON.parse(process.argv[2]!, (_, value: unknown) =>
  typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
) as ServeClientInit
const say = (event: string, facts: object = {}): void => console.log(JSON.stringify({ event, ...facts }))
const log = pino({ level: 'silent' })

/** Milliseconds after which a cell of the table is cut short: commitments to 4 MB take seconds of processor a request. */
const CELL_MS = 25_000
/** Rounds in which the ways take turns, so that what else runs on the machine is the same for all. */
const ROUNDS = 4

/** Milliseconds of a pause. */
const PAUSE_MS = 60

type Load = { latencies: number[]; failed: number; cut: boolean; ms: number }
type Run = (signal?: AbortSignal) => Promise<unknown>

async function load(count: number, concurrency: number, run: Run, limitMs = CELL_MS): Promise<Load> {
  const latencies: number[] = []
  let left = count
  let failed = 0
  const started = performance.now()
  const end = new AbortController()
  const timer = setTimeout(() => end.abort(), limitMs)
  await Promise.all(
    Array.from({ length: Math.min(Math.max(1, concurrency), count) }, async () => {
      while (left-- > 0 && !end.signal.aborted) {
        const at = performance.now()
        try {
          await run(end.signal)
          latencies.push(performance.now() - at)
          if (concurrency === 0) await sleep(PAUSE_MS)
        } catch (error) {
          // Those under way when the time is up are not counted.
          if (!end.signal.aborted && failed++ === 0) say('load.failure', { error: String(error) })
        }
      }
    }),
  )
  clearTimeout(timer)
  return { latencies, failed, cut: end.signal.aborted, ms: performance.now() - started }
}

function measuredOf(loads: Load[]): Measured {
  const latencies = loads.flatMap((each) => each.latencies)
  const ms = loads.reduce((sum, each) => sum + each.ms, 0)
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    rps: (1000 * latencies.length) / ms,
    requests: latencies.length,
    failed: loads.reduce((sum, { failed }) => sum + failed, 0),
    cut: loads.some(({ cut }) => cut),
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 128 })

/** One request with the binary extension, as tritonclient sends it. */
function infer(name: string, shape: number[], data: Float32Array, signal?: AbortSignal): Promise<void> {
  const header = JSON.stringify({
    inputs: [{ name: 'x', shape: [1, ...shape], datatype: 'FP32', parameters: { binary_data_size: data.byteLength } }],
    parameters: { binary_data_output: true },
  })
  return new Promise((resolve, reject) => {
    const sent = request(
      `${init.gateway}/v2/models/${name}/infer`,
      {
        method: 'POST',
        agent,
        ...(signal === undefined ? {} : { signal }),
        headers: {
          'Inference-Header-Content-Length': Buffer.byteLength(header),
          'Content-Length': Buffer.byteLength(header) + data.byteLength,
        },
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () =>
          response.statusCode === 200 ? resolve() : reject(new Error(Buffer.concat(chunks).toString().slice(0, 300))),
        )
      },
    )
    sent.on('error', reject)
    sent.write(header)
    sent.end(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
  })
}

/** A busy machine is slow, not broken. */
const PATIENT = { hedgeMs: false, timeoutMs: 120_000 } as const
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const started = performance.now()
let client: Consumer = await connect({ ...init.connect, log })
const [first] = init.models
const inputOf = (shape: number[]): Float32Array =>
  Float32Array.from({ length: shape.reduce((product, dim) => product * dim, 1) }, (_, i) => ((i * 7) % 13) / 13)
for (let tries = 1; ; tries++)
  try {
    await client.infer(first!.id, { x: inputOf(first!.shape) }, PATIENT)
    break
  } catch (error) {
    // The blocks of a model that did come are kept.
    if (tries === 5) throw error
  }
say('cold', { seconds: (performance.now() - started) / 1000 })
await client.stop()
const again = performance.now()
client = await connect({ ...init.connect, log })
await client.infer(first!.id, { x: inputOf(first!.shape) }, PATIENT)
say('warm', { seconds: (performance.now() - again) / 1000 })
// While a provider loads models for the gateway there is nothing to measure.
for (const { name } of init.models)
  while (!(await fetch(`${init.gateway}/v2/models/${name}/ready`)).ok) await sleep(500)

for (const { name, id, file, shape, counts } of init.models) {
  const data = inputOf(shape)
  const executor = await createExecutor({
    ...{ model: new Uint8Array(readFileSync(file)), executionProvider: 'cpu', log },
    ...{ timeoutMs: 60_000, memoryMb: 2_048 },
  })
  const ways: Record<Way, Run> = {
    direct: (signal) => executor.run({ x: { data, shape: [1, ...shape] } }, signal && { signal }),
    sdk: (signal) => client.infer(id, { x: data }, { ...PATIENT, ...(signal && { signal }) }),
    gateway: (signal) => infer(name, shape, data, signal),
  }
  for (const run of Object.values(ways)) for (let i = 0; i < 3; i++) await run()
  for (const [concurrency, count] of Object.entries(counts)) {
    const rounds = count >= 40 * ROUNDS ? ROUNDS : 1
    const loads: Record<Way, Load[]> = { direct: [], sdk: [], gateway: [] }
    for (let round = 0; round < rounds; round++)
      for (const way of ['direct', 'sdk', 'gateway'] as const) {
        // What the way before left to do off the latency path is not this one's.
        await sleep(500)
        say('load.begin', { way })
        loads[way].push(await load(Math.ceil(count / rounds), Number(concurrency), ways[way], CELL_MS / rounds))
        say('load.pause', { way })
      }
    for (const way of ['direct', 'sdk', 'gateway'] as const)
      say('load.end', { name, way, concurrency: Number(concurrency), ...measuredOf(loads[way]) })
  }
  await executor.close()
}
say('soak.begin')
const data = inputOf(first!.shape)
const soak = await load(init.soak, 8, () => client.infer(first!.id, { x: data }, PATIENT), init.soakMs)
await sleep(1_000)
say('soak.end', { ...measuredOf([soak]), rssMb: process.memoryUsage.rss() / 2 ** 20 })
await client.stop()
process.exit(0)
