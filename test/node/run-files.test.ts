/** Runs from files to files, and where they go on. The graph is a sum here; test/e2e/training.ts runs the command on a network. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Consumer, RunOptions, Step } from '../../node/client/consumer.ts'
import { readState, runFiles } from '../../node/commands/run.ts'
import { errorCode } from '../../protocol/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'sinter-run-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))
const at = (...path: string[]): string => join(folder, ...path)
mkdirSync(at('feed'))
for (const [i, x] of [
  [1, 2],
  [10, 20],
  [100, 200],
].entries())
  writeFileSync(at('feed', `${i}.json`), JSON.stringify(x))
writeFileSync(at('state.json'), JSON.stringify({ w: [0.1, 0] }))

/** Adds `x` to `w`; a run of it ends after `most` steps with an error, as one that is killed. */
function adding(most: number) {
  const asked: number[] = []
  const consumer = {
    model: async () => ({
      ...{ id: 'cid', name: 'sum', units: 1 },
      inputs: [
        { name: 'w', shape: [2], rows: null },
        { name: 'x', shape: [2], rows: null },
      ],
      outputs: [
        { name: 'w_out', shape: [2], index: null },
        { name: 'error', shape: [1], index: null },
      ],
    }),
    async *run(_: string, state: Record<string, number[]>, steps: number, { feed }: RunOptions) {
      let w = Float32Array.from(state.w!)
      for (let step = 0; step < steps; step++) {
        if (step === most) throw new Error('killed')
        asked.push(step)
        const { x } = (await feed!(step)) as { x: number[] }
        w = w.map((each, i) => each + x[i]!)
        const outputs = { w_out: { shape: [2], data: w }, error: { shape: [1], data: Float32Array.of(x[0]!) } }
        yield { step, outputs, receipts: [{ id: `r${x[0]}` }], disputed: 0 } as unknown as Step
      }
    },
  }
  return { consumer: consumer as unknown as Pick<Consumer, 'model' | 'run'>, asked }
}
const files = (out: string, steps: number) => ({
  ...{ model: 'cid', steps, out: at(out), state: at('state.json'), feed: at('feed') },
})
async function collect(consumer: Pick<Consumer, 'model' | 'run'>, out: string, steps: number): Promise<number[]> {
  const seen: number[] = []
  for await (const { step } of runFiles(consumer, files(out, steps), {})) seen.push(step)
  return seen
}
const saved = (out: string) => JSON.parse(readFileSync(at(out, 'state.json'), 'utf8'))
const lines = (out: string) =>
  readFileSync(at(out, 'steps.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { step: number })

test('a run that was cut off goes on, and comes to what an uninterrupted one comes to', async () => {
  assert.equal(await collect(adding(9).consumer, 'whole', 5), [0, 1, 2, 3, 4])
  const first = adding(2)
  assert.is(await collect(first.consumer, 'cut', 5).then(() => 'NONE', String), 'Error: killed')
  assert.is(saved('cut').step, 2)
  // A line whose state was not written any more: it is noted again.
  writeFileSync(
    at('cut', 'steps.jsonl'),
    `${lines('cut')
      .map((each) => JSON.stringify(each))
      .join('\n')}\n{"step":2}\n`,
  )
  const second = adding(9)
  assert.equal(await collect(second.consumer, 'cut', 5), [2, 3, 4])
  assert.equal([first.asked.length, second.asked.length], [2, 3])
  assert.equal(saved('cut'), saved('whole'))
  assert.equal(lines('cut'), lines('whole'))
  assert.equal(lines('cut')[3], { step: 3, outputs: { error: [1] }, receipts: ['r1'], disputed: 0 })
  assert.equal(saved('cut').state.w, [...Float32Array.of(Math.fround(0.1) + 122, 244)])
  // Nothing is left to do, and more steps go on from there.
  assert.equal(await collect(adding(9).consumer, 'cut', 5), [])
  assert.equal(await collect(adding(9).consumer, 'cut', 6), [5])
})

test('another model’s folder, a state that lacks a tensor and what is no state are refused', async () => {
  const code = async (change: object): Promise<string> => {
    const run = runFiles(adding(9).consumer, { ...files('refused', 5), ...change }, {})
    return run.next().then(() => 'NONE', errorCode)
  }
  await collect(adding(9).consumer, 'mine', 1)
  assert.is(await code({ model: 'other', out: at('mine') }), 'INPUT_FILE')
  writeFileSync(at('empty.json'), '{}')
  writeFileSync(at('list.json'), '[1]')
  assert.is(await code({ state: at('empty.json') }), 'INPUT_FILE')
  assert.is(await code({ state: at('list.json') }), 'INPUT_FILE')
  assert.is(await code({ state: at('none.json') }), 'FILE_UNREADABLE')
  assert.is(await code({}), 'NONE')
})

test('a state may be a folder of NumPy arrays', () => {
  mkdirSync(at('arrays'))
  const header = `${"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }".padEnd(117)}\n`
  const head = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 118, 0])
  const data = Buffer.from(Float32Array.of(3, 4).buffer)
  writeFileSync(at('arrays', 'w.npy'), Buffer.concat([head, Buffer.from(header), data]))
  assert.equal(readState(at('arrays')), { w: Float32Array.of(3, 4) })
})

test.run()
