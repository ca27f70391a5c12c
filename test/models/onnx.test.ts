import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits } from '../../models/digits.ts'
import { lowerGraph } from '../../models/lower.ts'
import { parseModel } from '../../models/onnx.ts'
import { SCAN_LIMITS } from '../../models/onnx-scan.ts'
import { concat } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { type Fixture, onnxModel } from './onnx-fixture.ts'

const { model: digits } = loadDigits()

const relu: Fixture = { nodes: [{ op: 'Relu', inputs: ['x'], output: 'y' }] }

const refused = (bytes: Uint8Array, code: string, message = ''): void =>
  assert.throws(
    () => parseModel(bytes),
    (error: unknown) => {
      if (!(error instanceof SinterError)) throw error
      assert.is(error.code, code)
      return error.message.includes(message)
    },
  )

test('the model that PyTorch wrote is admitted as it is', () => {
  const graph = parseModel(digits)
  assert.is(graph.opset, 18)
  assert.equal(graph.inputs, [{ name: 'image', dims: [null, 1, 8, 8] }])
  assert.equal(graph.outputs, [{ name: 'logits', dims: [null, 10] }])
  assert.equal(
    graph.nodes.map(({ operator }) => operator),
    ['Conv', 'Relu', 'Conv', 'Relu', 'AveragePool', 'Reshape', 'Gemm'],
  )
})

test('bytes from a Buffer, at any offset, read the same', () => {
  const padded = Buffer.concat([Buffer.alloc(3), Buffer.from(digits)])
  assert.equal(parseModel(padded.subarray(3)), parseModel(digits))
})

test('nodes are put in order, constants may be nodes, and old models may list weights as inputs', () => {
  const graph = parseModel(
    onnxModel({
      nodes: [
        { op: 'Relu', inputs: ['b'], output: 'y' },
        { op: 'Relu', inputs: ['a'], output: 'b' },
        { op: 'Relu', inputs: ['x'], output: 'a' },
        { op: 'Constant', inputs: [], output: 'k' },
      ],
      floats: { w: { dims: [1], data: [1] } },
      edit: (model) => {
        model.graph!.node![3]!.attribute = [{ name: 'value', type: 4, t: { dims: [1], dataType: 1, floatData: [2] } }]
        model.graph!.input!.push({ ...model.graph!.input![0]!, name: 'w' })
      },
    }),
  )
  assert.equal(
    graph.nodes.map(({ outputs }) => outputs[0]),
    ['a', 'b', 'y'],
  )
  assert.equal([...graph.constants.keys()].sort(), ['k', 'w'])
  assert.is(graph.inputs.length, 1)
})

test('what is not ONNX is refused as such', () => {
  refused(new Uint8Array(0), 'MODEL_NOT_ONNX')
  refused(new TextEncoder().encode('#!/bin/sh\necho not a model\n'), 'MODEL_NOT_ONNX')
  refused(Uint8Array.of(0x50, 0x4b, 3, 4, 20, 0, 0, 0), 'MODEL_NOT_ONNX')
  refused(digits.subarray(0, digits.length - 10), 'MODEL_NOT_ONNX')
  refused(onnxModel({ ...relu, edit: (model) => delete model.graph }), 'MODEL_NOT_ONNX')
  refused(onnxModel({ ...relu, edit: (model) => delete model.irVersion }), 'MODEL_NOT_ONNX')
  refused(onnxModel({ ...relu, edit: (model) => delete model.opsetImport }), 'MODEL_NOT_ONNX')
})

test('an operator outside the allow-list is refused, naming the node', () => {
  refused(
    onnxModel({ nodes: [{ op: 'MaxPool', inputs: ['x'], output: 'y', name: 'pool7' }] }),
    'MODEL_OPERATOR',
    'node pool7 uses operator MaxPool',
  )
  refused(
    onnxModel({ nodes: [{ op: 'Relu', inputs: ['x'], output: 'y', domain: 'com.evil' }] }),
    'MODEL_OPERATOR',
    'Relu_0 uses operator com.evil.Relu',
  )
  refused(onnxModel({ nodes: [{ op: 'constructor', inputs: ['x'], output: 'y' }] }), 'MODEL_OPERATOR')
})

test('weights in another file are refused', () => {
  const external = (edit: (tensor: Record<string, unknown>) => void): Uint8Array =>
    onnxModel({
      ...relu,
      floats: { w: { dims: [2], data: [1, 2] } },
      edit: (model) => edit(model.graph!.initializer![0]! as Record<string, unknown>),
    })
  refused(
    external((tensor) => {
      tensor.dataLocation = 1
    }),
    'MODEL_EXTERNAL_DATA',
    'constant w',
  )
  refused(
    external((tensor) => {
      tensor.externalData = [{ key: 'location', value: '/etc/passwd' }]
    }),
    'MODEL_EXTERNAL_DATA',
  )
})

test('operator sets: the first and last supported pass, the ones beside them do not', () => {
  for (const opset of [13, 22]) assert.is(parseModel(onnxModel({ ...relu, opset })).opset, opset)
  for (const opset of [12, 23, 2 ** 40]) refused(onnxModel({ ...relu, opset }), 'MODEL_OPSET')
})

test('cycles, missing and repeated names are refused', () => {
  const node = (input: string, output: string) => ({ op: 'Relu', inputs: [input], output })
  refused(onnxModel({ nodes: [node('a', 'b'), node('b', 'a'), node('x', 'y')] }), 'MODEL_CYCLE')
  refused(onnxModel({ nodes: [node('y', 'y')] }), 'MODEL_CYCLE')
  refused(onnxModel({ nodes: [node('nowhere', 'y')] }), 'MODEL_MALFORMED', 'nowhere')
  refused(onnxModel({ nodes: [node('x', 'y'), node('x', 'y')] }), 'MODEL_MALFORMED', 'twice')
  refused(onnxModel({ nodes: [node('x', 'x')] }), 'MODEL_MALFORMED')
  refused(onnxModel({ nodes: [node('x', 'z')] }), 'MODEL_MALFORMED', 'output y')
  refused(onnxModel({ nodes: [] }), 'MODEL_MALFORMED')
})

