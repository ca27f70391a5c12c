import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_DATASET_BYTES, openDataset, sealDataset } from '../../node/client/dataset.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { errorCode } from '../../protocol/errors.ts'
import { contentWorld } from './content-world.ts'

const random = (bytes: number) => new Uint8Array(randomBytes(bytes))
const [owner, reader, stranger] = [0, 1, 2].map(() => identityFromKey(random(32))) as [
  ReturnType<typeof identityFromKey>,
  ReturnType<typeof identityFromKey>,
  ReturnType<typeof identityFromKey>,
]
const networkId = random(32)
const files = [
  // A text that repeats and one that is found only once: neither may be seen anywhere.
  { name: 'needle.json', data: new TextEncoder().encode('[0.123456789012345678]'.repeat(90_000)) },
  { name: 'other.npy', data: new TextEncoder().encode('a-needle-of-a-kind-in-the-data') },
]
const sealIt = () => sealDataset(files, { identity: owner, reader: reader.publicKey, networkId, random })
const codeOf = (work: () => unknown): string => {
  try {
    work()
    return 'opened'
  } catch (error) {
    return errorCode(error)
  }
}

const world = await contentWorld()
test.after(world.stop)

async function everyFile(folder: string): Promise<Uint8Array[]> {
  const found: Uint8Array[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) found.push(await readFile(join(entry.parentPath, entry.name)))
  return found
}

test('a data set goes over the network sealed: its reader has the files, and no disk has a byte of them', async () => {
  const publisher = await world.start([], { identity: owner })
  const fetcher = await world.start(publisher.network.addresses(), { identity: reader })
  await fetcher.network.waitForPeers(1, 10_000)
  const cid = await publisher.content.add(sealIt())
  const options = { maxBytes: MAX_DATASET_BYTES, timeoutMs: 20_000, from: [publisher.network.peerId] }
  const got = openDataset(await fetcher.content.get(cid, options), {
    identity: reader,
    sender: owner.publicKey,
    networkId,
  })
  assert.equal(
    got.map(({ name, data }) => [name, new TextDecoder().decode(data)]),
    files.map(({ name, data }) => [name, new TextDecoder().decode(data)]),
  )
  const stored = (await Promise.all([publisher.folder, fetcher.folder].map(everyFile))).flat()
  assert.ok(stored.reduce((sum, { length }) => sum + length, 0) > 3_900_000, 'the blocks were looked at')
  for (const needle of ['needle', '0.1234', '[0.1', 'a-needle'])
    for (const each of stored) assert.is(Buffer.from(each).indexOf(needle), -1, needle)
})

test('nobody else opens it, nor as somebody else’s, nor on another network', () => {
  const sealed = sealIt()
  const open = (identity: typeof reader, sender: typeof owner, id = networkId) =>
    codeOf(() => openDataset(sealed, { identity, sender: sender.publicKey, networkId: id }))
  assert.is(open(reader, owner), 'opened')
  assert.is(open(stranger, owner), 'SEALED_FORGED')
  assert.is(open(reader, stranger), 'SEALED_SENDER')
  assert.is(open(reader, owner, random(32)), 'SEALED_FORGED')
})

test('names that could leave the folder, or stand twice, neither go in nor come out', () => {
  for (const name of ['../up.json', 'a/b.json', '.hidden', '', 'x'.repeat(201), 'a\\b.json', 'a\u0000.json'])
    assert.is(
      codeOf(() =>
        sealDataset([{ name, data: random(1) }], { identity: owner, reader: reader.publicKey, networkId, random }),
      ),
      'DATASET_FILES',
      name,
    )
  assert.is(
    codeOf(() => sealDataset([files[0]!, files[0]!], { identity: owner, reader: reader.publicKey, networkId, random })),
    'DATASET_FILES',
  )
})

test.run()
