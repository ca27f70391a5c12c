/** Which graphs keep the rows of a batch apart. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits } from '../../models/digits.ts'
import { lowerGraph } from '../../models/lower.ts'
import { parseModel } from '../../models/onnx.ts'
import { rowsApart } from '../../models/rows.ts'
import { openSession } from '../../models/session.ts'
import { assetPath } from '../../protocol/assets.ts'
import { type Fixture, onnxModel } from './onnx-fixture.ts'

const judge = (model: Uint8Array): boolean => {
  const graph = parseModel(model)
  return rowsApart(graph, lowerGraph(graph).shapes)
}
const apart = (fixture: Fixture): boolean => judge(onnxModel(fixture))
const one = (
  op: string,
  rest: Partial<Fixture> & { attributes?: Record<string, number | number[]>; more?: string[] } = {},
) =>
  apart({
    nodes: [{ op, inputs: ['x', ...(rest.more ?? [])], output: 'y', attributes: rest.attributes ?? {} }],
    ...rest,
  })

test('the reference models keep them apart, where they have a batch', () => {
  for (const name of ['digits', 'residual', 'quantised', 'breast', 'regressor', 'autoencoder'])
    assert.ok(judge(readFileSync(assetPath(`models/${name}/${name}.onnx`))), name)
  assert.is(judge(readFileSync(assetPath('models/transformer/transformer.onnx'))), false)
})

test('operators are followed as long as axis 0 stays the rows', () => {
  assert.ok(one('Relu'))
  assert.ok(one('Softmax'))
  assert.ok(one('Transpose', { attributes: { perm: [0, 2, 1] }, input: ['n', 2, 3], output: ['n', 3, 2] }))
  assert.ok(one('ReduceMean', { more: ['axes'], ints: { axes: [1] }, output: ['n', 1] }))
  assert.ok(one('Reshape', { more: ['to'], ints: { to: [0, 2, 2] }, output: ['n', 2, 2] }))
  assert.ok(one('Reshape', { more: ['to'], ints: { to: [-1, 2, 2] }, output: ['n', 2, 2] }))
  assert.ok(one('Add', { more: ['w'], floats: { w: { dims: [4], data: [1, 2, 3, 4] } } }))
  assert.ok(one('MatMul', { more: ['w'], floats: { w: { dims: [4, 4], data: Array<number>(16).fill(1) } } }))
})

test('whatever mixes rows is found: these would show one consumer the input of another', () => {
  const mixing: [string, boolean][] = [
    ['softmax over the batch', one('Softmax', { attributes: { axis: 0 } })],
    ['the same counted from the end', one('Softmax', { attributes: { axis: -2 } })],
    ['mean over the batch', one('ReduceMean', { more: ['axes'], ints: { axes: [0] }, output: [1, 4] })],
    ['mean over everything', one('ReduceMean', { output: [1, 1] })],
    ['rows become columns', one('Transpose', { attributes: { perm: [1, 0] }, output: [4, 'n'] })],
    ['one row for all', one('Gather', { more: ['i'], ints: { i: [0] }, output: [1, 4] })],
    ['elements of other rows', one('Reshape', { more: ['to'], ints: { to: [-1, 8] }, output: ['n', 8] })],
    [
      'parts of rows that come together',
      apart({
        nodes: [
          { op: 'Reshape', inputs: ['x', 'narrow'], output: 'h' },
          { op: 'Reshape', inputs: ['h', 'wide'], output: 'y' },
        ],
        ints: { narrow: [-1, 2], wide: [-1, 8] },
        output: ['n', 8],
      }),
    ],
    ['a scale from all rows', one('DynamicQuantizeLinear')],
    ['rows added to each other', one('Slice', { more: ['s', 'e', 'a'], ints: { s: [0], e: [1], a: [0] } })],
    [
      'another constant for each row',
      one('Add', { more: ['w'], floats: { w: { dims: [2, 4], data: Array<number>(8).fill(1) } } }),
    ],
    [
      'products between rows',
      apart({
        nodes: [
          { op: 'Transpose', inputs: ['x'], output: 't', attributes: { perm: [1, 0] } },
          { op: 'MatMul', inputs: ['x', 't'], output: 'y' },
        ],
        output: ['n', 'n'],
      }),
    ],
    ['an operator without a rule', one('CumSum', { more: ['a'], ints: { a: [0] } })],
    ['an operator of somebody else', apart({ nodes: [{ op: 'Relu', domain: 'other', inputs: ['x'], output: 'y' }] })],
    ['padding with rows', one('Pad', { more: ['p'], ints: { p: [1, 0, 0, 0] } })],
  ]
  for (const [what, found] of mixing) assert.is(found, false, what)
})

test('a model for one row only, or that says so of its outputs, has no batch', () => {
  assert.is(one('Relu', { input: [1, 4], output: [1, 4] }), false)
  assert.is(one('Relu', { output: [1, 4] }), false)
})

test('what is said to be apart is: each row alone gives what it gives in company', async () => {
  const { model } = loadDigits()
  const session = await openSession(model, { executionProvider: 'cpu', threads: 1 })
  const [name] = session.inputNames
  const rows = [0, 1, 2].map((row) => Float32Array.from({ length: 64 }, (_, i) => ((i * (row + 3)) % 17) / 16))
  const all = new Float32Array(192)
  rows.forEach((row, i) => {
    all.set(row, 64 * i)
  })
  const shape = [1, 8, 8]
  const together = await session.run({ [name!]: { shape: [3, ...shape], data: all } })
  const [output] = session.outputNames
  const size = together[output!]!.data.length / 3
  for (const [i, row] of rows.entries()) {
    const alone = (await session.run({ [name!]: { shape: [1, ...shape], data: row } }))[output!]!.data
    const mine = together[output!]!.data.slice(i * size, (i + 1) * size)
    assert.ok(alone.every((value, at) => Math.abs(value - mine[at]!) < 1e-4))
  }
  await session.dispose()
})

test.run()
