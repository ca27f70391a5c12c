/** Models and inputs made to hurt a provider: each ends in a coded error, soon and in little memory, before and behind admission. */
import pino from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits } from '../../models/digits.ts'
import { admitModel } from '../../models/lower.ts'
import { decodeModel, encodeModel, type NodeProto } from '../../models/onnx.ts'
import { placements } from '../../node/exec/devices.ts'
import { createExecutor } from '../../node/exec/host.ts'
import { quantisedInputs } from '../../node/jobs/tensors.ts'
import { batchRows, checkResources, resourcesOf } from '../../node/model/resources.ts'
import { createRuntimes } from '../../node/model/runtimes.ts'
import { errorCode } from '../../protocol/errors.ts'
import { onnxModel } from '../models/onnx-fixture.ts'
import { model as digitsModel } from './session-world.ts'

const log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' })
const code = (work: () => unknown): string => {
  try {
    work()
    return 'none'
  } catch (error) {
    return errorCode(error)
  }
}

/** A loop without end: its condition is always true, and its count the largest there is. */
function endlessLoop(): Uint8Array {
  const end = (name: string, elemType: number, dims: { dimValue?: number; dimParam?: string }[]) => ({
    name,
    type: { tensorType: { elemType, shape: { dim: dims } } },
  })
  const body = {
    name: 'body',
    node: [
      { opType: 'Identity', input: ['again'], output: ['more'] },
      { opType: 'Add', input: ['state', 'state'], output: ['next'] },
    ],
    input: [end('i', 7, []), end('again', 9, []), end('state', 1, [{ dimParam: 'n' }, { dimValue: 4 }])],
    output: [end('more', 9, []), end('next', 1, [{ dimParam: 'n' }, { dimValue: 4 }])],
  }
  return onnxModel({
    nodes: [{ op: 'Loop', inputs: ['', 'on', 'x'], output: 'y' }],
    edit(file) {
      const [node] = file.graph!.node as NodeProto[]
      node!.attribute = [{ name: 'body', type: 5, g: body }]
      file.graph!.initializer = [{ name: 'on', dims: [], dataType: 9, rawData: Uint8Array.of(1) }]
    },
  })
}

/** The branch that is taken holds the same thing again, many levels deep. */
function deepBranches(depth: number): Uint8Array {
  let inner: object = { name: 'leaf', node: [{ opType: 'Relu', input: ['x'], output: ['y'] }], output: [{ name: 'y' }] }
  for (let i = 0; i < depth; i++)
    inner = {
      name: `level${i}`,
      node: [
        {
          opType: 'If',
          input: ['on'],
          output: ['y'],
          attribute: [
            { name: 'then_branch', type: 5, g: inner },
            { name: 'else_branch', type: 5, g: { name: 'e' } },
          ],
        },
      ],
      output: [{ name: 'y' }],
    }
  return onnxModel({
    nodes: [{ op: 'If', inputs: ['on'], output: 'y' }],
    edit(file) {
      file.graph!.node![0]!.attribute = [{ name: 'then_branch', type: 5, g: inner as never }]
      file.graph!.initializer = [{ name: 'on', dims: [], dataType: 9, rawData: Uint8Array.of(1) }]
    },
  })
}

const constantOfShape = (shape: number[]) =>
  onnxModel({
    nodes: [
      { op: 'ConstantOfShape', inputs: ['shape'], output: 'huge' },
      { op: 'ReduceMax', inputs: ['huge'], output: 'most' },
      { op: 'Add', inputs: ['x', 'most'], output: 'y' },
    ],
    ints: { shape },
  })

