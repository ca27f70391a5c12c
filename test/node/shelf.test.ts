import { randomBytes } from 'node:crypto'
import { access, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createKeeper } from '../../node/model/keep.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { keyOf, openDisk } from '../../node/net/disk.ts'
import { openFiles } from '../../node/net/files.ts'
import { openShelf, type Shelf, storedUsage } from '../../node/net/shelf.ts'
import { SinterError } from '../../protocol/errors.ts'
import { code, log } from './content-world.ts'

const root = await mkdtemp(join(tmpdir(), 'sinter-shelf-'))
test.after(() => rm(root, { recursive: true, force: true }))

let count = 0
const evicted: string[] = []
const open = (folder: string, quota = 10_000): Promise<Shelf> =>
  openShelf({ folder, quota, onCorrupt: () => {}, onEvict: ({ cid }) => evicted.push(cid) })
const fresh = async (quota?: number): Promise<{ shelf: Shelf; folder: string }> => {
  evicted.length = 0
  const folder = join(root, String(count++))
  return { shelf: await open(folder, quota), folder }
}
const block = (bytes: number) => new Uint8Array(randomBytes(bytes))

/** Stores a file of some blocks. */
async function put(shelf: Shelf, cid: string, blocks: Uint8Array[], keep = false): Promise<void> {
  const hold = shelf.hold()
  try {
    for (const each of blocks) await shelf.disk.write(keyOf(each), each)
    await shelf.record(cid, blocks.map(keyOf), { keep })
  } finally {
    hold.release()
  }
  // Times of use are in milliseconds.
  await new Promise((resolve) => setTimeout(resolve, 3))
}

test('files go by their last use, and what is pinned or kept stays', async () => {
  const { shelf } = await fresh()
  for (const cid of ['a', 'b', 'c', 'd', 'e']) await put(shelf, cid, [block(1_000), block(1_000)], cid === 'b')
  shelf.touch('a')
  const unpin = shelf.pin('c')
  await put(shelf, 'f', [block(1_000)])
  assert.equal(evicted, ['d'])
  await put(shelf, 'g', [block(2_000)])
  assert.equal(evicted, ['d', 'e'])
  await put(shelf, 'h', [block(3_000)])
  assert.equal(evicted, ['d', 'e', 'a'])
  unpin()
  unpin()
  await put(shelf, 'i', [block(1_000)])
  assert.is(evicted.at(-1), 'c')
  assert.equal(shelf.usage().evicted, 4)
  assert.ok(shelf.has('b'))
  assert.ok(shelf.usage().usedBytes <= 10_000)
})

test('manifest and weights of jobs that may be drawn stay, and go when these are done', async () => {
  const { shelf } = await fresh()
  const files = new Map([
    ['m', 'w'],
    ['n', 'v'],
  ])
  const asked: string[] = []
  const library = {
    async load(cid: string | CID) {
      asked.push(String(cid))
      const weights = files.get(String(cid))
      if (weights === undefined) throw new SinterError('CONTENT_UNAVAILABLE', 'gone')
      return { manifest: { weights: { cid: weights } } } as LoadedModel
    },
  }
  const keep = createKeeper({ library, content: shelf, log })
  for (const cid of ['m', 'w', 'n', 'v', 'x']) await put(shelf, cid, [block(2_000)])
  for (let look = 0; look < 2; look++) {
    keep(new Set(['m', 'gone']))
    await new Promise(setImmediate)
  }
  assert.equal(asked, ['m', 'gone', 'gone'])
  await put(shelf, 'y', [block(6_000)])
  assert.equal(evicted, ['n', 'v', 'x'])
  // One that is done before it is here is not kept after all.
  keep(new Set(['n']))
  keep(new Set())
  await new Promise(setImmediate)
  for (const cid of ['n', 'v']) await put(shelf, cid, [block(2_000)])
  await put(shelf, 'z', [block(10_000)])
  assert.equal(evicted.slice(3).sort(), ['m', 'n', 'v', 'w', 'y'])
})

test('a block of two files goes with the last of them', async () => {
  const { shelf } = await fresh()
  const both = block(1_000)
  await put(shelf, 'a', [both, block(2_000)])
  await put(shelf, 'b', [both, block(2_000)])
  await put(shelf, 'c', [block(6_000)])
  assert.equal(evicted, ['a'])
  assert.ok(shelf.disk.has(keyOf(both)))
  assert.is(shelf.usage().usedBytes, 9_000)
  await put(shelf, 'd', [block(4_000)])
  assert.equal(evicted, ['a', 'b'])
  assert.not.ok(shelf.disk.has(keyOf(both)))
})

