import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cutModel } from '../../models/cut.ts'
import { describePlan } from '../../models/describe.ts'
import { admitModel, lowerGraph, lowerWhole } from '../../models/lower.ts'
import { parseModel } from '../../models/onnx.ts'
import { assetPath } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import { constant, type GraphFixture, onnxGraph } from './onnx-fixture.ts'
import { image, ints, type Node, node, one, weights } from './operator-case.ts'

/**
 * What a stranger's file can do beyond parsing: lowering, describing and cutting end in a plan, a list of nodes that are not
 * covered, or a coded error, in bounded time and memory.
 */

const read = (file: string): Uint8Array => new Uint8Array(readFileSync(assetPath(file)))

function judge(bytes: Uint8Array): string {
  try {
    const graph = parseModel(bytes)
    const { uncovered, plan } = lowerGraph(graph)
    const described = describePlan(graph)
    assert.ok(described.coverage >= 0 && described.coverage <= 1)
    assert.is(described.uncovered.length, uncovered.length)
    if (uncovered.length > 0) {
      // That a node is stopped is no excuse for a fault of ours.
      assert.ok(uncovered.every((each) => each.code !== 'MODEL_INTERNAL'))
      assert.ok(uncovered.every((each) => each.node !== '' && each.code.startsWith('MODEL_') && each.reason !== ''))
      return uncovered[0]!.code
    }
    cutModel(bytes, plan.cuts)
    return 'covered'
  } catch (error) {
    if (error instanceof SinterError) return error.code
    throw error
  }
}

type Edit = { at: number; value: number }

/** Bytes changed, in the structure of the file: of raw weights every value is as good as another. */
const edits = (size: number): fc.Arbitrary<Edit[]> =>
  fc.array(fc.record({ at: fc.nat(size - 1), value: fc.nat(255) }), { minLength: 1, maxLength: 4 })

for (const [file, runs] of [
  ['test/models/exported/moves-17.onnx', 500],
  ['test/models/exported/pools-13.onnx', 500],
  ['test/models/exported/attention-18.onnx', 400],
  ['test/models/exported/quantised-21.onnx', 400],
  ['test/models/exported/normalised-15.onnx', 400],
  ['test/models/exported/classifier-17.onnx', 600],
  ['models/breast/breast.onnx', 400],
  ['models/transformer/transformer.onnx', 100],
] as const)
  test(`${file} with changed bytes: a plan, named nodes or a coded error`, () => {
    const original = read(file)
    assert.is(judge(original), 'covered')
    const seen = new Set<string>()
    const started = performance.now()
    fc.assert(
      fc.property(edits(original.length), (list) => {
        const bytes = original.slice()
        for (const { at, value } of list) bytes[at] = value
        seen.add(judge(bytes))
      }),
      { numRuns: runs },
    )
    assert.ok(seen.size >= 3, [...seen].join())
    assert.ok(performance.now() - started < 100 * runs)
  })

