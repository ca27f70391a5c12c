/**
 * One local network of real processes: honest nodes, four providers with one thing changed, a provider that is killed after it
 * has anchored, and a spy that reads all gossip. What each batch comes to is read from the chain.
 */
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { quantise } from '../../models/quantise.ts'
import { tensorOf } from '../../models/tiling.ts'
import type { BatchEvent } from '../../node/chain/watch.ts'
import { type Auditor, createAuditor } from '../../node/client/audit.ts'
import type { LocalNode, Localnet } from '../../node/devnet/localnet.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import type { Receipt } from '../../protocol/rules/receipt.ts'
import { found, needlesOf } from './needles.ts'
import { openWorld, type World } from './world.ts'

const CHEATS = ['made-up-outputs', 'forged-operator', 'flipped-weight-bit', 'replayed-attestation']
const JOBS = 3
const BATCH_MS = 400_000
const { images } = loadHeldOut()

let world: World
let auditor: Auditor
let model: LoadedModel
const nodes = new Map<string, LocalNode>()
const needles: string[] = []
const receipts: Receipt[] = []

const adversary = fileURLToPath(new URL('../adversary/node.ts', import.meta.url))

async function startNodes(net: Localnet): Promise<LocalNode[]> {
  nodes.set('honest-1', await net.startNode('honest-1'))
  const names = ['honest-2', 'honest-3', 'phoenix', ...CHEATS]
  const work = async (): Promise<void> => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const options = CHEATS.includes(name) ? { program: adversary, env: { ATTACK: name } } : {}
      nodes.set(name, await net.startNode(name, options))
    }
  }
  await Promise.all([work(), work()])
  return net.nodes
}

/** Sends jobs to one provider and returns when all are acknowledged. The first of them is opened to the committee if it is audited. */
async function buy(name: string, skip = 0, audited = false): Promise<void> {
  const wanted = nodes.get(name)!.address
  const session = await world.client.openSession({
    model,
    jobs: BigInt(JOBS),
    priceCeiling: 10n ** 17n,
    windowMs: 60_000,
    enough: (bids) => bids.some(({ provider }) => provider === wanted),
    choose: (bids) => {
      const bid = bids.find(({ provider }) => provider === wanted)
      assert.ok(bid, `${name} did not bid`)
      return bid!
    },
  })
  const { manifest } = model
  for (let i = 0; i < JOBS; i++) {
    const image = images[skip + i]!
    const result = await session.infer([image])
    const receipt = await result.acknowledged
    receipts.push(receipt)
    if (audited && i === 0) {
      auditor.open(receipt)
      continue
    }
    const logits = Object.values(result.outputs)[0]!
    needles.push(...needlesOf(image, quantise(image, tensorOf(manifest, manifest.inputs[0]!.tensor).exponent)))
    needles.push(...needlesOf(logits, quantise(logits, tensorOf(manifest, manifest.outputs[0]!.tensor).exponent)))
  }
  await session.close()
}

type Named<N extends BatchEvent['name']> = Extract<BatchEvent, { name: N }>
const of = <N extends BatchEvent['name']>(name: N): Named<N>[] =>
  world.chainEvents.filter((event): event is Named<N> => event.name === name)

/** Batches that a node anchored, in order. */
const batchesOf = (name: string): `0x${string}`[] =>
  of('BatchAnchored')
    .filter(({ args }) => args.provider === nodes.get(name)!.address)
    .map(({ args }) => args.batchId)

/** Faults that committee members reported for a batch. */
const faultsOf = (batch: string): string[] =>
  world.events
    .filter(({ event, facts }) => event === 'attestation.verified' && facts.batch === batch)
    .flatMap(({ facts }) => facts.faults as string[])

