/** What callers and commands are given, and what is made of it before anything is sent: numbers, options, answers. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits } from '../../models/digits.ts'
import { InputError } from '../../node/client/failures.ts'
import { type Inputs, jobValues } from '../../node/client/values.ts'
import { describeAnswers } from '../../node/commands/answers.ts'
import { progressLine } from '../../node/commands/progress.ts'
import { append, makeFolder, writeWhole } from '../../node/commands/write.ts'
import { type ConnectOptions, connect } from '../../node/sdk.ts'
import { errorCode, type SinterError } from '../../protocol/errors.ts'

const digits = loadDigits()
const code = (work: () => unknown): string => {
  try {
    work()
    return 'NONE'
  } catch (error) {
    return errorCode(error)
  }
}

test('numbers are taken in any typed array, and what holds none is told so', () => {
  const numbers = Array.from({ length: 64 }, (_, i) => i % 17)
  const expected = jobValues(digits, { image: Float32Array.from(numbers) })
  for (const type of [Float64Array, Int32Array, Uint8Array, Int8Array, Uint16Array]) {
    assert.equal(jobValues(digits, { image: type.from(numbers) }), expected, type.name)
    assert.equal(jobValues(digits, type.from(numbers)), expected, type.name)
  }
  assert.equal(jobValues(digits, { image: BigInt64Array.from(numbers, BigInt) }), expected)
  assert.equal(jobValues(digits, Buffer.from(numbers)), expected)
  for (const [given, expected] of [
    [new Float64Array(63), 'TENSOR_SHAPE'],
    [{ image: new DataView(new ArrayBuffer(64)) }, 'TENSOR_TYPE'],
    [{ image: '0'.repeat(64) }, 'TENSOR_TYPE'],
    [{ image: null }, 'TENSOR_TYPE'],
    [{ image: Array(64).fill(null) }, 'TENSOR_TYPE'],
    [{ image: Array(64) }, 'TENSOR_TYPE'],
    [new Float64Array(64).fill(Number.NaN), 'INPUT_NAN'],
    [{ pixels: new Float32Array(64) }, 'TENSOR_SET'],
    [null, 'TENSOR_TYPE'],
    [undefined, 'TENSOR_TYPE'],
    [7, 'TENSOR_TYPE'],
    ['text', 'TENSOR_TYPE'],
  ] as const)
    assert.is(
      code(() => jobValues(digits, given as unknown as Inputs)),
      expected,
      String(given),
    )
  // Deeper than a tensor can be: no stack of ours.
  let deep: unknown = 1
  for (let i = 0; i < 100_000; i++) deep = [deep]
  assert.is(
    code(() => jobValues(digits, deep as Inputs)),
    'TENSOR_SHAPE',
  )
})

test('options that cannot mean anything are refused by name before anything is started', async () => {
  const good: ConnectOptions = {
    ...{ network: 'nowhere.json', rpcUrl: 'http://127.0.0.1:1', dataDir: '/nonexistent', password: 'x' },
    ...{ bootstrap: [], ceiling: 1n },
  }
  const refused = async (change: object): Promise<SinterError> =>
    connect({ ...good, ...change } as ConnectOptions).then(
      () => {
        throw new Error('it connected')
      },
      (error: SinterError) => {
        assert.instance(error, InputError)
        return error
      },
    )
  assert.is((await refused({})).code, 'FILE_UNREADABLE')
  for (const [change, word] of [
    [{ ceiling: undefined }, 'ceiling'],
    [{ ceiling: 0.1 }, 'ceiling'],
    [{ ceiling: 0n }, 'ceiling'],
    [{ spendingLimit: 5 }, 'spendingLimit'],
    [{ spendingLimit: -1n }, 'spendingLimit'],
    [{ audit: 2 }, 'audit'],
    [{ audit: Number.NaN }, 'audit'],
    [{ bootstrap: '/ip4/127.0.0.1/tcp/1' }, 'bootstrap'],
    [{ bootstrap: undefined }, 'bootstrap'],
    [{ scheduler: { providers: 0 } }, 'scheduler.providers'],
    [{ scheduler: { sessionJobs: 1.5 } }, 'scheduler.sessionJobs'],
    [{ scheduler: { windowMs: -1 } }, 'scheduler.windowMs'],
    [{ scheduler: { latencyValue: 1 } }, 'scheduler.latencyValue'],
  ] as const) {
    const { code, message } = await refused(change)
    assert.is(code, 'OPTION', word)
    assert.ok(message.startsWith(`${word} `), message)
  }
})

test('an answer of a million numbers is shown like any other', () => {
  const values = Array.from({ length: 1_000_000 }, (_, i) => (i === 777_777 ? 9 : i / 1e6))
  const line = describeAnswers([{ name: 'mask', values, index: false }])
  assert.match(line, /1000000 values\)\]; largest at 777777$/)
})

test('the progress of a batch fits the terminal and says how far it is and how long it takes', () => {
  const facts = { done: 30, failed: 2, of: 64, cost: '0.3', elapsedMs: 16_000 }
  assert.is(progressLine(facts, 80), '[██████████░░░░░░░░░░] 32 of 64, 2 failed, 0.3 SNTR, 2.0/s, 16 s left')
  assert.is(
    progressLine({ ...facts, done: 0, failed: 0, elapsedMs: 0 }, 80),
    '[░░░░░░░░░░░░░░░░░░░░] 0 of 64, 0 SNTR'.replace('0 SNTR', '0.3 SNTR'),
  )
  assert.is(progressLine({ ...facts, done: 64, failed: 0 }, 80), '[████████████████████] 64 of 64, 0.3 SNTR, 4.0/s')
  for (const width of [80, 40, 20, 1]) assert.ok(progressLine(facts, width).length < Math.max(2, width))
  assert.match(progressLine({ ...facts, of: 100_000 }, 80), / 14 h left$/)
})

test('an answer is written whole or not at all, and a full disk is said by its code', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-given-'))
  try {
    writeWhole(join(folder, 'good.json'), 'whole')
    assert.is(readFileSync(join(folder, 'good.json'), 'utf8'), 'whole')
    // What is written there fails as on a full disk: by the kernel, with ENOSPC.
    symlinkSync('/dev/full', join(folder, 'full.json.part'))
    assert.is(
      code(() => writeWhole(join(folder, 'full.json'), 'x')),
      'FILE_UNWRITABLE',
    )
    assert.is(
      code(() => append('/dev/full', 'x')),
      'FILE_UNWRITABLE',
    )
    assert.is(
      code(() => makeFolder(join(folder, 'good.json'))),
      'FILE_UNWRITABLE',
    )
    assert.is(
      code(() => writeWhole(join(folder, 'nowhere', 'x.json'), 'x')),
      'FILE_UNWRITABLE',
    )
    assert.equal(readdirSync(folder), ['good.json'])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.run()
