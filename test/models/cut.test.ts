import fc from 'fast-check'
import ort from 'onnxruntime-node'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Cuts, cutModel } from '../../models/cut.ts'
import { parseModel } from '../../models/onnx.ts'
import { SinterError } from '../../protocol/errors.ts'
import { constant, type GraphFixture, numbers, onnxGraph } from './onnx-fixture.ts'

const ROWS = 11
const WIDTH = 4
const CLASSES = 5
const table = constant('float32', [ROWS, WIDTH], numbers(ROWS * WIDTH, 1, 3))

/** Ids → look-up → + positions (sized by the ids' own shape) → MatMul → ArgMax: a language model in small. */
const language: GraphFixture = {
  nodes: [
    { op: 'Shape', inputs: ['ids'], outputs: ['shape'] },
    { op: 'Gather', inputs: ['shape', 'one'], outputs: ['length'] },
    { op: 'Slice', inputs: ['positions', 'start', 'length', 'start'], outputs: ['here'] },
    { op: 'Gather', inputs: ['table', 'ids'], outputs: ['embedded'] },
    { op: 'Add', inputs: ['embedded', 'here'], outputs: ['placed'] },
    { op: 'MatMul', inputs: ['placed', 'head'], outputs: ['logits'] },
    { op: 'ArgMax', inputs: ['logits'], outputs: ['best'], attributes: { axis: -1, keepdims: 0 } },
  ],
  inputs: { ids: { dtype: 'int64', dims: [1, 3] } },
  outputs: { best: { dtype: 'int64', dims: [1, 3] } },
  constants: {
    table,
    positions: constant('float32', [8, WIDTH], numbers(8 * WIDTH, 1, 5)),
    head: constant('float32', [WIDTH, CLASSES], numbers(WIDTH * CLASSES, 1, 7)),
    one: constant('int64', [1], [1]),
    start: constant('int64', [1], [0]),
  },
}
const front = { from: 'ids', tensor: 'embedded', dims: [1, 3, WIDTH] }
const back = { from: 'best', tensor: 'logits', dims: [1, 3, CLASSES] }
const length = new Map([['length', constant('int64', [1], [3])]])

async function run(bytes: Uint8Array, feeds: Record<string, ort.Tensor>): Promise<Record<string, ort.Tensor>> {
  const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 4 })
  const results = await session.run(feeds)
  await session.release()
  return results as Record<string, ort.Tensor>
}

const IDS = [7, 0, 10]
const ids = new ort.Tensor('int64', BigInt64Array.from(IDS, BigInt), [1, 3])
const rows = new ort.Tensor(
  'float32',
  Float32Array.from(IDS.flatMap((id) => Array.from(table.data.subarray(id * WIDTH, (id + 1) * WIDTH)))),
  [1, 3, WIDTH],
)

const argMax = (logits: Float32Array): number[] =>
  IDS.map((_, at) => {
    const line = logits.subarray(at * CLASSES, (at + 1) * CLASSES)
    return line.indexOf(Math.max(...line))
  })

const refused = (bytes: Uint8Array, cuts: Cuts, message: string): void =>
  assert.throws(
    () => cutModel(bytes, cuts),
    (error: unknown) => {
      if (!(error instanceof SinterError)) throw error
      assert.is(error.code, 'MODEL_CUT', error.message)
      return error.message.includes(message) || assert.unreachable(error.message)
    },
  )

test('a model cut at both ends gives, in ONNX Runtime, what the whole one gives', async () => {
  const whole = onnxGraph(language)
  const cut = cutModel(whole, { inputs: [front], outputs: [back], constants: length })
  const graph = parseModel(cut)
  assert.equal(graph.inputs, [{ name: 'embedded', dtype: 'float32', dims: [1, 3, WIDTH] }])
  assert.equal(graph.outputs, [{ name: 'logits', dtype: 'float32', dims: [1, 3, CLASSES] }])
  assert.equal(
    graph.nodes.map(({ operator }) => operator),
    ['Slice', 'Add', 'MatMul'],
  )
  assert.equal([...graph.constants.keys()].sort(), ['head', 'length', 'positions', 'start'])
  assert.ok(cut.length < whole.length)
  const { best } = await run(whole, { ids })
  const { logits } = await run(cut, { embedded: rows })
  assert.equal(argMax(logits!.data as Float32Array), Array.from(best!.data as BigInt64Array, Number))
})

test('an end in half precision stays in it', async () => {
  const halves = {
    ...language.constants!,
    table: constant(
      'float16',
      [ROWS, WIDTH],
      Array.from({ length: ROWS * WIDTH }, (_, i) => i / 8),
    ),
    positions: constant(
      'float16',
      [8, WIDTH],
      Array.from({ length: 8 * WIDTH }, (_, i) => -i / 16),
    ),
    head: constant(
      'float16',
      [WIDTH, CLASSES],
      Array.from({ length: WIDTH * CLASSES }, (_, i) => (i % 7) / 4),
    ),
  }
  const whole = onnxGraph({ ...language, constants: halves })
  const cut = cutModel(whole, { inputs: [{ ...front, dtype: 'float16' }], outputs: [back], constants: length })
  const graph = parseModel(cut)
  assert.equal([graph.inputs[0]!.dtype, graph.outputs[0]!.dtype], ['float16', 'float16'])
  await (await ort.InferenceSession.create(cut, { logSeverityLevel: 4 })).release()
})

