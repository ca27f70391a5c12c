import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { givenInputs, inputValues } from '../../models/lookup.ts'
import { tensorOf } from '../../models/tiling.ts'
import { answersOf, describeAnswers } from '../../node/commands/answers.ts'
import { samplesOf, samplesOfJson } from '../../node/commands/samples.ts'
import { SinterError } from '../../protocol/errors.ts'
import { trained } from '../models/trained.ts'

/** From files to what a job sends, and from what comes back to what is printed. */

const folder = mkdtempSync(join(tmpdir(), 'sinter-samples-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

async function rejects(run: Promise<unknown>, code: string, message = /./): Promise<void> {
  const error = await run.then(
    () => null,
    (error: unknown) => error,
  )
  assert.ok(
    error instanceof SinterError && error.code === code && message.test(error.message),
    `${code} expected, not ${String(error)}`,
  )
}

function throwsCode(run: () => unknown, code: string, message = /./): void {
  assert.throws(
    run,
    (error: unknown) => error instanceof SinterError && error.code === code && message.test(error.message),
  )
}

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
const two = [
  { name: 'a', shape: [2, 2] },
  { name: 'b', shape: [1] },
]
const one = [{ name: 'x', shape: [2, 2] }]

function npy(descr: string, dims: number[], data: ArrayBufferView<ArrayBuffer>, order = 'False'): Uint8Array {
  const shape = `(${dims.join(', ')}${dims.length === 1 ? ',' : ''})`
  const header = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`.padEnd(117, ' ')
  const head = Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    Buffer.from([118, 0]),
    Buffer.from(`${header}\n`),
  ])
  return new Uint8Array(Buffer.concat([head, new Uint8Array(data.buffer)]))
}

test('JSON: one job stands by itself as a list of numbers or an object, as `sinter batch` takes it', () => {
  assert.equal(samplesOfJson(json([1, 2, 3, 4]), one, 'f'), [[Float32Array.of(1, 2, 3, 4)]])
  assert.equal(samplesOfJson(json({ b: [9], a: [1, 2, 3, 4] }), two, 'f'), [
    [Float32Array.of(1, 2, 3, 4), Float32Array.of(9)],
  ])
  throwsCode(() => samplesOfJson(json([1, 2, 3]), one, 'f'), 'INPUT_FILE', /x has 3 numbers/)
  throwsCode(() => samplesOfJson(json([1, 2, 3, 4]), two, 'f'), 'INPUT_FILE', /object with a, b/)
})

test('JSON: nested or flat numbers of one input, or each input by name', () => {
  assert.equal(
    samplesOfJson(
      json([
        [1, 2, 3, 4],
        [
          [5, 6],
          [7, 8],
        ],
      ]),
      one,
      'f',
    ),
    [[Float32Array.of(1, 2, 3, 4)], [Float32Array.of(5, 6, 7, 8)]],
  )
  assert.equal(
    samplesOfJson(
      json([
        {
          b: [9],
          a: [
            [1, 2],
            [3, 4],
          ],
        },
      ]),
      two,
      'f',
    ),
    [[Float32Array.of(1, 2, 3, 4), Float32Array.of(9)]],
  )
})

for (const [what, value, wanted] of [
  ['no list', {}, one],
  ['an empty list', [], one],
  ['too few numbers', [[1, 2, 3]], one],
  ['a text', [[1, 2, 3, 'x']], one],
  ['null', [[1, 2, 3, null]], one],
  ['an unknown input', [{ a: [1, 2, 3, 4], b: [1], c: [1] }], two],
  ['a missing input', [{ a: [1, 2, 3, 4] }], two],
  ['a list for two inputs', [[1, 2, 3, 4, 5]], two],
] as const)
  test(`JSON: ${what} is refused, naming the file`, () => {
    throwsCode(() => samplesOfJson(json(value), [...wanted], 'jobs.json'), 'INPUT_FILE', /jobs\.json/)
  })

test('NumPy arrays: of one sample, of several, of integers, one for each input', async () => {
  const file = join(folder, 'x.npy')
  writeFileSync(file, npy('<f4', [2, 2], Float32Array.of(1, 2, 3, 4)))
  assert.equal(await samplesOf(file, one), [[Float32Array.of(1, 2, 3, 4)]])
  writeFileSync(file, npy('<i8', [2, 2, 2], BigInt64Array.of(1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n)))
  assert.equal(await samplesOf(file, one), [[Float32Array.of(1, 2, 3, 4)], [Float32Array.of(5, 6, 7, 8)]])
  const each = join(folder, 'each')
  mkdirSync(each)
  writeFileSync(join(each, 'a.npy'), npy('<f8', [1, 2, 2], Float64Array.of(1, 2, 3, 4)))
  writeFileSync(join(each, 'b.npy'), npy('|u1', [1], Uint8Array.of(5)))
  assert.equal(await samplesOf(each, two), [[Float32Array.of(1, 2, 3, 4), Float32Array.of(5)]])
  writeFileSync(join(each, 'b.npy'), npy('|u1', [2, 1], Uint8Array.of(5, 6)))
  await rejects(samplesOf(each, two), 'INPUT_FILE', /lengths/)
})

test('NumPy arrays of another shape, order or type, or cut short, are refused', async () => {
  const file = join(folder, 'bad.npy')
  const good = npy('<f4', [2, 2], Float32Array.of(1, 2, 3, 4))
  for (const [bytes, reason] of [
    [npy('<f4', [4], Float32Array.of(1, 2, 3, 4)), /shape \[4\]/],
    [npy('<f4', [2, 2], Float32Array.of(1, 2, 3, 4), 'True'), /row-major/],
    [npy('<c8', [2, 2], Float32Array.of(1, 2, 3, 4)), /<c8/],
    [good.subarray(0, -1), /15 bytes of data/],
    [good.subarray(0, 11), /NumPy/],
    [good.subarray(0, 40), /header/],
    [npy('<f4', [1e9, 2, 2], Float32Array.of(1)), /4 bytes of data/],
  ] as const) {
    writeFileSync(file, bytes)
    await rejects(samplesOf(file, one), 'INPUT_FILE', reason)
  }
})

test('a folder: all its files in order of their names; an empty or missing one is refused', async () => {
  const many = join(folder, 'many')
  mkdirSync(many)
  await rejects(samplesOf(many, one), 'INPUT_FILE', /empty/)
  writeFileSync(join(many, '2.bin'), new Uint8Array(Float32Array.of(5, 6, 7, 8).buffer))
  writeFileSync(join(many, '1.json'), json([[1, 2, 3, 4]]))
  assert.equal(await samplesOf(many, one), [[Float32Array.of(1, 2, 3, 4)], [Float32Array.of(5, 6, 7, 8)]])
  await rejects(samplesOf(join(folder, 'none'), one), 'FILE_UNREADABLE')
})

test('what is no sample is not read as one: lists without end, a note in the folder, a pipe, a device', async () => {
  const noted = mkdtempSync(join(folder, 'noted'))
  writeFileSync(join(noted, 'a.npy'), npy('<f4', [2, 2], Float32Array.of(1, 2, 3, 4)))
  assert.is((await samplesOf(noted, one)).length, 1)
  const deep = join(folder, 'deep.json')
  writeFileSync(deep, '['.repeat(50_000) + ']'.repeat(50_000))
  await rejects(samplesOf(deep, one), 'INPUT_FILE', /nests more than/)
  // As long as a sample is.
  writeFileSync(join(noted, 'NOTES.md'), 'sixteen letters!')
  await rejects(samplesOf(noted, one), 'INPUT_FILE', /NOTES\.md: is no sample by its name/)
  if (process.platform === 'win32') return
  const pipe = join(folder, 'pipe.npy')
  spawnSync('mkfifo', [pipe])
  for (const path of [pipe, '/dev/zero']) await rejects(samplesOf(path, one), 'FILE_UNREADABLE', /no file/)
})

test('integers of a text model become the manifest’s rows, exactly; what names no row is refused', async () => {
  const { manifest, weights, samples } = await trained('transformer')
  const [input] = givenInputs(manifest) as [ReturnType<typeof givenInputs>[number]]
  assert.is(input.name, 'ids')
  const [values] = inputValues(manifest, weights, [samples[0]!]) as [Float32Array]
  const [{ tensor, shape, lookup }] = manifest.inputs as [(typeof manifest.inputs)[number]]
  const scale = 2 ** tensorOf(manifest, tensor).exponent
  assert.ok(values.every((value) => Number.isInteger(value * scale)))
  // Two places that hold the same integer hold the same row.
  const width = shape.at(-1)!
  const ids = [...samples[0]!]
  const again = ids.findIndex((id, i) => ids.indexOf(id) < i)
  assert.equal(
    values.subarray(again * width, (again + 1) * width),
    values.subarray(ids.indexOf(ids[again]!) * width, (ids.indexOf(ids[again]!) + 1) * width),
  )
  for (const id of [-1, lookup!.rows, 0.5, Number.NaN])
    throwsCode(() => inputValues(manifest, weights, [Float32Array.of(...ids.slice(1), id)]), 'INPUT_ID', /ids/)
  throwsCode(() => inputValues(manifest, weights, [Float32Array.from(ids.slice(1))]), 'INPUT_SHAPE', /ids/)
  throwsCode(() => inputValues(manifest, weights, []), 'INPUT_NAME', /ids/)
})

test('an ArgMax that was cut off is taken at the consumer, the first of equals', () => {
  const output = { name: 'logits', tensor: 0, shape: [2, 3], tolerance: null, argmax: { name: 'label', axis: 1 } }
  const manifest = { outputs: [output] } as unknown as Parameters<typeof answersOf>[0]
  const outputs = { logits: Float32Array.of(1, 3, 3, 0, -1, -2) }
  assert.equal(answersOf(manifest, outputs), [{ name: 'label', values: [1, 0], index: true }])
  output.argmax.axis = 0
  assert.equal(answersOf(manifest, outputs), [{ name: 'label', values: [0, 0, 0], index: true }])
  assert.is(describeAnswers([{ name: 'label', values: [4], index: true }]), 'label = 4')
  assert.is(describeAnswers([{ name: 'y', values: [0.25, 1 / 3], index: false }]), 'y = [0.25, 0.33333]; largest at 1')
})

test.run()
