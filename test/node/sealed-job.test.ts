/** Jobs whose inputs and outputs go by content, over real streams and real block stores: what is fetched from whom, and what rests where. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import {
  inputTensors,
  keepSet,
  MAX_SET_BYTES,
  openInputSet,
  openOutputSet,
  readInput,
  readOutput,
  sealInputs,
  sealOutputs,
} from '../../node/client/sealed-set.ts'
import { openConsumerSession } from '../../node/client/session.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { cidBytes, type SealedRef, sealTensors } from '../../node/jobs/sealed.ts'
import { namedValues, toWire } from '../../node/jobs/tensors.ts'
import { createSealedJobs, type SealedJobs } from '../../node/stages/sealed-jobs.ts'
import { jobHandler } from '../../node/stages/session.ts'
import { encode } from '../../protocol/codec.ts'
import { TensorSetSchema } from '../../protocol/gen/sinter_pb.js'
import { sealFile } from '../../protocol/sealed.ts'
import { code, contentWorld, type Peer } from './content-world.ts'
import { hostile } from './session-peer.ts'
import { bytes32, committer, consumer, createWorld, ESCROW, log, model, NETWORK, provider } from './session-world.ts'

const { images } = loadHeldOut()
const { manifest } = model
const owner = { identity: consumer, networkId: NETWORK }
const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length))
const world = await contentWorld()
test.after(world.stop)

let providerPeer: Peer
let holder: Peer

test.before(async () => {
  holder = await world.start([])
  providerPeer = await world.start(holder.network.addresses(), { identity: provider })
  await providerPeer.network.waitForPeers(1, 10_000)
})

/** Puts the consumer's key on a machine of its own, with an empty disk. */
async function arrive(): Promise<Peer> {
  const peer = await world.start(holder.network.addresses(), { identity: consumer })
  await peer.network.waitForPeers(1, 10_000)
  return peer
}
async function leave({ content, streams, network }: Peer): Promise<void> {
  await content.stop()
  await streams.stop()
  await network.stop()
}

/** A session over a real stream with a provider that really fetches; what the chain says is the test world's. */
async function open(at: Peer, adapt = (real: SealedJobs): SealedJobs => real) {
  const { bid, session: id, chain, components, ledger } = createWorld()
  const { content, network, streams } = providerPeer
  const sealed = createSealedJobs({ identity: provider, networkId: NETWORK, content }, { fetchMs: 1_000 })
  await network.libp2p.unhandle('/sinter/job/1')
  await streams.handle('job', jobHandler({ ...components, sealed: adapt(sealed) }))
  const session = await openConsumerSession(
    {
      identity: consumer,
      networkId: NETWORK,
      vouchers: ESCROW,
      streams: at.streams,
      committer,
      content: at.content,
      log,
    },
    {
      model,
      bid: {
        ...{ id: bid.id, provider: provider.address, providerKey: provider.publicKey, price: bid.price },
        ...{ expectedLatencyMs: 1, warm: true, expiryMs: bid.expiryMs, executionProvider: 'cpu', region: '' },
        peerId: provider.peerId.toString(),
      },
      ...{ offer: bid.offer, session: id, ceiling: chain.ceiling, policy: bid.policy, canonical: bid.canonical },
    },
  )
  return {
    session,
    id,
    ledger,
    async close() {
      await session.close()
      await network.libp2p.unhandle('/sinter/job/1')
    },
  }
}

