/**
 * The measuring consumer, a process of its own: a light client whose requests to a provider on the network take turns with direct
 * calls of ONNX Runtime, in this process and in a child process, so that whatever else the machine does burdens all alike.
 * Arguments: one JSON object. Prints facts as JSON lines.
 */
import { pino } from 'pino'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { openSession } from '../../models/session.ts'
import { startClient } from '../../node/client/client.ts'
import { openIdentity, readNetworkFile } from '../../node/commands/options.ts'
import { createExecutor } from '../../node/exec/host.ts'
import { time } from './measure.ts'

export type RequestsInit = {
  networkFile: string
  rpcUrl: string
  bootstrap: string
  data: string
  passwordFile: string
  manifest: string
  rounds: number
  /** Requests of a round that wait for the receipt of the one before. */
  paced: number
  /** Direct calls of a round, each way. */
  direct: number
  /** Requests sent as fast as answers come, after the rounds. */
  burst: number
}

/** Milliseconds of every request, and of the burst as a whole. */
export type RequestsFacts = {
  inProcess: number[]
  child: number[]
  warm: number[]
  /** What the provider says the model took in the paced requests. */
  execution: number[]
  burst: number[]
  burstMs: number
  provider: string
}

const say = (event: string, facts: object = {}): void => console.log(JSON.stringify({ event, ...facts }))

const init = JSON.parse(process.argv[2]!) as RequestsInit
const log = pino({ level: 'silent' })
const client = await startClient({
  network: readNetworkFile(init.networkFile),
  rpcUrl: init.rpcUrl,
  identity: await openIdentity({ data: init.data, passwordFile: init.passwordFile, devnet: true }),
  dataDir: init.data,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: [init.bootstrap],
  devnet: true,
  log,
})
const onnx = loadDigits().model
const { images } = loadHeldOut()
const image = (i: number): Float32Array => images[i % images.length]!
const model = await client.library.load(init.manifest)
await client.network.waitForSubscribers('offers', 1, 30_000)
const jobs = init.rounds * init.paced + init.burst + 10
const session = await client.openSession({
  model,
  jobs: BigInt(jobs),
  priceCeiling: 10n ** 17n,
  windowMs: 30_000,
  enough: (bids) => bids.length > 0,
})
const [input] = model.manifest.inputs
const feeds = (i: number) => ({ [input!.name]: { shape: [1, ...input!.shape], data: image(i) } })
const direct = await openSession(onnx, { executionProvider: 'cpu' })
const executor = await createExecutor({ model: onnx, executionProvider: 'cpu', timeoutMs: 30_000, memoryMb: 1024, log })
for (let i = 0; i < 10; i++) {
  await direct.run(feeds(i))
  await executor.run(feeds(i))
  await (await session.infer([image(i)])).acknowledged
}

const facts: RequestsFacts = {
  inProcess: [],
  child: [],
  warm: [],
  execution: [],
  burst: [],
  burstMs: 0,
  provider: session.provider.provider,
}
say('warm', { provider: facts.provider })
for (let round = 0; round < init.rounds; round++) {
  facts.inProcess.push(...(await time(init.direct, (i) => direct.run(feeds(i)))))
  facts.child.push(...(await time(init.direct, (i) => executor.run(feeds(i)))))
  for (let i = 0; i < init.paced; i++) {
    const { latencyMs, executionMs, acknowledged } = await session.infer([image(i)])
    facts.warm.push(latencyMs)
    facts.execution.push(executionMs)
    await acknowledged
  }
}
say('burst.begin')
const receipts: Promise<unknown>[] = []
const started = performance.now()
for (let i = 0; i < init.burst; i++) {
  const { latencyMs, acknowledged } = await session.infer([image(i)])
  facts.burst.push(latencyMs)
  receipts.push(acknowledged)
}
await Promise.all(receipts)
facts.burstMs = performance.now() - started
say('acknowledged', facts)
await session.close()
await direct.dispose()
await executor.close()
await client.stop()
process.exit(0)
