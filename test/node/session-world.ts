import { randomBytes } from 'node:crypto'
import type { PeerId } from '@libp2p/interface'
import { CID } from 'multiformats/cid'
import pino from 'pino'
import { createCommitter } from '../../circuits/commit.ts'
import { fileCid } from '../../models/cid.ts'
import { loadDigits } from '../../models/digits.ts'
import { openSession } from '../../models/session.ts'
import { type ConsumerSession, openConsumerSession } from '../../node/client/session.ts'
import type { Executor } from '../../node/exec/host.ts'
import { type Identity, identityFromKey } from '../../node/identity/identity.ts'
import { createLedger, type Ledger } from '../../node/jobs/ledger.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { createRuntime, type Runtime } from '../../node/model/runtime.ts'
import type { FrameStream } from '../../node/net/frame-stream.ts'
import { jobHandler, type SessionComponents, type SessionInit } from '../../node/stages/session.ts'
import type { Codec, Store, Table } from '../../node/store/store.ts'
import { SinterError } from '../../protocol/errors.ts'
import { MAX_JOB_FRAME_BYTES } from '../../protocol/limits.ts'
import type { ChainSession, MadeBid } from '../../protocol/rules/assignment.ts'

/** A provider and a consumer over a pair of streams in memory: the real digits model, a real ledger, no network, no chain. */

export const log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' })
export const PRICE = 1_000n
export const NETWORK = new Uint8Array(32).fill(7)
export const ESCROW = { chainId: 31_337, contract: `0x${'e5'.repeat(20)}` } as const
export const bytes32 = (): Uint8Array => new Uint8Array(randomBytes(32))
export const provider: Identity = identityFromKey(bytes32())
export const consumer: Identity = identityFromKey(bytes32())

const digits = loadDigits()
export const model: LoadedModel = {
  cid: CID.parse(await fileCid(digits.manifestBytes)),
  manifest: digits.manifest,
  weights: digits.weights,
}
export const committer = await createCommitter()
const onnx = await openSession(digits.model, { executionProvider: 'cpu', threads: 1 })
const executor: Executor = {
  inputNames: onnx.inputNames,
  outputNames: onnx.outputNames,
  run: (inputs) => onnx.run(inputs),
  settled: async () => {},
  close: async () => {},
  pid: null,
}
export const digitsRuntime: Runtime = createRuntime(model, executor)

/** Tables in memory that, like those on disk, keep bytes and not objects. */
export function memoryStore(): Store {
  const tables = new Map<string, Map<string, Uint8Array>>()
  const rows = (name: string): Map<string, Uint8Array> => {
    if (!tables.has(name)) tables.set(name, new Map())
    return tables.get(name)!
  }
  return {
    table: <T>(name: Parameters<Store['table']>[0], codec: Codec<T>): Table<T> => ({
      name,
      get: async (key) => {
        const bytes = rows(name).get(key)
        return bytes === undefined ? undefined : codec.decode(bytes)
      },
      put: async (key, value) => void rows(name).set(key, codec.encode(value)),
      del: async (key) => void rows(name).delete(key),
      async *entries(prefix = '') {
        for (const [key, bytes] of [...rows(name)].sort(([a], [b]) => (a < b ? -1 : 1)))
          if (key.startsWith(prefix)) yield [key, codec.decode(bytes)]
      },
      putOp: (key, value) => ({ type: 'put', table: name, key, value: codec.encode(value) }),
      delOp: (key) => ({ type: 'del', table: name, key }),
    }),
    async batch(operations) {
      for (const each of operations)
        if (each.type === 'put') rows(each.table).set(each.key, each.value)
        else rows(each.table).delete(each.key)
    },
    close: async () => {},
  }
}

type End = FrameStream & { push(bytes: Uint8Array): void; hangUp(error: SinterError): void }