/** Files with what admission says of each: none of them reaches the runtime. */
const FILES: [what: string, code: string, file: () => Uint8Array][] = [
  ['a loop without end', 'MODEL_UNCOVERED', endlessLoop],
  ['branches in branches', 'MODEL_TOO_LARGE', () => deepBranches(60)],
  ['a tensor of 2^40 elements, made from a shape', 'MODEL_UNCOVERED', () => constantOfShape([2 ** 20, 2 ** 20])],
  ['a tensor of 2 GiB, made from a shape', 'MODEL_UNCOVERED', () => constantOfShape([2 ** 29])],
  [
    'a thousand tensors of 2^24 elements',
    'MODEL_UNCOVERED',
    () =>
      onnxModel({
        nodes: [
          ...Array.from({ length: 1_000 }, (_, i) => ({ op: 'ConstantOfShape', inputs: ['shape'], output: `c${i}` })),
          { op: 'Relu', inputs: ['x'], output: 'y' },
        ],
        ints: { shape: [2 ** 24] },
      }),
  ],
  [
    'an expansion to 2^34 elements',
    'MODEL_SHAPE',
    () =>
      onnxModel({
        nodes: [{ op: 'Expand', inputs: ['x', 'to'], output: 'y' }],
        ints: { to: [1, 2 ** 32, 4] },
        output: ['n', 2 ** 26, 4],
      }),
  ],
  [
    'tiles upon tiles',
    'MODEL_SHAPE',
    () =>
      onnxModel({
        nodes: Array.from({ length: 12 }, (_, i) => ({
          op: 'Tile',
          inputs: [i === 0 ? 'x' : `h${i}`, 'by'],
          output: i === 11 ? 'y' : `h${i + 1}`,
        })),
        ints: { by: [1, 16] },
        output: ['n', 4],
      }),
  ],
  [
    'an image enlarged a million times',
    'MODEL_SHAPE',
    () =>
      onnxModel({
        nodes: [{ op: 'Resize', inputs: ['x', '', 'by'], output: 'y', attributes: { mode: 'nearest' } }],
        floats: { by: { dims: [4], data: [1, 1, 1_000, 1_000] } },
        input: ['n', 1, 64, 64],
        output: ['n', 1, 64_000, 64_000],
      }),
  ],
  [
    'padding by a billion',
    'MODEL_SHAPE',
    () =>
      onnxModel({
        nodes: [{ op: 'Pad', inputs: ['x', 'by'], output: 'y' }],
        ints: { by: [0, 2 ** 30, 0, 2 ** 30] },
        output: ['n', 4],
      }),
  ],
  [
    'weights of 2 GiB that are not there',
    'MODEL_SHAPE',
    () =>
      onnxModel({
        nodes: [{ op: 'Add', inputs: ['x', 'w'], output: 'y' }],
        edit(file) {
          file.graph!.initializer = [{ name: 'w', dims: [2 ** 29], dataType: 1, rawData: new Uint8Array(4) }]
        },
      }),
  ],
  [
    'weights in another file',
    'MODEL_EXTERNAL_DATA',
    () =>
      onnxModel({
        nodes: [{ op: 'Add', inputs: ['x', 'w'], output: 'y' }],
        edit(file) {
          const entry = { key: 'location', value: '../../../../etc/passwd' }
          file.graph!.initializer = [{ name: 'w', dims: [4], dataType: 1, dataLocation: 1, externalData: [entry] }]
        },
      }),
  ],
  [
    'weights that are no numbers',
    'MODEL_VALUE',
    () =>
      onnxModel({
        nodes: [{ op: 'Add', inputs: ['x', 'w'], output: 'y' }],
        floats: { w: { dims: [4], data: [1, Number.NaN, 3, 4] } },
      }),
  ],
  [
    'an operator from a library of its own',
    'MODEL_UNCOVERED',
    () => onnxModel({ nodes: [{ op: 'Run', domain: 'evil', inputs: ['x'], output: 'y' }] }),
  ],
]

test('hostile files are refused before anything of them is loaded, in bounded time and memory', () => {
  const ends = { inputs: digitsModel.manifest.inputs, outputs: digitsModel.manifest.outputs }
  const before = process.memoryUsage.rss()
  for (const [what, expected, file] of FILES) {
    const bytes = file()
    const started = process.cpuUsage()
    const found = code(() => admitModel(bytes, ends))
    const { user, system } = process.cpuUsage(started)
    assert.is(found, expected, what)
    assert.ok((user + system) / 1e6 < 5, `${what} took ${(user + system) / 1e6} s of processor`)
  }
  assert.ok(process.memoryUsage.rss() - before < 600e6)
})

