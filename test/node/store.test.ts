import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bytesCodec, jsonCodec, openStore, storeKey } from '../../node/store/store.ts'
import { errorCode } from '../../protocol/errors.ts'

let folder = ''
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sinter-store-'))
})
test.after(() => rm(folder, { recursive: true, force: true }))

type Session = { id: string; ceiling: bigint; root: Uint8Array; open: boolean; at: number; notes: (string | null)[] }
const session: Session = {
  id: 's1',
  ceiling: (1n << 128n) - 1n,
  root: new Uint8Array([0, 1, 255]),
  open: true,
  at: 1.5,
  notes: ['a', null],
}

test('values come back as they went in, after reopening too', async () => {
  const path = join(folder, 'round')
  let store = await openStore(path)
  await store.table('sessions', jsonCodec<Session>()).put('s1', session)
  await store.table('meta', bytesCodec).put('raw', new Uint8Array([9, 8, 7]))
  await store.close()
  store = await openStore(path)
  assert.equal(await store.table('sessions', jsonCodec<Session>()).get('s1'), session)
  assert.equal(await store.table('meta', bytesCodec).get('raw'), new Uint8Array([9, 8, 7]))
  assert.is(await store.table('meta', bytesCodec).get('absent'), undefined)
  await store.table('meta', bytesCodec).del('raw')
  assert.is(await store.table('meta', bytesCodec).get('raw'), undefined)
  await store.close()
})

test('tables with names and keys in common do not mix, and a prefix lists its own keys in order', async () => {
  const store = await openStore(join(folder, 'prefix'))
  const receipts = store.table('receipts', jsonCodec<number>())
  const votes = store.table('votes', jsonCodec<number>())
  for (const seq of [2, 10, 1]) await receipts.put(storeKey('a', seq), seq)
  await receipts.put(storeKey('ab', 1), 99)
  await votes.put(storeKey('a', 1), 77)
  const list = async (prefix: string, options = {}): Promise<number[]> => {
    const out: number[] = []
    for await (const [, value] of receipts.entries(prefix, options)) out.push(value)
    return out
  }
  assert.equal(await list('a/'), [1, 2, 10])
  assert.equal(await list('a/', { reverse: true, limit: 1 }), [10])
  assert.equal(await list(''), [1, 2, 10, 99])
  assert.is(await votes.get(storeKey('a', 1)), 77)
  await store.close()
})

test('a batch over several tables is applied whole', async () => {
  const store = await openStore(join(folder, 'batch'))
  const batches = store.table('batches', jsonCodec<bigint>())
  const cursor = store.table('cursor', jsonCodec<number>())
  await cursor.put('old', 1)
  await store.batch([batches.putOp('b1', 5n), cursor.putOp('at', 3), cursor.delOp('old')])
  assert.is(await batches.get('b1'), 5n)
  assert.is(await cursor.get('at'), 3)
  assert.is(await cursor.get('old'), undefined)
  await store.close()
})

test('keys and values that could be misread are refused', () => {
  const refused = (work: () => unknown): string => {
    try {
      work()
    } catch (error) {
      return errorCode(error)
    }
    return 'none'
  }
  assert.is(
    refused(() => storeKey('a/b')),
    'STORE_KEY',
  )
  assert.is(
    refused(() => storeKey(-1)),
    'STORE_KEY',
  )
  assert.is(
    refused(() => storeKey(10n ** 20n)),
    'STORE_KEY',
  )
  assert.is(storeKey(10n ** 20n - 1n), '9'.repeat(20))
  assert.is(
    refused(() => jsonCodec<object>().encode({ $int: '5' })),
    'STORE_VALUE',
  )
})

test('a second process on the same folder is STORE_LOCKED', async () => {
  const path = join(folder, 'locked')
  const store = await openStore(path)
  assert.is(await openStore(path).catch(errorCode), 'STORE_LOCKED')
  await store.close()
})

test('what put() confirmed is there after the process is killed', async () => {
  const path = join(folder, 'killed')
  const entry = new URL('../../node/store/store.ts', import.meta.url).href
  const script = `const { openStore, jsonCodec } = await import(${JSON.stringify(entry)})
    const receipts = (await openStore(${JSON.stringify(path)})).table('receipts', jsonCodec())
    for (let i = 0; ; i++) { await receipts.put('last', i); console.log(i) }`
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let confirmed = -1
  await new Promise<void>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      confirmed = Number(chunk.toString().trim().split('\n').at(-1))
      if (confirmed >= 20) child.kill('SIGKILL')
    })
    child.once('exit', () => resolve())
  })
  const store = await openStore(path)
  assert.ok(((await store.table('receipts', jsonCodec<number>()).get('last')) ?? -1) >= confirmed)
  await store.close()
})

test.run()
