import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { peerIdFromString } from '@libp2p/peer-id'
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { identityFromKey } from '../../node/identity/identity.ts'
import { classCid } from '../../node/net/discovery.ts'
import type { TopicValidator } from '../../node/net/gossip.ts'
import { storedPeers } from '../../node/net/known-peers.ts'
import { createNetwork, type Network, type NetworkInit } from '../../node/net/libp2p.ts'
import { openStore } from '../../node/store/store.ts'
import { errorCode } from '../../protocol/errors.ts'
import { MAX_OFFER_BYTES, type Topic, topicName } from '../../protocol/limits.ts'
import { accept, ignore, reject } from '../../protocol/verdict.ts'

/** Nodes over real TCP on loopback. Messages of these tests say by their first byte how to judge them. */
const log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' })
const TAG = 'test-00000000'
const NODES = 7

const judge: TopicValidator = async (bytes) => {
  if (bytes[0] === 0) return accept
  if (bytes[0] === 1) return ignore('TEST_IGNORED')
  if (bytes[0] === 2) return reject('TEST_INVALID')
  throw new Error('the validator broke')
}
const judges: Record<Topic, TopicValidator> = { offers: judge, attestations: judge, votes: judge }

const started: Network[] = []
const start = async (init: Partial<NetworkInit> = {}): Promise<Network> => {
  const network = await createNetwork({
    identity: identityFromKey(new Uint8Array(randomBytes(32))),
    tag: TAG,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [],
    mode: 'node',
    devnet: true,
    topics: judges,
    log,
    ...init,
  })
  started.push(network)
  return network
}

const message = (kind: number, size = 64): Uint8Array => {
  const bytes = new Uint8Array(randomBytes(size))
  bytes[0] = kind
  return bytes
}

const until = async (what: string, condition: () => boolean, timeoutMs = 20_000): Promise<void> => {
  const deadline = Date.now() + timeoutMs
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

let nodes: Network[] = []
let discoveryMs = 0

test.before(async () => {
  const first = await start()
  const bootstrap = first.addresses().slice(0, 1)
  const from = Date.now()
  nodes = [first, ...(await Promise.all(Array.from({ length: NODES - 1 }, () => start({ bootstrap }))))]
  await Promise.all(nodes.map((node) => node.waitForPeers(NODES - 1, 20_000)))
  discoveryMs = Date.now() - from
})
test.after(async () => {
  await Promise.all(started.map((network) => network.stop()))
})

test('nodes that know one address find all the others', () => {
  console.log(`  ${NODES} nodes knew each other after ${discoveryMs} ms`)
  for (const node of nodes)
    for (const other of nodes) if (other !== node) assert.ok(node.peers().includes(other.peerId))
})

test('a node that starts again finds the network without its bootstrap address', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-peers-'))
  const identity = identityFromKey(new Uint8Array(randomBytes(32)))
  const first = await start({ tag: 'peers' })
  const bootstrap = first.addresses().slice(0, 1)
  const others = await Promise.all([start({ tag: 'peers', bootstrap }), start({ tag: 'peers', bootstrap })])
  let store = await openStore(folder)
  try {
    const before = await start({ tag: 'peers', identity, bootstrap, known: storedPeers(store) })
    await before.waitForPeers(3, 20_000)
    const kept = async (): Promise<string[]> => storedPeers(store).load()
    for (let end = Date.now() + 20_000; (await kept()).length < 3 && Date.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 50))
    await before.stop()
    await first.stop()
    await store.close()
    store = await openStore(folder)
    // Somebody wrote nonsense on the disk: the rest of the list still counts.
    await storedPeers(store).save(['nonsense', ...(await kept())])
    const again = await start({ tag: 'peers', identity, bootstrap, known: storedPeers(store) })
    await again.waitForPeers(2, 20_000)
    assert.equal(again.peers().sort(), others.map(({ peerId }) => peerId).sort())
  } finally {
    await store.close()
    rmSync(folder, { recursive: true })
  }
})