test('a quota of pins is full: nothing is half there, and it works on when there is room again', async () => {
  const { shelf } = await fresh()
  await put(shelf, 'a', [block(6_000)])
  const unpin = shelf.pin('a')
  const [first, second] = [block(3_000), block(3_000)]
  const hold = shelf.hold()
  await shelf.disk.write(keyOf(first), first)
  assert.is(await code(shelf.disk.write(keyOf(second), second)), 'CONTENT_DISK_FULL')
  assert.ok(shelf.disk.has(keyOf(first)), 'a fetch that goes on elsewhere keeps what it has')
  assert.not.ok(shelf.disk.has(keyOf(second)))
  assert.is(shelf.usage().usedBytes, 9_000)
  assert.is(await code(shelf.disk.write(keyOf(block(0)), block(20_000))), 'CONTENT_DISK_FULL')
  hold.release()
  // The rest of a fetch that ended belongs to no file and is the first to go.
  await shelf.disk.write(keyOf(second), second)
  assert.not.ok(shelf.disk.has(keyOf(first)))
  unpin()
  await put(shelf, 'b', [block(9_000)])
  assert.equal(evicted, ['a'])
})

test('writes at the same time do not pass the quota together', async () => {
  const { shelf } = await fresh()
  const hold = shelf.hold()
  const blocks = Array.from({ length: 20 }, () => block(1_000))
  const codes = await Promise.all(blocks.map((each) => code(shelf.disk.write(keyOf(each), each))))
  assert.is(codes.filter((each) => each === 'none').length, 10)
  assert.is(codes.filter((each) => each === 'CONTENT_DISK_FULL').length, 10)
  assert.is(shelf.usage().usedBytes, 10_000)
  hold.release()
})

test('a restart knows files, their use and what is kept, and drops what was half written', async () => {
  const { shelf, folder } = await fresh()
  for (const cid of ['a', 'b', 'c']) await put(shelf, cid, [block(2_000)], cid === 'a')
  const lost = block(1_000)
  await put(shelf, 'd', [lost])
  await new Promise((resolve) => setTimeout(resolve, 1_100))
  shelf.touch('b')
  await new Promise((resolve) => setTimeout(resolve, 50))
  const half = join(folder, 'ab', `${'ab'.repeat(32)}.part`)
  await mkdir(join(folder, 'ab'), { recursive: true })
  await writeFile(half, 'half')
  await writeFile(join(folder, 'files', 'half.json'), '{"keys":[')
  await rm(join(folder, keyOf(lost).slice(0, 2), keyOf(lost)))
  const again = await open(folder, 8_000)
  assert.equal(
    again
      .files()
      .map(({ cid }) => cid)
      .sort(),
    ['a', 'b', 'c'],
  )
  assert.is(
    await access(half).then(
      () => 'there',
      () => 'gone',
    ),
    'gone',
  )
  assert.equal(await storedUsage(folder), { usedBytes: 6_000, quotaBytes: 8_000, files: 3 })
  await put(again, 'e', [block(5_000)])
  assert.equal(evicted, ['c', 'b'], 'a is kept, b was used after c')
})

test('a disk that is full is a coded error, leaves no part of a block, and is tried again after making room', async () => {
  const folder = join(root, 'full')
  const it = block(5_000)
  const key = keyOf(it)
  const part = join(folder, key.slice(0, 2), `${key}.part`)
  // What is written there fails as on a full disk: by the kernel, with ENOSPC.
  const fill = () => symlink('/dev/full', part)
  let full = 2
  let asked = 0
  const disk = openDisk({
    files: await openFiles(folder),
    listed: [],
    quota: 1e9,
    onWrite: () => {},
    onCorrupt: () => {},
    async makeRoom(bytes) {
      asked = bytes
      if (--full > 0) await fill()
    },
  })
  await mkdir(join(folder, key.slice(0, 2)))
  await fill()
  assert.is(await code(disk.write(key, it)), 'CONTENT_DISK_FULL')
  assert.is(asked, 5_000)
  assert.is(disk.used(), 0)
  assert.not.ok(disk.has(key))
  assert.equal(await readdir(join(folder, key.slice(0, 2))), [])
  await fill()
  await disk.write(key, it)
  assert.is(Buffer.compare((await disk.read(key))!, it), 0)
})

test.run()