test('a manifest that asks for more memory or time than there is ends before its file is fetched', async () => {
  const limits = { memoryMib: 1_024, timeoutMs: 30_000 }
  const { manifest } = digitsModel
  checkResources(resourcesOf(manifest), limits)
  const heavy = { ...manifest, model: { ...manifest.model, bytes: 300 * 2 ** 20 } }
  assert.is(
    code(() => checkResources(resourcesOf(heavy), limits)),
    'MODEL_TOO_LARGE',
  )
  // The last that fits and the first that does not.
  const { bytes } = resourcesOf(manifest)
  const exact = Math.ceil(bytes / 2 ** 20)
  assert.is(
    code(() => checkResources(resourcesOf(manifest), { ...limits, memoryMib: exact })),
    'none',
  )
  assert.is(
    code(() => checkResources(resourcesOf(manifest), { ...limits, memoryMib: exact - 1 })),
    'MODEL_TOO_LARGE',
  )
  const wide = structuredClone(manifest)
  wide.tensors[0] = { ...wide.tensors[0]!, shape: [2 ** 28] }
  assert.is(
    code(() => checkResources(resourcesOf(wide), limits)),
    'MODEL_TOO_LARGE',
  )
  const slow = { ...manifest, units: 2 ** 33 }
  assert.is(
    code(() => checkResources(resourcesOf(slow), { ...limits, timeoutMs: 15_000 })),
    'MODEL_TOO_SLOW',
  )
  // Rows of 128 MiB and a bit: three fit where one does with 300 MiB to spare.
  const rows = structuredClone(manifest)
  rows.tensors[0] = { ...rows.tensors[0]!, shape: [2 ** 24] }
  const one = resourcesOf(rows)
  assert.is(batchRows(rows, one, Math.ceil(one.bytes / 2 ** 20)), 1)
  assert.is(batchRows(rows, one, Math.ceil(one.bytes / 2 ** 20) + 300), 3)
  assert.is(batchRows(slow, resourcesOf(slow), 4_096), 1)
  let fetched = false
  const runtimes = createRuntimes({
    library: {
      load: async () => ({ ...digitsModel, manifest: heavy }),
      onnx: async () => {
        fetched = true
        return loadDigits().model
      },
    },
    content: { provide: async () => {}, pin: () => () => {} },
    executionProvider: 'cpu',
    placements: placements({ executionProvider: 'cpu' }),
    memoryMib: 512,
    proving: { draws: 4, tileDraws: 4, attestWindowS: 300, traceWindowS: 60, voteWindowS: 60, leafS: 1e-4 },
    adapt: (real) => real,
    now: Date.now,
    log,
  })
  assert.is(await runtimes.get('a').then(() => 'none', errorCode), 'MODEL_TOO_LARGE')
  assert.is(fetched, false)
  await runtimes.close()
})

test('behind admission the process ends what never ends, and what eats memory', async () => {
  const loop = await createExecutor({
    ...{ model: endlessLoop(), executionProvider: 'cpu', threads: 1, log },
    ...{ timeoutMs: 1_500, memoryMb: 1_024 },
  })
  const x = { x: { data: new Float32Array(4), shape: [1, 4] } }
  assert.is(await loop.run(x).then(() => 'none', errorCode), 'EXEC_TIMEOUT')
  await loop.close()
  // Folded at loading by the runtime, or made in the run: either way it costs this process only.
  const huge = await createExecutor({
    ...{ model: constantOfShape([2 ** 33]), executionProvider: 'cpu', threads: 1, log },
    ...{ timeoutMs: 30_000, memoryMb: 512 },
  }).then(async (executor) => {
    const outcome = await executor.run(x).then(() => 'none', errorCode)
    await executor.close()
    return outcome
  }, errorCode)
  assert.ok(['EXEC_MEMORY', 'RUN_FAILED', 'MODEL_LOAD'].includes(huge), huge)
})

test('inputs that are no numbers, lie about their shape or have none are refused with their code', () => {
  const { manifest } = digitsModel
  const [end] = manifest.inputs
  const tensor = (shape: number[], data: Uint8Array) => ({ name: end!.name, type: 'float32', shape, data })
  const good = new Uint8Array(new Float32Array(64).buffer)
  const storm = new Uint8Array(new Float32Array(64).fill(Number.NaN).buffer)
  const judged = (...given: Parameters<typeof quantisedInputs>[1]) => code(() => quantisedInputs(manifest, given))
  assert.is(judged(tensor(end!.shape, good)), 'none')
  assert.is(judged(tensor(end!.shape, storm)), 'INPUT_NAN')
  assert.match(judged(tensor([2 ** 31], good)), /^TENSOR_/)
  assert.match(judged(tensor(end!.shape, good.subarray(1))), /^TENSOR_/)
  assert.match(judged(tensor([0], new Uint8Array())), /^TENSOR_/)
  assert.match(judged(), /^TENSOR_/)
  assert.match(judged(tensor(end!.shape, good), tensor(end!.shape, good)), /^TENSOR_/)
  // As large as numbers get: saturated, not overflowed.
  const [quantised] = quantisedInputs(manifest, [
    tensor(end!.shape, new Uint8Array(new Float32Array(64).fill(3.4e38).buffer)),
  ])
  assert.ok(quantised!.every((value) => value === 32_767))
})

test('what an ONNX file hides from the parser is not served: a copy under another encoding', () => {
  const { model: file, manifest } = loadDigits()
  admitModel(file, manifest)
  const proto = decodeModel(file)
  const first = proto.graph!.node![0]!
  proto.graph!.node = [...proto.graph!.node!, { ...first, name: 'twice' }]
  assert.is(
    code(() => admitModel(encodeModel(proto), manifest)),
    'MODEL_MALFORMED',
  )
})

test.run()