test('a message reaches every node once, from any of them, and not its author', async () => {
  await Promise.all(nodes.map((node) => node.waitForSubscribers('votes', NODES - 1, 20_000)))
  const got = new Map<string, number>()
  const stops = nodes.map((node) =>
    node.onMessage('votes', () => got.set(node.peerId, (got.get(node.peerId) ?? 0) + 1)),
  )
  const from = performance.now()
  for (const node of nodes) await node.publish('votes', message(0))
  await until('all votes everywhere', () => nodes.every((node) => got.get(node.peerId) === NODES - 1))
  console.log(`  ${NODES} messages to ${NODES - 1} nodes each in ${(performance.now() - from).toFixed(0)} ms`)
  const once = performance.now()
  const before = got.get(nodes[6]!.peerId)!
  await nodes[0]!.publish('votes', message(0))
  await until('one vote more', () => got.get(nodes[6]!.peerId) === before + 1)
  console.log(`  one message to a given node in ${(performance.now() - once).toFixed(0)} ms`)
  await new Promise((resolve) => setTimeout(resolve, 300))
  got.set(nodes[0]!.peerId, got.get(nodes[0]!.peerId)! + 1)
  for (const node of nodes) got.set(node.peerId, got.get(node.peerId)! - 1)
  for (const node of nodes) assert.is(got.get(node.peerId), NODES - 1)
  for (const stop of stops) stop()
})

test('the largest attestation passes through the mesh whole', async () => {
  const big = message(0, 2 * 1024 * 1024)
  let arrived = 0
  const stops = nodes.slice(1).map((node) =>
    node.onMessage('attestations', (bytes) => {
      assert.is(Buffer.compare(bytes, big), 0)
      arrived++
    }),
  )
  await nodes[0]!.publish('attestations', big)
  await until('the attestation everywhere', () => arrived === NODES - 1)
  for (const stop of stops) stop()
})

test('invalid and ignored messages are delivered to nobody and passed on by nobody', async () => {
  // A chain a - b - c of their own: c hears of a's messages only if b passes them on.
  const chain = { tag: 'chain-00000000' }
  const b = await start(chain)
  const bootstrap = b.addresses().slice(0, 1)
  const ends = [0, 1].map(() => identityFromKey(new Uint8Array(randomBytes(32))))
  const [a, c] = (await Promise.all(
    ends.map((identity, i) =>
      start({ ...chain, bootstrap, identity, deny: (peer) => peer === ends[1 - i]!.peerId.toString() }),
    ),
  )) as [Network, Network]
  await Promise.all([a, c].map((node) => node.waitForSubscribers('offers', 1, 20_000)))
  await b.waitForSubscribers('offers', 2, 20_000)
  const heard: string[] = []
  b.onMessage('offers', () => heard.push('b'))
  c.onMessage('offers', () => heard.push('c'))
  await until('the mesh of b', () => meshOf(b, chain.tag).length === 2)
  assert.equal(a.peers(), [b.peerId])
  assert.equal(c.peers(), [b.peerId])
  await a.publish('offers', message(1))
  await a.publish('offers', message(3))
  await a.publish('offers', message(2))
  await until('b judged three', () => sum(b.counts().offers) === 3)
  assert.equal(b.counts().offers, { 'ignore TEST_IGNORED': 1, 'ignore VALIDATION_FAILED': 1, 'reject TEST_INVALID': 1 })
  assert.equal(heard, [])
  assert.equal(c.counts().offers, {})
  const score = b.libp2p.services.pubsub as unknown as { getScore(peer: string): number }
  await until('the sender of an invalid message loses score', () => score.getScore(a.peerId) < 0)
  assert.ok(score.getScore(c.peerId) >= 0)
  await c.publish('offers', message(0))
  await until('a valid one from c arrives at b', () => heard.includes('b'))
})

test('payloads above the topic limit are refused on sending, and on receiving before anything decodes them', async () => {
  const [sender, receiver] = [nodes[1]!, nodes[2]!]
  assert.is(await sender.publish('offers', message(0, MAX_OFFER_BYTES + 1)).catch(errorCode), 'GOSSIP_TOO_LARGE')
  const before = sum(receiver.counts().offers)
  await sender.publish('offers', message(0, MAX_OFFER_BYTES))
  await until('the largest offer is judged', () => sum(receiver.counts().offers) === before + 1)
  // Around our own check, as a peer with other software would.
  await sender.libp2p.services.pubsub.publish(topicName(TAG, 'offers'), message(0, MAX_OFFER_BYTES + 1))
  await until('the oversized offer is rejected', () => receiver.counts().offers['reject MESSAGE_TOO_LARGE'] === 1)
})

