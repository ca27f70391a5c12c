/**
 * `npm run bench:warm [REQUESTS]`: how often a request meets a provider that has its model loaded. A local network of three providers that keep
 * four models each, ten models, and requests whose models follow Zipf's law (the i-th with weight 1/i), each with an offer and a session
 * of its own: it takes the first bid. First from an empty start, then once demand has been seen. Last line JSON.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { loadDigits, loadHeldOut } from '../../models/digits.ts'
import { manifestBytes } from '../../models/manifest.ts'
import { devnetParams } from '../../node/chain/params.ts'
import { type LightClient, startClient } from '../../node/client/client.ts'
import { startLocalnet } from '../../node/devnet/localnet.ts'
import { loadIdentity, readPassword } from '../../node/identity/keystore.ts'
import { errorCode } from '../../protocol/errors.ts'

const [PROVIDERS, SLOTS, MODELS] = [3, 4, 10]
const CLIENTS = 3

/** The same draws each time: a linear congruential generator. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Places from 0, the i-th with weight 1/(i + 1). */
export function zipf(count: number, among: number, random: () => number): number[] {
  const weights = Array.from({ length: among }, (_, i) => 1 / (i + 1))
  const total = weights.reduce((a, b) => a + b)
  return Array.from({ length: count }, () => {
    let left = random() * total
    return Math.max(
      0,
      weights.findIndex((weight) => {
        left -= weight
        return left < 0
      }),
    )
  })
}

type Met = { cold: number; unanswered: number; requests: number }

const folder = mkdtempSync(join(tmpdir(), 'sinter-warm-'))
const net = await startLocalnet({ folder, params: { ...devnetParams, draws: 2 }, tileDraws: 2 })
const clients: LightClient[] = []
try {
  const args = ['--quiet', '600', '--max-models', String(SLOTS)]
  await net.startNode('provider-0', { args })
  await Promise.all(Array.from({ length: PROVIDERS - 1 }, (_, i) => net.startNode(`provider-${i + 1}`, { args })))
  const password = await readPassword({ file: join(folder, 'password'), env: 'SINTER_PASSWORD' })
  const enter = async (name: string): Promise<LightClient> => {
    const account = await net.newAccount(name)
    const client = await startClient({
      network: net.network,
      rpcUrl: net.anvil.rpcUrl,
      identity: await loadIdentity({ path: join(account.folder, 'key.json'), password, cost: 'devnet' }),
      dataDir: account.folder,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      bootstrap: [net.nodes[0]!.multiaddr],
      devnet: true,
      log: pino({ level: 'silent' }),
    })
    clients.push(client)
    await client.network.waitForSubscribers('offers', PROVIDERS, 30_000)
    return client
  }
  const publisher = await enter('publisher')
  const { manifest, model, weights } = loadDigits()
  for (const bytes of [model, weights])
    await publisher.content.provide(await publisher.content.add(bytes, { keep: true }))
  const models: string[] = []
  for (let i = 0; i < MODELS; i++) {
    const cid = await publisher.content.add(manifestBytes({ ...manifest, name: `digits-${i}` }), { keep: true })
    await publisher.content.provide(cid)
    models.push(cid)
  }
  const consumers: LightClient[] = []
  for (let i = 0; i < CLIENTS; i++) consumers.push(await enter(`consumer-${i}`))
  const { images } = loadHeldOut()

  /** One request with an offer of its own; whether its provider had the model. */
  async function request(client: LightClient, place: number): Promise<'warm' | 'cold' | 'unanswered'> {
    const loaded = await client.library.load(models[place]!)
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        const session = await client.openSession({
          ...{ model: loaded, jobs: 1n, priceCeiling: 10n ** 17n, windowMs: 15_000 },
          enough: (bids) => bids.length >= 1,
        })
        await (await session.infer([images[place]!])).acknowledged
        await session.close()
        // Not released: a session that ends is settled at once, and proofs would take time from what is measured.
        // Whoever had to ask again has waited: that is as bad as a cold one.
        return session.provider.warm && attempt === 0 ? 'warm' : 'cold'
      } catch (error) {
        console.log(`# ${errorCode(error)}`)
      }
    }
    return 'unanswered'
  }

  async function run(places: number[]): Promise<Met> {
    const met: Met = { cold: 0, unanswered: 0, requests: places.length }
    const left = [...places]
    await Promise.all(
      consumers.map(async (client) => {
        for (let place = left.shift(); place !== undefined; place = left.shift()) {
          const how = await request(client, place)
          if (how !== 'warm') met[how]++
        }
      }),
    )
    return met
  }

  const requests = Number(process.argv[2] ?? 200)
  const random = seeded(7)
  const figures: Record<string, number> = {}
  for (const phase of ['empty', 'settled']) {
    const started = performance.now()
    const { cold, unanswered } = await run(zipf(requests, MODELS, random))
    const share = (100 * (cold + unanswered)) / requests
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    console.log(
      `${phase}: ${cold} of ${requests} requests met a cold provider, ${unanswered} none: ${share.toFixed(1)}%; ${seconds} s, load ${loadavg()[0]!.toFixed(1)}`,
    )
    figures[`cold_share_${phase}`] = Number((share / 100).toFixed(4))
  }
  console.log(JSON.stringify({ providers: PROVIDERS, slots: SLOTS, models: MODELS, requests, ...figures }))
} finally {
  for (const client of clients) await client.stop()
  await net.stop()
  rmSync(folder, { recursive: true, force: true })
}
process.exit(0)