/** Waits until a node that is not the provider has seen the n-th batch to its end, and returns how it ended. */
async function finished(name: string, n = 0): Promise<{ id: `0x${string}`; status: string }> {
  const wanted = nodes.get(name)!.address
  await world.waitEvent('batch.anchored', ({ actor }) => actor.startsWith(name) && batchCount(name) > n, BATCH_MS)
  const deadline = Date.now() + 20_000
  while (of('BatchAnchored').filter(({ args }) => args.provider === wanted).length <= n) {
    if (Date.now() > deadline) throw new Error(`the chain does not show batch ${n} of ${name}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  const id = batchesOf(name)[n]!
  const end = await world.waitEvent(
    'batch.finished',
    ({ actor, facts }) => actor === 'honest-1' && facts.batch === id,
    BATCH_MS,
  )
  // The node's word came over a pipe, the facts come from the chain: they are read by another clock.
  await world.caughtUp()
  return { id, status: end.facts.status as string }
}
/** What chain and nodes said of a batch, for whom its end surprises. */
const story = (id: string): string =>
  [
    ...world.chainEvents.filter(({ args }) => 'batchId' in args && args.batchId === id),
    ...world.events.filter(({ facts }) => facts.batch === id),
  ]
    .map((event) => JSON.stringify(event, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value)))
    .join('\n')

const batchCount = (name: string): number =>
  world.events.filter(({ event, actor }) => event === 'batch.anchored' && actor.startsWith(name)).length

/** Kills the provider as soon as its batch is anchored, and starts it again on the same folder. */
async function killAfterAnchor(): Promise<void> {
  const phoenix = nodes.get('phoenix')!
  await phoenix.actor.wait('batch.anchored', BATCH_MS)
  phoenix.actor.kill('SIGKILL')
  await phoenix.actor.ended
  nodes.set('phoenix', await world.net.startNode('phoenix-again', { account: phoenix.account }))
}

test.before(async () => {
  // uvu says nothing about a hook that failed.
  await setUp().catch((error: unknown) => {
    console.error(error)
    throw error
  })
})

async function setUp(): Promise<void> {
  // Time to name an audit, also on a machine that is busy.
  world = await openWorld(startNodes, { params: { auditWindow: 15 } })
  const publisher = world.net.startCommand(
    'publisher',
    await world.net.newAccount('publisher'),
    ['model', 'publish', 'digits'],
    ['--json'],
  )
  const { facts } = await publisher.wait('published', 60_000)
  model = await world.client.library.load(facts.manifest as string)
  await world.client.network.waitForSubscribers('offers', 4, 30_000)
  const rebirth = killAfterAnchor()
  await buy('phoenix')
  auditor = await createAuditor({
    chain: world.client.chain,
    purse: world.client.purse,
    log: pino({ level: 'silent' }),
  })
  for (const [i, name] of CHEATS.entries()) await buy(name, 10 + 10 * i, name === 'made-up-outputs')
  await rebirth
  const first = await finished('replayed-attestation')
  assert.is(first.status, 'paid', story(first.id))
  await buy('replayed-attestation', 60)
}

test.after(async () => {
  await auditor?.stop()
  await world?.stop()
})

test('a provider killed after it anchored finishes the batch when it comes back, and is paid once', async () => {
  const { id, status } = await finished('phoenix')
  assert.is(status, 'paid', story(id))
  assert.equal(faultsOf(id), [])
  assert.is(of('BatchSettled').filter(({ args }) => args.batchId === id).length, 1)
  const collected = of('RangeCollected').filter(({ args }) => args.batchId === id)
  assert.is(collected.length, 1)
  assert.is(collected[0]!.args.refunded, 0n)
  assert.is(await world.net.chain.pot(id), 0n)
})

for (const name of ['forged-operator', 'flipped-weight-bit'])
  test(`${name}: the proofs fail, the lock is slashed and the consumer refunded`, async () => {
    const { id, status } = await finished(name)
    assert.is(status, 'slashed')
    assert.ok(
      faultsOf(id).some((fault) => fault.startsWith('PROOF_PAIRING')),
      faultsOf(id).join(),
    )
    await slashed(id, name)
  })

test('replayed-attestation: the old jobs do not stand in the new batch, the lock is slashed and the consumer refunded', async () => {
  const { id, status } = await finished('replayed-attestation', 1)
  assert.is(status, 'slashed')
  assert.ok(
    faultsOf(id).some((fault) => /^(RECEIPT_RANGE|SUM_PATH)/.test(fault)),
    faultsOf(id).join(),
  )
  await slashed(id, 'replayed-attestation')
})

/** The whole lock is gone and every unit of the fees is back. */
async function slashed(id: `0x${string}`, name: string): Promise<void> {
  const anchored = of('BatchAnchored').find(({ args }) => args.batchId === id)!
  const [slash] = of('BatchSlashed').filter(({ args }) => args.batchId === id)
  assert.is(slash!.args.burned + slash!.args.rewarded, anchored.args.lock)
  const collected = of('RangeCollected').filter((event) => event.args.batchId === id)
  assert.is(collected.length, 1)
  for (const { args } of collected) {
    assert.is(args.refunded, anchored.args.total)
    assert.is(args.paid, 0n)
    assert.is(args.consumer, world.account.address)
  }
  const node = (await world.net.chain.node(nodes.get(name)!.address))!
  assert.is(node.stake, 1_000n * 10n ** 18n - anchored.args.lock)
  assert.is(await world.net.chain.pot(id), 0n)
}

test('made-up outputs: the tolerance verdict costs more than the batch pays, and the drawn fees go back', async () => {
  const { id } = await finished('made-up-outputs')
  // The drawn jobs are proven but for their outputs; the one that its consumer named is shown and computed again.
  const faults = faultsOf(id)
  assert.ok(
    faults.every((fault) => /^TOLERANCE_(CONCEDED|EXCEEDED)/.test(fault)),
    faults.join(),
  )
  assert.ok(
    faults.some((fault) => fault.startsWith('TOLERANCE_EXCEEDED')),
    faults.join(),
  )
  assert.is(of('AuditNamed').filter(({ args }) => args.batchId === id).length, 1)
  const anchored = of('BatchAnchored').find(({ args }) => args.batchId === id)!
  const forfeits = of('ToleranceForfeited').filter(({ args }) => args.batchId === id)
  const forfeited = forfeits.reduce((sum, { args }) => sum + args.forfeited, 0n)
  assert.ok(forfeited >= anchored.args.total, `${forfeited} of ${anchored.args.total}`)
  assert.ok(forfeits.reduce((sum, { args }) => sum + args.refunded, 0n) > 0n)
  const [collected] = of('RangeCollected').filter(({ args }) => args.batchId === id)
  assert.is(collected!.args.paid, 0n)
})

test('no input and no output appears in anything gossiped or sent to the chain', async () => {
  const calldata: Uint8Array[] = []
  const { block } = await world.net.chain.head()
  for (let at = 0n; at <= block; at++) {
    const body = { jsonrpc: '2.0', id: 1, method: 'eth_getBlockByNumber', params: [`0x${at.toString(16)}`, true] }
    const response = await fetch(world.net.anvil.rpcUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const { result } = (await response.json()) as { result: { transactions: { input: string }[] } }
    for (const { input } of result.transactions) calldata.push(Uint8Array.from(Buffer.from(input.slice(2), 'hex')))
  }
  assert.ok(needles.length > 500)
  assert.ok(world.gossiped.length > 10)
  assert.equal(found(needles, [...world.gossiped, ...calldata]), [])
  // The search itself works: what is meant to be public is found by it.
  const known = receipts.map(({ inputRoot }) => Buffer.from(inputRoot).toString('latin1'))
  assert.ok(found(known, world.gossiped).length > 0)
  const last = of('BatchAnchored').map(({ args }) => args.root)
  assert.ok(
    found(
      last.map((root) => Buffer.from(root.slice(2), 'hex').toString('latin1')),
      calldata,
    ).length === last.length,
  )
})

test('money is conserved: what the escrow holds is what it owes, and what left the supply was burned', async () => {
  const { chain, network, nodes: started } = world.net
  const accounts = [...new Set([...started.map(({ address }) => address), world.account.address])]
  const balances = await Promise.all(accounts.map((who) => chain.balanceOf(who)))
  const sessions = [...new Set(of('RangeAnchored').map(({ args }) => args.session))]
  const reserves = await Promise.all(sessions.map((id) => chain.session(id)))
  const pots = await Promise.all(of('BatchAnchored').map(({ args }) => chain.pot(args.batchId)))
  const sum = (values: bigint[]): bigint => values.reduce((all, value) => all + value, 0n)
  const owed = sum(balances) + sum(reserves.map(({ ceiling, anchored }) => ceiling - anchored)) + sum(pots)
  assert.is(await chain.tokensOf(network.contracts.escrow), owed)
  const slashes = sum(of('BatchSlashed').map(({ args }) => args.burned))
  assert.ok(BigInt(network.params.genesis as string) - (await chain.tokenSupply()) > slashes)
})

test.run()
