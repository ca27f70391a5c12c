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
}

/** Of one way at one size and one concurrency. */
export type Measured = { p50: number; p99: number; rps: number; requests: number; failed: number }
export type Way = 'direct' | 'sdk' | 'gateway'

const init = JSON.parse(process.argv[2]!, (_, value: unknown) =>
  typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
) as ServeClientInit
const say = (event: string, facts: object = {}): void => console.log(JSON.stringify({ event, ...facts }))
const log = pino({ level: 'silent' })

async function load(count: number, concurrency: number, run: () => Promise<unknown>): Promise<Measured> {
  const latencies: number[] = []
  let left = count
  let failed = 0
  const started = performance.now()
  await Promise.all(
    Array.from({ length: Math.min(concurrency, count) }, async () => {
      while (left-- > 0) {
        const at = performance.now()
        try {
          await run()
          latencies.push(performance.now() - at)
        } catch {
          failed++
        }
      }
    }),
  )
  const rps = (1000 * (count - failed)) / (performance.now() - started)
  return { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99), rps, requests: count, failed }
}

const agent = new Agent({ keepAlive: true, maxSockets: 128 })

/** One request with the binary extension, as tritonclient sends it. */
function infer(name: string, shape: number[], data: Float32Array): Promise<void> {
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
await client.infer(first!.id, { x: inputOf(first!.shape) }, PATIENT)
say('cold', { seconds: (performance.now() - started) / 1000 })
await client.stop()
const again = performance.now()
client = await connect({ ...init.connect, log })
await client.infer(first!.id, { x: inputOf(first!.shape) }, PATIENT)
say('warm', { seconds: (performance.now() - again) / 1000 })

for (const { name, id, file, shape, counts } of init.models) {
  const data = inputOf(shape)
  const executor = await createExecutor({
    ...{ model: new Uint8Array(readFileSync(file)), executionProvider: 'cpu', log },
    ...{ timeoutMs: 60_000, memoryMb: 2_048 },
  })
  const ways: Record<Way, () => Promise<unknown>> = {
    direct: () => executor.run({ x: { data, shape: [1, ...shape] } }),
    sdk: () => client.infer(id, { x: data }, PATIENT),
    gateway: () => infer(name, shape, data),
  }
  for (const run of Object.values(ways)) for (let i = 0; i < 3; i++) await run()
  for (const [concurrency, count] of Object.entries(counts))
    for (const way of ['direct', 'sdk', 'gateway'] as const) {
      // What the way before left to do off the latency path is not this one's.
      await sleep(500)
      say('load.begin', { name, way, concurrency: Number(concurrency) })
      const measured = await load(count, Number(concurrency), ways[way])
      say('load.end', { name, way, concurrency: Number(concurrency), ...measured })
    }
  await executor.close()
}
say('soak.begin')
const data = inputOf(first!.shape)
const soak = await load(init.soak, 8, () => client.infer(first!.id, { x: data }, PATIENT))
await sleep(1_000)
say('soak.end', { ...soak, rssMb: process.memoryUsage.rss() / 2 ** 20 })
await client.stop()
process.exit(0)