test('bytes rejected under one topic are not counted as seen under another', async () => {
  const bytes = message(0, MAX_OFFER_BYTES + 1)
  const [attacker, honest, receiver] = [nodes[3]!, nodes[4]!, nodes[5]!]
  let arrived = 0
  const stop = receiver.onMessage('attestations', (got) => {
    if (Buffer.compare(got, bytes) === 0) arrived++
  })
  await attacker.libp2p.services.pubsub.publish(topicName(TAG, 'offers'), bytes)
  await until('rejected as an offer', () => (receiver.counts().offers['reject MESSAGE_TOO_LARGE'] ?? 0) >= 1)
  await honest.publish('attestations', bytes)
  await until('accepted as an attestation', () => arrived === 1)
  stop()
})

test('a topic of another name is not carried', async () => {
  const pubsub = nodes[0]!.libp2p.services.pubsub
  pubsub.subscribe('/sinter/other/offers/1')
  await new Promise((resolve) => setTimeout(resolve, 300))
  for (const node of nodes.slice(1))
    assert.equal(node.libp2p.services.pubsub.getSubscribers('/sinter/other/offers/1'), [])
  pubsub.unsubscribe('/sinter/other/offers/1')
})

test('a light client finds the peers, publishes, and finds who provides a class; nobody asks it', async () => {
  const from = Date.now()
  const light = await start({ bootstrap: nodes[0]!.addresses().slice(0, 1), mode: 'light', listen: [] })
  await light.waitForPeers(NODES, 20_000)
  console.log(`  a light client was connected to all ${NODES} nodes after ${Date.now() - from} ms`)
  assert.is(light.libp2p.services.dht.getMode(), 'client')
  assert.is(nodes[0]!.libp2p.services.dht.getMode(), 'server')
  const wanted = await classCid(TAG, 'cpu-x86')
  assert.is.not(wanted, await classCid('other', 'cpu-x86'))
  await Promise.all([nodes[2]!, nodes[5]!].map((node) => node.provide(wanted)))
  const providers = await light.findProviders(wanted)
  assert.equal(new Set(providers), new Set([nodes[2]!.peerId, nodes[5]!.peerId]))
  assert.equal(await light.findProviders(await classCid(TAG, 'nobody-has-this'), { timeoutMs: 3_000 }), [])
  await light.waitForSubscribers('offers', NODES, 20_000)
  let arrived = 0
  const stops = nodes.map((node) => node.onMessage('offers', () => arrived++))
  await light.publish('offers', message(0))
  await until('the offer everywhere', () => arrived === NODES)
  for (const stop of stops) stop()
  assert.not.ok(light.libp2p.getProtocols().includes(`/sinter/${TAG}/kad/1.0.0`))
  for (const node of nodes) assert.not.ok(await inRoutingTable(node, light.peerId))
  assert.ok(await inRoutingTable(nodes[0]!, nodes[1]!.peerId))
})

test('a peer that speaks WebSockets only, as a browser does, is one of the network', async () => {
  const ws = '/ip4/127.0.0.1/tcp/0/ws'
  const both = await start({ bootstrap: nodes[0]!.addresses().slice(0, 1), listen: ['/ip4/127.0.0.1/tcp/0', ws] })
  const door = both.addresses().filter((address) => address.includes('/ws/'))
  assert.is(door.length, 1)
  const page = await start({ bootstrap: door, mode: 'light', listen: [] })
  await page.waitForSubscribers('offers', 1, 20_000)
  const connections = page.libp2p.getConnections(peerIdFromString(both.peerId))
  assert.equal(
    connections.map(({ remoteAddr }) => remoteAddr.toString().includes('/ws')),
    [true],
  )
  const arrived: Uint8Array[] = []
  const stop = nodes[4]!.onMessage('offers', (bytes) => arrived.push(bytes))
  const offer = message(0)
  await page.publish('offers', offer)
  await until('the offer behind the WebSocket', () => arrived.some((bytes) => Buffer.compare(bytes, offer) === 0))
  stop()
})

