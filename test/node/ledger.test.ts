/** What a provider remembers, on a real store: through a restart, and with nothing half written. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  bytesInt16,
  createLedger,
  int16Bytes,
  type JobRecord,
  type JobValues,
  type Ledger,
} from '../../node/jobs/ledger.ts'
import { openStore, type Store } from '../../node/store/store.ts'
import type { SessionHead } from '../../protocol/rules/receipt.ts'
import type { Address } from '../../protocol/signature.ts'

const folder = mkdtempSync(join(tmpdir(), 'sinter-ledger-'))
const CONSUMER: Address = `0x${'cc'.repeat(20)}`
let store: Store
let ledger: Ledger

const id = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)
async function reopen(): Promise<void> {
  await store?.close()
  store = await openStore(folder)
  ledger = createLedger(store)
}
const fields = (session: Uint8Array) => ({
  session,
  signer: CONSUMER,
  bid: id(9),
  manifest: 'bafy',
  price: 5n,
  ceiling: 100n,
  policy: 'open' as const,
  canonical: true,
})
const job = (session: Uint8Array, seq: bigint): JobRecord => ({
  session,
  seq,
  manifest: 'bafy',
  receiptHash: id(Number(seq)),
  payload: Uint8Array.of(1, 2),
  signature: new Uint8Array(65),
  price: 5n,
  cumulative: 5n * seq,
  jobKey: id(7),
  inputStatement: Uint8Array.of(3),
  voucher: null,
})

const VALUES: JobValues = {
  inputs: [int16Bytes(Int16Array.of(-32_768, 0, 32_767)), new Uint8Array()],
  served: [int16Bytes(Int16Array.of(1, -1))],
}

const acknowledge = async (of: JobRecord, voucher: Uint8Array): Promise<SessionHead> =>
  ledger.acknowledge((await ledger.session(of.session))!, of, voucher)

test.before(reopen)
test.after(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

test('a job comes back as it was, after a restart', async () => {
  await ledger.openSession(fields(id(1)))
  await ledger.issue(job(id(1), 1n), VALUES)
  await reopen()
  const back = (await ledger.job(id(1), 1n))!
  assert.equal(back, job(id(1), 1n))
  const { inputs, served } = (await ledger.values(id(1), 1n))!
  assert.equal(
    inputs.map((bytes) => [...bytesInt16(bytes)]),
    [[-32_768, 0, 32_767], []],
  )
  assert.equal(
    served.map((bytes) => [...bytesInt16(bytes)]),
    [[1, -1]],
  )
})

test('a voucher moves job and session head together', async () => {
  const head = await acknowledge((await ledger.job(id(1), 1n))!, new Uint8Array(65).fill(4))
  assert.equal(head, { seq: 1n, cumulative: 5n, head: id(1) })
  await reopen()
  assert.equal((await ledger.session(id(1)))!.acknowledged, head)
  assert.equal((await ledger.job(id(1), 1n))!.voucher, new Uint8Array(65).fill(4))
})

test('only what was issued after the last voucher is dropped, and only of that session', async () => {
  await ledger.openSession(fields(id(2)))
  await ledger.issue(job(id(2), 1n), VALUES)
  await ledger.issue(job(id(1), 2n), VALUES)
  await ledger.issue(job(id(1), 3n), VALUES)
  assert.is(await ledger.dropUnacknowledged(id(1)), 2)
  assert.is(await ledger.job(id(1), 2n), null)
  assert.is(await ledger.values(id(1), 2n), null)
  assert.is((await ledger.job(id(1), 1n))!.seq, 1n)
  assert.is((await ledger.job(id(2), 1n))!.seq, 1n)
})

test('unpaid answers add up, and neither a voucher nor a restart forgives them', async () => {
  await ledger.addUnpaid(id(1), 2)
  await ledger.issue(job(id(1), 2n), VALUES)
  await acknowledge(job(id(1), 2n), new Uint8Array(65))
  await ledger.addUnpaid(id(1), 1)
  await reopen()
  const { unpaid, acknowledged } = (await ledger.session(id(1)))!
  assert.equal([unpaid, acknowledged.seq], [3, 2n])
})

test('numbers beyond one digit keep their order, and a range is forgotten exactly', async () => {
  await ledger.openSession(fields(id(3)))
  for (let seq = 1n; seq <= 12n; seq++) {
    await ledger.issue(job(id(3), seq), VALUES)
    await acknowledge(job(id(3), seq), new Uint8Array(65))
  }
  assert.is(await ledger.dropUnacknowledged(id(3)), 0)
  await ledger.forget(id(3), 2n, 11n)
  const left = []
  for (let seq = 1n; seq <= 12n; seq++) {
    const values = await ledger.values(id(3), seq)
    assert.is(values === null, (await ledger.job(id(3), seq)) === null)
    if (values !== null) left.push(seq)
  }
  assert.equal(left, [1n, 12n])
  assert.is((await ledger.sessions()).length, 3)
})

test.run()