function end(remotePeer: PeerId, other: () => End): End {
  const queue: Uint8Array[] = []
  let wake: () => void = () => {}
  let over: SinterError | null = null
  const closed = (): SinterError => new SinterError('STREAM_CLOSED', 'the stream is closed')
  return {
    remotePeer,
    get closed() {
      return over !== null
    },
    push(bytes) {
      queue.push(bytes)
      wake()
    },
    hangUp(error) {
      over ??= error
      wake()
    },
    async read(timeoutMs) {
      const until = Date.now() + timeoutMs
      for (;;) {
        const frame = queue.shift()
        if (frame !== undefined) return frame
        if (over !== null) throw over
        if (Date.now() >= until) throw new SinterError('STREAM_TIMEOUT', 'no frame')
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, until - Date.now())
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
    },
    async write(bytes) {
      if (bytes.length > MAX_JOB_FRAME_BYTES) throw new SinterError('STREAM_FRAME_TOO_LARGE', 'too large')
      if (over !== null) throw closed()
      other().push(bytes)
    },
    async close() {
      over ??= closed()
      wake()
      other().hangUp(closed())
    },
    abort(error) {
      over ??= error
      wake()
      other().hangUp(closed())
    },
  }
}

/** What the consumer holds, and what the provider holds. */
export function streamPair(): [atConsumer: FrameStream, atProvider: FrameStream] {
  const a: End = end(provider.peerId, () => b)
  const b: End = end(consumer.peerId, () => a)
  return [a, b]
}

export type World = {
  ledger: Ledger
  store: Store
  bid: MadeBid
  session: Uint8Array
  /** What the chain says of the session; a test may change it. */
  chain: ChainSession
  components: SessionComponents
  /** Milliseconds by which the provider's clock is ahead. */
  clock: { ahead: number }
  /** Serves one stream; resolves when the provider has ended it. */
  connect(): { stream: FrameStream; served: Promise<void> }
  /** A real consumer on a new stream, who agreed to the bid's terms or to others. */
  consume(
    terms?: Partial<Pick<MadeBid, 'policy' | 'canonical'>>,
    agreed?: LoadedModel,
  ): Promise<{ consumer: ConsumerSession; stream: FrameStream; served: Promise<void> }>
}

export function createWorld(init: SessionInit = {}, runtime: Runtime = digitsRuntime): World {
  const store = memoryStore()
  const ledger = createLedger(store)
  const clock = { ahead: 0 }
  const now = (): number => Date.now() + clock.ahead
  const session = bytes32()
  const bid: MadeBid = {
    id: bytes32(),
    offer: bytes32(),
    consumer: consumer.address,
    manifest: model.cid.toString(),
    price: PRICE,
    policy: 'zk',
    canonical: false,
    expiryMs: now() + 60_000,
  }
  const world = {
    ledger,
    store,
    bid,
    session,
    clock,
    chain: {
      signer: consumer.address,
      provider: provider.address,
      ceiling: 100n * PRICE,
      spent: 0n,
      expiry: Math.floor(now() / 1000) + 3_600,
      closing: false,
    },
  }
  const components: SessionComponents = {
    identity: provider,
    networkId: NETWORK,
    vouchers: ESCROW,
    ledger,
    committer,
    runtime: async () => runtime,
    bid: (id) => (Buffer.from(id).equals(bid.id) ? bid : null),
    chainSession: async (id) => (Buffer.from(id).equals(session) ? { ...world.chain } : null),
    now,
    log,
  }
  const handler = jobHandler(components, init)
  const connect: World['connect'] = () => {
    const [atConsumer, atProvider] = streamPair()
    // As streams.ts does when a handler is done.
    return { stream: atConsumer, served: handler(atProvider, consumer.peerId).finally(() => atProvider.close()) }
  }
  return Object.assign(world, {
    components,
    connect,
    async consume(terms = {}, agreed = model) {
      const { stream, served } = connect()
      const received = {
        id: bid.id,
        provider: provider.address,
        providerKey: provider.publicKey,
        price: PRICE,
        expectedLatencyMs: 1,
        warm: true,
        expiryMs: bid.expiryMs,
        executionProvider: 'cpu',
        region: '',
        peerId: provider.peerId.toString(),
      }
      const opened = await openConsumerSession(
        {
          identity: consumer,
          networkId: NETWORK,
          vouchers: ESCROW,
          streams: { open: async () => stream },
          committer,
          log,
        },
        {
          model: agreed,
          bid: received,
          offer: bid.offer,
          session,
          ceiling: world.chain.ceiling,
          policy: bid.policy,
          canonical: bid.canonical,
          ...terms,
        },
      )
      return { consumer: opened, stream, served }
    },
  })
}