test('one end alone is cut, and the other stays', async () => {
  const whole = onnxGraph(language)
  const before = await run(whole, { ids })
  const head = cutModel(whole, { inputs: [front], outputs: [], constants: length })
  assert.equal((await run(head, { embedded: rows })).best!.data, before.best!.data)
  const tail = cutModel(whole, { inputs: [], outputs: [{ ...back, dims: [1, 'n', CLASSES] }] })
  const { logits } = await run(tail, { ids })
  assert.equal(argMax(logits!.data as Float32Array), Array.from(before.best!.data as BigInt64Array, Number))
  assert.equal(parseModel(tail).outputs[0]!.dims, [1, null, CLASSES])
  assert.is(parseModel(tail).constants.size, 5)
})

test('without cuts the bytes are the same', () => {
  const model = onnxGraph(language)
  assert.is(cutModel(model, { inputs: [], outputs: [] }), model)
})

test('a value that is an output already stands once', () => {
  const both = onnxGraph({ ...language, outputs: { logits: { dims: [1, 3, CLASSES] }, ...language.outputs } })
  const cut = parseModel(cutModel(both, { inputs: [], outputs: [back] }))
  assert.equal(
    cut.outputs.map(({ name }) => name),
    ['logits'],
  )
})

test('weights that are listed as inputs go with their initialisers', async () => {
  const listed = onnxGraph({
    ...language,
    edit: ({ graph }) => {
      for (const name of ['table', 'head']) graph!.input!.push({ ...structuredClone(graph!.input![0]!), name })
      for (const each of graph!.input!.slice(1)) each.type!.tensorType!.elemType = 1
      graph!.input![1]!.type!.tensorType!.shape!.dim = [{ dimValue: ROWS }, { dimValue: WIDTH }]
      graph!.input![2]!.type!.tensorType!.shape!.dim = [{ dimValue: WIDTH }, { dimValue: CLASSES }]
      graph!.valueInfo = ['embedded', 'logits', 'placed'].map((name) => ({
        name,
        type: { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 1 }, { dimValue: 3 }, { dimParam: name }] } } },
      }))
    },
  })
  const cut = cutModel(listed, { inputs: [front], outputs: [back], constants: length })
  const session = await ort.InferenceSession.create(cut, { logSeverityLevel: 4 })
  assert.equal(session.inputNames.slice(0, 1), ['embedded'])
  assert.not(session.inputNames.includes('table'))
  await session.release()
})

test('what subgraphs read from outside is kept', () => {
  const branch = (name: string) => ({
    name,
    node: [{ opType: 'Identity', input: ['inner'], output: [`${name}_out`] }],
    output: [{ name: `${name}_out`, type: { tensorType: { elemType: 1 } } }],
  })
  const bytes = onnxGraph({
    nodes: [
      { op: 'Relu', inputs: ['x'], outputs: ['inner'] },
      { op: 'If', inputs: ['flag'], outputs: ['chosen'] },
      { op: 'ArgMax', inputs: ['chosen'], outputs: ['y'] },
    ],
    inputs: { x: { dims: [1, 2] } },
    outputs: { y: { dtype: 'int64', dims: [1, 2] } },
    constants: { flag: constant('bool', [], [1]) },
    edit: ({ graph }) => {
      graph!.node![1]!.attribute = ['then_branch', 'else_branch'].map((name) => ({ name, type: 5, g: branch(name) }))
    },
  })
  const cut = parseModel(cutModel(bytes, { inputs: [], outputs: [{ from: 'y', tensor: 'chosen', dims: [1, 2] }] }))
  assert.equal(
    cut.nodes.map(({ operator }) => operator),
    ['Relu', 'If'],
  )
})

test('cuts that do not separate the model are refused', () => {
  const bytes = onnxGraph(language)
  refused(bytes, { inputs: [front], outputs: [] }, 'input ids is still needed')
  refused(bytes, { inputs: [{ ...front, from: 'nowhere' }], outputs: [] }, 'no input nowhere')
  refused(bytes, { inputs: [], outputs: [{ ...back, from: 'nowhere' }] }, 'no output nowhere')
  refused(bytes, { inputs: [{ ...front, tensor: 'table' }], outputs: [] }, 'no node produces table')
  refused(bytes, { inputs: [], outputs: [{ ...back, tensor: 'ids' }] }, 'no node produces ids')
  refused(bytes, { inputs: [{ ...front, tensor: 'logits' }], outputs: [back] }, 'nothing is left')
  const twin = onnxGraph({
    nodes: [
      { op: 'Split', inputs: ['x'], outputs: ['a', 'b'], attributes: { num_outputs: 2 } },
      { op: 'Add', inputs: ['a', 'b'], outputs: ['y'] },
    ],
    inputs: { x: { dims: [2] } },
    outputs: { y: { dims: [1] } },
  })
  refused(twin, { inputs: [{ from: 'x', tensor: 'a', dims: [1] }], outputs: [] }, 'still needed')
})

test('mutated files are cut or refused with a code', () => {
  const bytes = onnxGraph(language)
  const edit = fc.record({ at: fc.nat(bytes.length - 1), value: fc.nat(255) })
  let cuts = 0
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      const changed = bytes.slice()
      for (const { at, value } of edits) changed[at] = value
      try {
        cutModel(changed, { inputs: [front], outputs: [back], constants: length })
        cuts++
      } catch (error) {
        assert.instance(error, SinterError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
  assert.ok(cuts > 0)
})

test.run()