const huge = 2 ** 30
/** A few bytes that ask for a great deal. */
const GREEDY: Record<string, Partial<GraphFixture> & { nodes: Node[]; code: RegExp; rank?: number }> = {
  'pads of billions': {
    nodes: [one('Pad', {}, ['x', 'p'])],
    constants: { p: ints(0, 0, 0, huge, 0, 0, 0, huge) },
    code: /MODEL_SHAPE/,
  },
  'a resize to billions': {
    nodes: [one('Resize', { mode: 'nearest' }, ['x', '', 's'])],
    constants: { s: constant('float32', [4], [1, 1, huge, huge]) },
    code: /MODEL_SHAPE/,
  },
  'billions of repeats': {
    nodes: [one('Tile', {}, ['x', 'r'])],
    constants: { r: ints(1, huge, huge, 1) },
    code: /MODEL_SHAPE/,
  },
  'an expansion that is computed': {
    nodes: [
      node('Unsqueeze', ['x', 'a'], 'u'),
      node('Expand', ['u', 's'], 'e'),
      node('Exp', ['e'], 'f'),
      node('Mul', ['e', 'f'], 'y'),
    ],
    constants: { a: ints(4), s: ints(1, 1, 1, 1, huge) },
    rank: 5,
    code: /MODEL_(SHAPE|TOO_LARGE)/,
  },
  'a joining of what was expanded': {
    nodes: [
      node('Unsqueeze', ['x', 'a'], 'u'),
      node('Expand', ['u', 's'], 'e'),
      one('Concat', { axis: 4 }, ['e', 'e']),
    ],
    constants: { a: ints(4), s: ints(1, 1, 1, 1, 2 ** 24) },
    rank: 5,
    code: /MODEL_(SHAPE|TOO_LARGE)/,
  },
  'two constants that spread each other': {
    nodes: [node('Mul', ['x', 'a'], 'm'), node('Add', ['m', 'b'], 'y')],
    inputs: { x: { dims: ['n', 1, 1] } },
    constants: { a: weights([6_000, 1]), b: weights([1, 6_000]) },
    rank: 3,
    code: /MODEL_(SHAPE|TOO_LARGE)/,
  },
  'a mean over a window of 2^20 by 2^20': {
    nodes: [one('AveragePool', { kernel_shape: [2 ** 20, 2 ** 20], pads: [2 ** 20, 2 ** 20, 2 ** 20, 2 ** 20] })],
    code: /MODEL_/,
  },
  'parts of different ranks': {
    nodes: [node('Flatten', ['x'], 'f'), one('Concat', { axis: 1 }, ['x', 'f'])],
    code: /MODEL_SHAPE/,
  },
  'one array read by many nodes': {
    nodes: Array.from({ length: 80 }, (_, i) =>
      node('MatMul', [i === 0 ? 'v' : `h${i}`, 'w'], i === 79 ? 'y' : `h${i + 1}`),
    ),
    inputs: { v: { dims: ['n', 1_000] } },
    constants: { w: constant('float32', [1_000, 1_000], new Array<number>(1e6).fill(0.001)) },
    rank: 2,
    code: /MODEL_TOO_LARGE/,
  },
}

for (const [name, { code, nodes, rank, ...fixture }] of Object.entries(GREEDY))
  test(`${name}: refused, naming the node, before anything large is made`, () => {
    const bytes = onnxGraph({
      inputs: { x: { dims: image } },
      outputs: { y: { dims: ['n', ...'abcdef'.slice(0, (rank ?? 4) - 1)] } },
      ...fixture,
      nodes,
    })
    const before = process.memoryUsage()
    const started = performance.now()
    assert.match(judge(bytes), code)
    try {
      lowerWhole(parseModel(bytes))
      assert.unreachable()
    } catch (error) {
      assert.instance(error, SinterError)
      assert.match((error as SinterError).message, /^node \S+ \(\w+\): /)
    }
    assert.ok(performance.now() - started < 20_000)
    const after = process.memoryUsage()
    assert.ok(after.heapTotal + after.arrayBuffers - before.heapTotal - before.arrayBuffers < 2 ** 30)
  })

test('an input of 2^48 elements is refused by its name', () => {
  const bytes = onnxGraph({
    nodes: [one('Relu')],
    inputs: { x: { dims: ['n', 2 ** 24, 2 ** 24] } },
    outputs: { y: { dims: ['n', 2 ** 24, 2 ** 24] } },
  })
  assert.throws(
    () => lowerGraph(parseModel(bytes)),
    (error: unknown) => error instanceof SinterError && error.code === 'MODEL_SHAPE' && /x/.test(error.message),
  )
})

test('a model that is not the one a manifest describes: the input or output is named', () => {
  const bytes = read('models/breast/breast.onnx')
  const end = (name: string, shape: number[]) => ({ name, shape, tensor: 0 })
  const fits = { inputs: [end('features', [30])], outputs: [end('out_activations_result', [1])] }
  const judged = (change: object): string => {
    try {
      admitModel(bytes, { ...fits, ...change } as unknown as Parameters<typeof admitModel>[1])
      return ''
    } catch (error) {
      assert.instance(error, SinterError)
      return `${(error as SinterError).code} ${(error as SinterError).message}`
    }
  }
  assert.is(judged({}), '')
  assert.match(judged({ inputs: [end('pixels', [30])] }), /MODEL_ENDS .*input pixels/)
  assert.match(judged({ inputs: [end('features', [31])] }), /MODEL_ENDS input features is \[30\] in the model, \[31\]/)
  assert.match(judged({ inputs: [] }), /MODEL_ENDS .*input features is not in the manifest/)
  assert.match(judged({ outputs: [...fits.outputs, end('more', [1])] }), /MODEL_ENDS .*output more/)
  assert.match(judged({ outputs: [...fits.outputs, fits.outputs[0]] }), /MODEL_ENDS .*output out_activations_result/)
})

test.run()