test('impossible and lying shapes are refused', () => {
  refused(onnxModel({ ...relu, input: ['n', 2 ** 40] }), 'MODEL_SHAPE')
  refused(onnxModel({ ...relu, input: ['n', 'm'] }), 'MODEL_SHAPE')
  refused(onnxModel({ ...relu, input: ['n', 0] }), 'MODEL_SHAPE')
  const weights = (dims: number[], edit: (tensor: Record<string, unknown>) => void = () => {}): Uint8Array =>
    onnxModel({
      ...relu,
      floats: { w: { dims, data: [1, 2] } },
      edit: (model) => edit(model.graph!.initializer![0]! as Record<string, unknown>),
    })
  assert.is(parseModel(weights([2])).constants.size, 1)
  refused(weights([3]), 'MODEL_SHAPE')
  refused(weights([2 ** 30, 2 ** 30]), 'MODEL_SHAPE')
  refused(weights([-2]), 'MODEL_SHAPE')
  refused(
    weights([2], (tensor) => {
      tensor.dataType = 11
    }),
    'MODEL_DTYPE',
  )
  refused(
    weights([2], (tensor) => {
      tensor.rawData = new Uint8Array(Float32Array.of(NaN, 1).buffer)
    }),
    'MODEL_VALUE',
  )
  refused(
    onnxModel({
      ...relu,
      edit: (model) => {
        model.graph!.input![0]!.type!.tensorType!.elemType = 10
      },
    }),
    'MODEL_DTYPE',
  )
})

test('functions, training graphs and sparse weights are refused', () => {
  refused(
    onnxModel({ ...relu, edit: (model) => Object.assign(model, { functions: [{ name: 'f' }] }) }),
    'MODEL_FEATURE',
  )
  refused(onnxModel({ ...relu, edit: (model) => Object.assign(model, { trainingInfo: [{}] }) }), 'MODEL_FEATURE')
})

test('files that would blow up in memory are refused before they are decoded', () => {
  const started = Date.now()
  // A million empty nodes in 2 MB.
  const field = (number: number, body: Uint8Array): Uint8Array => {
    const length: number[] = []
    let rest = body.length
    for (; rest > 127; rest >>= 7) length.push((rest & 127) | 128)
    return concat(Uint8Array.of(number * 8 + 2), Uint8Array.from([...length, rest]), body)
  }
  const nodes = new Uint8Array(2_000_000)
  for (let i = 0; i < nodes.length; i += 2) nodes[i] = 0x0a
  refused(field(7, nodes), 'MODEL_TOO_LARGE')
  // Packed integers of one byte each.
  refused(field(7, field(5, field(7, new Uint8Array(SCAN_LIMITS.integers + 1)))), 'MODEL_TOO_LARGE')
  // Types inside types.
  let type: Uint8Array = new Uint8Array(0)
  for (let i = 0; i < 40; i++) type = field(4, field(1, type))
  refused(field(7, field(11, field(2, type))), 'MODEL_TOO_LARGE')
  // The length of a message given as a number: the decoder would read past what was counted.
  refused(Uint8Array.of(7 * 8, 100), 'MODEL_NOT_ONNX')
  refused(concat(digits, Uint8Array.of(6 * 8, 0)), 'MODEL_NOT_ONNX')
  assert.throws(
    () => parseModel(digits, { maxBytes: digits.length - 1 }),
    (error: { code?: string }) => error.code === 'MODEL_TOO_LARGE',
  )
  assert.is(parseModel(digits, { maxBytes: digits.length }).nodes.length, 7)
  assert.ok(Date.now() - started < 5000)
})

/** Admission and lowering of bytes from a stranger: whatever they are, the outcome is a graph or a coded error. */
function judge(bytes: Uint8Array): string {
  try {
    lowerGraph(parseModel(bytes))
    return 'admitted'
  } catch (error) {
    if (error instanceof SinterError) return error.code
    throw error
  }
}

test('truncated files never crash', () => {
  for (let length = 0; length < digits.length; length += 7) judge(digits.subarray(0, length))
})

test('mutated files never crash', () => {
  const seen = new Set<string>()
  const edit = fc.record({
    at: fc.nat(digits.length - 1),
    value: fc.nat(255),
    kind: fc.constantFrom('set', 'drop', 'add'),
  })
  // Half of the edits fall in the structure around the weights, where most of the meaning is.
  const early = fc.record({ at: fc.nat(1200), value: fc.nat(255), kind: fc.constantFrom('set', 'drop', 'add') })
  fc.assert(
    fc.property(fc.array(fc.oneof(edit, early), { minLength: 1, maxLength: 6 }), (edits) => {
      let bytes: Uint8Array = digits.slice()
      for (const { at, value, kind } of edits) {
        if (kind === 'set') bytes[at % bytes.length] = value
        else if (kind === 'drop') bytes = concat(bytes.subarray(0, at), bytes.subarray(at + 1))
        else bytes = concat(bytes.subarray(0, at), Uint8Array.of(value), bytes.subarray(at))
      }
      seen.add(judge(bytes))
    }),
    { numRuns: 3000 },
  )
  assert.ok(seen.size >= 5, `outcomes: ${[...seen]}`)
})

test('random bytes never crash', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.not.equal(judge(bytes), 'admitted')
    }),
    { numRuns: 2000 },
  )
})

test.run()