async function diskOf(peer: Peer): Promise<Uint8Array[]> {
  const found: Uint8Array[] = []
  for (const entry of await readdir(peer.folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) found.push(await readFile(join(entry.parentPath, entry.name)))
  return found
}

const has = (bytes: Uint8Array, needle: Uint8Array): boolean => Buffer.from(bytes).indexOf(needle) >= 0
const jobs = [0, 1, 2].map((i) => ({ name: `image-${i}.json`, tensors: inputTensors(manifest, [images[i]!]) }))
const floats = (bytes: Uint8Array): Float32Array => Object.values(namedValues([toTensor(bytes)]))[0]!.data
const toTensor = (data: Uint8Array) => ({ name: 'x', type: 'float32', shape: [data.length / 4], data })

/** Stores the jobs' inputs, has the holder keep them, and goes. */
async function upload(): Promise<string> {
  const laptop = await arrive()
  const add = (bytes: Uint8Array): Promise<string> => laptop.content.add(bytes)
  const cid = await sealInputs(jobs, { ...owner, provider: provider.publicKey, random, add })
  await laptop.content.provide(cid)
  assert.is((await keepSet(cid, holder.content, [])).files, 3)
  await leave(laptop)
  return cid
}

test('a consumer that is gone after the upload has its jobs done from elsewhere, and its results read from a third place', async () => {
  const cid = await upload()
  const phone = await arrive()
  const set = openInputSet(cid, await phone.content.get(cid, { maxBytes: MAX_SET_BYTES }), owner)
  assert.equal(
    set.items.map(({ name }) => name),
    jobs.map(({ name }) => name),
  )
  const { session, id, close } = await open(phone)
  const expected: Float32Array[] = []
  const results = []
  for (const item of set.items) {
    const from = [holder.network.peerId]
    const tensors = await readInput(item, set, { ...owner, inputs: manifest.inputs, content: phone.content, from })
    const values = [floats(tensors[0]!.data)]
    assert.equal(values[0], images[Number(item.seq) - 1])
    const sealed = { cid: cidBytes(item.cid), set: cidBytes(cid), job: set.job, seq: item.seq }
    const answer = await session.infer(values, { sealed })
    const plain = await session.infer(values)
    assert.equal(answer.outputs, plain.outputs)
    assert.is(plain.sealed, undefined)
    // The receipt is over the input that was signed for: the provider's root is ours.
    assert.is((await answer.acknowledged).seq, answer.seq)
    expected.push(Object.values(answer.outputs)[0]!)
    results.push({ name: item.name, cid: answer.sealed!, session: id, seq: answer.seq })
  }
  await close()
  const outputs = await phone.content.add(sealOutputs(results, { ...owner, provider: provider.publicKey, random }))
  await phone.content.provide(outputs)
  // The set from the consumer, the answers from the provider that made them.
  const places = [phone.network.peerId, provider.peerId.toString()]
  assert.is((await keepSet(outputs, holder.content, places)).files, 3)
  await leave(phone)

  const later = await arrive()
  const from = [holder.network.peerId]
  const found = openOutputSet(outputs, await later.content.get(outputs, { maxBytes: MAX_SET_BYTES, from }), owner)
  for (const [i, item] of found.items.entries()) {
    const [tensor] = await readOutput(item, found, { ...owner, content: later.content, from })
    assert.equal(floats(tensor!.data), expected[i])
  }
  await leave(later)

  // Nobody's disk has a row of a picture, an answer or a name.
  const needles = [
    ...jobs.map(({ tensors: [tensor] }) => tensor!.data.slice(16 * 4, 24 * 4)),
    ...expected.map((values) => toWire('x', [values.length], values).data.slice(0, 16)),
    new TextEncoder().encode('image-'),
    new TextEncoder().encode('float32'),
  ]
  for (const needle of needles) assert.ok(needle.some((byte) => byte !== 0) && needle.length >= 6)
  assert.ok(has(encode(TensorSetSchema, { tensors: jobs[0]!.tensors }), needles[0]!))
  for (const peer of [holder, providerPeer, phone, later]) {
    const files = await diskOf(peer)
    assert.ok(files.length >= 4, `${files.length} files`)
    for (const file of files) for (const needle of needles) assert.not.ok(has(file, needle))
  }
})

test('an input that cannot be had, or is not for this job, fails that job with its code, and the session goes on', async () => {
  const at = await arrive()
  const { session, close } = await open(at)
  const stranger = identityFromKey(bytes32())
  const [{ tensors }] = jobs as [(typeof jobs)[number]]
  const job = bytes32()
  const place = { purpose: 'input' as const, job, seq: 1n }
  const keys = { networkId: NETWORK, sender: consumer.privateKey, recipient: provider.publicKey, ephemeral: bytes32() }
  const store = async (bytes: Uint8Array): Promise<Uint8Array> => cidBytes(await at.content.add(bytes))
  const good = await store(sealTensors(tensors, place, keys))
  const ref: SealedRef = { cid: good, set: good, job, seq: 1n }
  const answer = (change: Partial<SealedRef>, values = images[0]!): Promise<string> =>
    code(session.infer([values], { sealed: { ...ref, ...change } }))
  const sealed = (change: Partial<typeof keys>, at: Partial<typeof place> = {}) =>
    store(sealTensors(tensors, { ...place, ...at }, { ...keys, ...change }))

  const absent = CID.createV1(0x55, Digest.create(0x12, bytes32())).bytes
  assert.is(await answer({ cid: absent }), 'CONTENT_UNAVAILABLE')
  const large = [{ ...tensors[0]!, data: random(2 ** 16) }]
  assert.is(await answer({ cid: await store(sealTensors(large, place, keys)) }), 'CONTENT_TOO_LARGE')
  const { multihash } = CID.decode(good)
  // dag-cbor, and version 0 of dag-pb.
  assert.is(await answer({ cid: CID.createV1(0x71, multihash).bytes }), 'CONTENT_CID')
  assert.is(await answer({ set: Uint8Array.from(multihash.bytes) }), 'CONTENT_CID')
  assert.is(await answer({ cid: new Uint8Array([1, 2, 3]) }), 'CONTENT_CID')
  assert.is(await answer({ seq: 0n }), 'INPUT_SEALED')
  assert.is(await answer({ job: new Uint8Array(31) }), 'INPUT_SEALED')
  assert.is(await answer({ cid: await sealed({ recipient: stranger.publicKey }) }), 'SEALED_FORGED')
  assert.is(await answer({ cid: await sealed({ sender: stranger.privateKey }) }), 'SEALED_SENDER')
  assert.is(await answer({ cid: await sealed({}, { seq: 2n }) }), 'SEALED_SEQUENCE')
  assert.is(await answer({ cid: await sealed({}, { job: bytes32() }) }), 'SEALED_JOB')
  assert.is(await answer({ cid: await store(sealFile(random(40), { ...place, ...keys })) }), 'SEALED_TENSORS')
  assert.is(await answer({ cid: await store(random(300)) }), 'SEALED_MALFORMED')
  assert.is(await answer({}, images[1]!), 'INPUT_DIGEST')
  const { outputs, acknowledged } = await session.infer([images[0]!], { sealed: ref })
  assert.equal(outputs, (await session.infer([images[0]!])).outputs)
  assert.is((await acknowledged).seq, 1n)
  await close()
  await leave(at)
})

test('tensors beside a sealed input, or a provider that takes none, are refused', async () => {
  const mine = createWorld()
  const { stream } = mine.connect()
  const peer = hostile(mine, stream)
  await peer.assign()
  const ref = { cid: bytes32(), set: bytes32(), job: bytes32(), seq: 1n, digest: bytes32() }
  const tensors = inputTensors(manifest, [images[0]!])
  for (const inputs of [[], tensors]) {
    await peer.say({ case: 'request', value: { seq: 1n, jobKey: bytes32(), inputs, sealed: ref } })
    const frame = await peer.hear()
    assert.is(frame.case === 'failure' && frame.value.code, 'INPUT_SEALED')
  }
  mine.components.sealed = {
    input: () => Promise.reject(new Error('asked')),
    output: () => Promise.reject(new Error()),
  }
  await peer.say({ case: 'request', value: { seq: 1n, jobKey: bytes32(), inputs: tensors, sealed: ref } })
  const frame = await peer.hear()
  assert.is(frame.case === 'failure' && frame.value.code, 'INPUT_SEALED')
  await stream.close()
})

test('an answer that was sealed for another job is not taken, and nothing is owed for it', async () => {
  const at = await arrive()
  // A provider that hands out the answer of another session.
  const { session, id, ledger, close } = await open(at, (real) => ({
    ...real,
    output: ({ seq }, reader, outputs) => real.output({ session: bytes32(), seq }, reader, outputs),
  }))
  const keys = { networkId: NETWORK, sender: consumer.privateKey, recipient: provider.publicKey, ephemeral: bytes32() }
  const job = bytes32()
  const file = sealTensors(jobs[0]!.tensors, { purpose: 'input', job, seq: 1n }, keys)
  const cid = cidBytes(await at.content.add(file))
  assert.is(await code(session.infer([images[0]!], { sealed: { cid, set: cid, job, seq: 1n } })), 'ANSWER_UNREADABLE')
  assert.is(await code(session.infer([images[0]!])), 'SESSION_ENDED')
  assert.is((await ledger.session(id))!.acknowledged.seq, 0n)
  await close()
  await leave(at)
})

test.run()