test('a peer is found and dialled by its id alone, and unknown ones are coded errors', async () => {
  const late = await start({ bootstrap: nodes[0]!.addresses().slice(0, 1) })
  await late.waitForPeers(1, 20_000)
  const target = nodes[6]!
  const addresses = await late.findPeer(target.peerId)
  assert.ok(addresses.length > 0)
  assert.is(await late.dial(target.peerId), target.peerId)
  const nobody = identityFromKey(new Uint8Array(randomBytes(32))).peerId.toString()
  assert.is(await late.findPeer(nobody, { timeoutMs: 3_000 }).catch(errorCode), 'PEER_UNKNOWN')
  assert.is(await late.dial(nobody, { timeoutMs: 3_000 }).catch(errorCode), 'PEER_UNREACHABLE')
  assert.is(await late.dial('rubbish').catch(errorCode), 'PEER_TARGET')
  assert.is(await late.waitForPeers(50, 100).catch(errorCode), 'PEERS_TOO_FEW')
})

test('a node whose connections were all cut finds everybody again', async () => {
  const node = await start({ bootstrap: nodes[0]!.addresses().slice(0, 1) })
  const others = NODES
  await node.waitForPeers(others, 20_000)
  await Promise.all(node.libp2p.getPeers().map((peer) => node.libp2p.hangUp(peer)))
  // Some may be on their way back already.
  assert.ok(node.peers().length < others)
  await node.waitForPeers(others, 20_000)
})

test('a local network never dials beyond loopback, and tells loopback addresses only', async () => {
  const refused = await nodes[0]!
    .dial(['/ip4/192.0.2.1/tcp/4001'], { timeoutMs: 3_000 })
    .catch((error: unknown) => error)
  assert.is(errorCode(refused), 'PEER_UNREACHABLE')
  assert.is(((refused as Error).cause as Error).name, 'DialDeniedError')
  const open = await start({ tag: 'open-00000000', listen: ['/ip4/0.0.0.0/tcp/0'] })
  assert.ok(open.addresses().length > 0)
  for (const node of [...nodes, open])
    for (const address of node.addresses()) assert.match(address, /^\/ip4\/127\.0\.0\.1\//)
})

test('a node that lost its bootstrap node still has the others, and a message with no peers is GOSSIP_NO_PEERS', async () => {
  await nodes[0]!.stop()
  await until('the others noticed', () => nodes.slice(1).every((node) => !node.peers().includes(nodes[0]!.peerId)))
  for (const node of nodes.slice(1)) assert.ok(node.peers().length >= NODES - 2)
  const alone = await start({ tag: 'alone-00000000' })
  assert.is(await alone.publish('offers', message(0)).catch(errorCode), 'GOSSIP_NO_PEERS')
  assert.is(await createNetwork({ ...init(), bootstrap: ['not an address'] }).catch(errorCode), 'BOOTSTRAP_ADDRESS')
  assert.is(
    await createNetwork({ ...init(), listen: alone.addresses().slice(0, 1).map(bare) }).catch(errorCode),
    'NETWORK_START',
  )
})

const init = (): NetworkInit => ({
  identity: identityFromKey(new Uint8Array(randomBytes(32))),
  tag: TAG,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: [],
  mode: 'node',
  devnet: true,
  topics: judges,
  log,
})
const inRoutingTable = async (node: Network, peerId: string): Promise<boolean> => {
  const { routingTable } = node.libp2p.services.dht as unknown as {
    routingTable: { find(peer: unknown): Promise<unknown> }
  }
  return (await routingTable.find(peerIdFromString(peerId))) !== undefined
}
const bare = (address: string): string => address.replace(/\/p2p\/.*$/, '')
const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0)
const meshOf = (network: Network, tag: string): string[] =>
  (network.libp2p.services.pubsub as unknown as { getMeshPeers(topic: string): string[] }).getMeshPeers(
    topicName(tag, 'offers'),
  )

test.run()
