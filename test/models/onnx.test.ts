import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { describePlan } from '../../models/describe.ts'
import { type DType, MODEL_LIMITS, parseModel } from '../../models/onnx.ts'
import { SCAN_LIMITS } from '../../models/onnx-scan.ts'
import { concat } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { constant, type Fixture, type FixtureNode, type GraphFixture, onnxGraph, onnxModel } from './onnx-fixture.ts'

const digits = new Uint8Array(readFileSync(join(import.meta.dirname, '../../models/digits/digits.onnx')))

const relu: Fixture = { nodes: [{ op: 'Relu', inputs: ['x'], output: 'y' }] }

const refused = (bytes: Uint8Array, code: string, message = ''): void =>
  assert.throws(
    () => parseModel(bytes),
    (error: unknown) => {
      if (!(error instanceof SinterError)) throw error
      assert.is(error.code, code)
      return error.message.includes(message) || assert.unreachable(error.message)
    },
  )

test('the model that PyTorch wrote is admitted as it is', () => {
  const graph = parseModel(digits)
  assert.is(graph.opset, 18)
  assert.equal(graph.inputs, [{ name: 'image', dtype: 'float32', dims: [null, 1, 8, 8] }])
  assert.equal(graph.outputs, [{ name: 'logits', dtype: 'float32', dims: [null, 10] }])
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

test('any operator is kept, with its domain, inputs that are left out and every output', () => {
  const graph = parseModel(
    onnxGraph({
      nodes: [
        { op: 'Mystery', domain: 'com.example', inputs: ['x', '', 'w'], outputs: ['a', '', 'b'], name: 'm' },
        { op: 'constructor', domain: 'ai.onnx', inputs: ['b'], outputs: ['y'] },
      ],
      inputs: { x: { dtype: 'int64', dims: ['n', 'm'] } },
      outputs: { y: { dtype: 'bool', dims: [] }, a: { dims: [1, 2] } },
      constants: { w: constant('uint8', [2], [1, 255]) },
    }),
  )
  assert.equal(graph.nodes, [
    {
      name: 'm',
      operator: 'Mystery',
      domain: 'com.example',
      inputs: ['x', '', 'w'],
      outputs: ['a', '', 'b'],
      attributes: new Map(),
    },
    {
      name: 'constructor_1',
      operator: 'constructor',
      domain: '',
      inputs: ['b'],
      outputs: ['y'],
      attributes: new Map(),
    },
  ])
  assert.equal(graph.inputs, [{ name: 'x', dtype: 'int64', dims: [null, null] }])
  assert.equal(graph.outputs[0], { name: 'y', dtype: 'bool', dims: [] })
})

const relay = (fixture: Partial<GraphFixture>): Uint8Array =>
  onnxGraph({
    nodes: [{ op: 'Relu', inputs: ['x'], outputs: ['y'] }],
    inputs: { x: { dims: [4] } },
    outputs: { y: { dims: [4] } },
    ...fixture,
  })

test('constants of every element type are read exactly, raw or listed', () => {
  const values: Record<DType, number[]> = {
    bool: [0, 1],
    float16: [-0.5, 65504, 2 ** -24, Number.NEGATIVE_INFINITY],
    float32: [Math.fround(0.1), Number.NEGATIVE_INFINITY],
    float64: [0.1, 2 ** 60],
    int8: [-128, 127],
    int16: [-32768, 32767],
    int32: [-(2 ** 31), 2 ** 31 - 1],
    int64: [-(2 ** 53) + 1, 2 ** 53 - 1, -1, 0],
    uint8: [0, 255],
    uint16: [0, 65535],
    uint32: [0, 2 ** 32 - 1],
  }
  for (const [dtype, data] of Object.entries(values) as [DType, number[]][]) {
    const wanted = constant(dtype, [data.length], data)
    const raw = parseModel(relay({ constants: { w: wanted } })).constants.get('w')
    assert.equal(raw, wanted, dtype)
    if (dtype === 'float16') continue
    const listed = relay({
      constants: { w: wanted },
      edit: ({ graph }) => {
        const tensor = graph!.initializer![0]! as Record<string, unknown>
        delete tensor.rawData
        const field: Partial<Record<DType, string>> = {
          float32: 'floatData',
          float64: 'doubleData',
          int64: 'int64Data',
          uint32: 'uint64Data',
        }
        tensor[field[dtype] ?? 'int32Data'] = data
      },
    })
    assert.equal(parseModel(listed).constants.get('w'), wanted, `${dtype} in a list`)
  }
})

test('integers beyond 2^53 mean the end where they are the largest, and are refused otherwise', () => {
  const holding = (value: bigint): Uint8Array =>
    relay({
      constants: { w: constant('int64', [1], [0]) },
      edit: ({ graph }) => {
        graph!.initializer![0]!.rawData = new Uint8Array(BigInt64Array.of(value).buffer)
      },
    })
  const read = (value: bigint) => parseModel(holding(value)).constants.get('w')!.data[0]
  assert.is(read(2n ** 63n - 1n), Number.MAX_SAFE_INTEGER)
  assert.is(read(-(2n ** 63n)), -Number.MAX_SAFE_INTEGER)
  assert.is(read(2n ** 53n - 1n), 2 ** 53 - 1)
  refused(holding(2n ** 53n), 'MODEL_VALUE')
  refused(holding(-(2n ** 53n)), 'MODEL_VALUE')
})

test('Constant nodes in every form become constants', () => {
  const formed = (key: string, value: NonNullable<GraphFixture['nodes'][number]['attributes']>[string]) =>
    relay({
      nodes: [
        { op: 'Relu', inputs: ['x'], outputs: ['y'] },
        { op: 'Constant', inputs: [], outputs: ['k'], attributes: { [key]: value } },
      ],
    })
  const read = (...args: Parameters<typeof formed>) => parseModel(formed(...args)).constants.get('k')
  const matrix = constant('int8', [2, 2], [1, 2, 3, 4])
  assert.equal(read('value', matrix), matrix)
  assert.equal(read('value_float', { float: 0.5 }), constant('float32', [], [0.5]))
  assert.equal(read('value_floats', { floats: [1, 2] }), constant('float32', [2], [1, 2]))
  assert.equal(read('value_int', -3), constant('int64', [], [-3]))
  assert.equal(read('value_ints', [4, 5]), constant('int64', [2], [4, 5]))
  refused(formed('value_string', 'text'), 'MODEL_DTYPE')
  refused(formed('value_ints', 4), 'MODEL_ATTRIBUTE')
  refused(formed('constructor', 4), 'MODEL_ATTRIBUTE')
})

test('attributes keep their values; subgraphs are left out and named', () => {
  const branch = { name: 'g', node: [], output: [] }
  const graph = parseModel(
    relay({
      nodes: [
        {
          op: 'If',
          inputs: ['x'],
          outputs: ['y'],
          attributes: {
            a: 1,
            b: [1, 2],
            c: 'text',
            d: ['s', 't'],
            e: { float: 0.5 },
            f: { floats: [1.5] },
            g: constant('float32', [1], [2]),
          },
        },
      ],
      edit: ({ graph }) => {
        graph!.node![0]!.attribute!.push({ name: 'then_branch', type: 5, g: branch })
      },
    }),
  )
  const [node] = graph.nodes
  assert.equal(Object.fromEntries(node!.attributes), {
    a: 1,
    b: [1, 2],
    c: 'text',
    d: ['s', 't'],
    e: 0.5,
    f: [1.5],
    g: constant('float32', [1], [2]),
  })
  assert.equal(node!.omitted, ['then_branch'])
  const kind = (type: number): Uint8Array =>
    relay({
      edit: ({ graph: each }) => {
        each!.node![0]!.attribute = [{ name: 'k', type, f: Number.NaN }]
      },
    })
  refused(kind(0), 'MODEL_ATTRIBUTE', 'attribute k of node Relu_0')
  refused(kind(99), 'MODEL_ATTRIBUTE')
  refused(kind(1), 'MODEL_ATTRIBUTE', 'not a number')
  refused(kind(4), 'MODEL_MALFORMED')
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

test('outputs that are repeated, missing or nameless are refused', () => {
  const split = (outputs: string[]) => relay({ nodes: [{ op: 'Split', inputs: ['x'], outputs }] })
  assert.is(parseModel(split(['y', '', 'z'])).nodes.length, 1)
  refused(split(['y', 'y']), 'MODEL_MALFORMED', 'twice')
  refused(split(['x', 'y']), 'MODEL_MALFORMED', 'twice')
  refused(split(['', '']), 'MODEL_MALFORMED', 'no output')
  refused(split([]), 'MODEL_MALFORMED', 'no output')
  const twice = (kind: 'input' | 'output') =>
    relay({ edit: ({ graph }) => void graph![kind]!.push({ ...graph![kind]![0]! }) })
  refused(twice('input'), 'MODEL_MALFORMED', 'share a name')
  refused(twice('output'), 'MODEL_MALFORMED', 'share a name')
})

test('infinities stand in masks only, and what is not a number nowhere', () => {
  const filled = (elements: number, value: number): Uint8Array =>
    relay({ constants: { w: { dims: [elements], dtype: 'float32', data: new Float32Array(elements).fill(value) } } })
  assert.ok(parseModel(filled(2 ** 20, Number.NEGATIVE_INFINITY)))
  refused(filled(2 ** 20 + 1, Number.NEGATIVE_INFINITY), 'MODEL_VALUE')
  refused(filled(1, Number.NaN), 'MODEL_VALUE')
  refused(relay({ constants: { w: constant('bool', [1], [2]) } }), 'MODEL_VALUE')
})

test('impossible and lying shapes are refused', () => {
  refused(onnxModel({ ...relu, input: ['n', 2 ** 40] }), 'MODEL_SHAPE')
  refused(onnxModel({ ...relu, input: [2 ** 20, 2 ** 20] }), 'MODEL_SHAPE')
  refused(onnxModel({ ...relu, input: new Array<number>(MODEL_LIMITS.rank + 1).fill(1) }), 'MODEL_SHAPE')
  assert.equal(parseModel(onnxModel({ ...relu, input: ['n', 'm'] })).inputs[0]!.dims, [null, null])
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
      tensor.dataType = 8
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
        model.graph!.input![0]!.type!.tensorType!.elemType = 8
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

test('an operator set that is named twice is one; two are refused', () => {
  const sets = (...versions: number[]): Uint8Array =>
    onnxModel({
      ...relu,
      edit: (model) => Object.assign(model, { opsetImport: versions.map((version) => ({ domain: '', version })) }),
    })
  assert.is(parseModel(sets(17, 17)).opset, 17)
  refused(sets(17, 18), 'MODEL_OPSET')
  refused(sets(12), 'MODEL_OPSET')
})

test("a graph of other domains only is read, and none of it covered; ONNX's own operators need their set", () => {
  const tree = { op: 'LinearRegressor', inputs: ['x'], output: 'y', domain: 'ai.onnx.ml' }
  const only = (nodes: FixtureNode[]): Uint8Array =>
    onnxModel({ nodes, edit: (model) => Object.assign(model, { opsetImport: [{ domain: 'ai.onnx.ml', version: 3 }] }) })
  const { coverage, uncovered } = describePlan(parseModel(only([tree])))
  assert.is(coverage, 0)
  assert.match(uncovered[0]!.reason, 'ai.onnx.ml LinearRegressor has no canonical meaning')
  refused(only([{ op: 'Relu', inputs: ['x'], output: 'y' }]), 'MODEL_OPSET')
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
  // A name as long as all that is taken, and one byte more.
  const named = (length: number): Uint8Array => field(7, field(2, new Uint8Array(length)))
  refused(named(SCAN_LIMITS.text), 'MODEL_NOT_ONNX')
  refused(named(SCAN_LIMITS.text + 1), 'MODEL_TOO_LARGE')
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

test.run()
