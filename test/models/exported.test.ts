import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildManifest } from '../../models/calibrate.ts'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { describePlan } from '../../models/describe.ts'
import { allTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import { firstLargest, givenInputs, inputValues } from '../../models/lookup.ts'
import { admitModel, OPERATORS } from '../../models/lower.ts'
import { parseModel } from '../../models/onnx.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { openSession } from '../../models/session.ts'
import { buildStatements, checkStatement } from '../../models/statements.ts'
import { elementCount } from '../../models/tiling.ts'
import { assetPath } from '../../protocol/assets.ts'
import { numbers } from './onnx-fixture.ts'

/**
 * Graphs as real exporters write them (exported/generate.py: PyTorch's two exporters and ONNX Runtime's quantiser, operator
 * sets 13 to 21): each is covered whole, its canonical result is ONNX Runtime's, and all its statements hold.
 */

type Exported = {
  file: string
  opset: number
  inputs: { name: string; type: string; shape: number[]; range: [number, number] }[]
  outputs: { name: string; type: string; shape: number[] }[]
  operators: Record<string, number>
}

const read = (file: string): Uint8Array => new Uint8Array(readFileSync(assetPath(`test/models/exported/${file}`)))
const { files } = JSON.parse(new TextDecoder().decode(read('exported.json'))) as { files: Exported[] }

/** The canonical result may be off by this share of the output (relative L2 over 8 samples), in thousandths. */
const OFF: Record<string, number> = {
  'convolutions-13': 0.3,
  'convolutions-18': 0.3,
  'normalised-15': 3,
  'normalised-21': 3,
  'pools-13': 0.1,
  'pools-20': 0.1,
  'moves-17': 0.2,
  'moves-18': 0.2,
  // One exponential of up to e^9 beside functions within 1: they share an exponent.
  'activations-15': 20,
  'activations-20': 20,
  'gelus-13': 8,
  'gelus-20': 8,
  'attention-17': 1,
  'attention-18': 1,
  'classifier-17': 1,
  'classifier-21': 1,
  'arithmetic-15': 3,
  'reductions-18': 0.3,
  // A level that rounds the other way is a step of the output itself.
  'quantised-13': 8,
  'quantised-21': 8,
}

/** Operators that the network promises to cover. */
const PROMISED = [
  ...['MatMul', 'Gemm', 'Conv', 'ConvTranspose', 'Add', 'Sub', 'Mul', 'Div', 'Pow', 'Sqrt', 'Reciprocal', 'Relu'],
  ...['LeakyRelu', 'Clip', 'Sigmoid', 'Tanh', 'Erf', 'Gelu', 'HardSwish', 'HardSigmoid', 'Exp', 'Softmax'],
  ...['LayerNormalization', 'BatchNormalization', 'InstanceNormalization', 'MaxPool', 'AveragePool'],
  ...['GlobalAveragePool', 'ReduceMean', 'ReduceSum', 'ReduceMax', 'ArgMax', 'Concat', 'Split', 'Slice', 'Gather'],
  ...['Transpose', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Expand', 'Pad', 'Resize', 'Where', 'Cast'],
  ...['QuantizeLinear', 'DequantizeLinear'],
]

test('every operator that is promised stands in a graph of an exporter and has a meaning here', () => {
  const written = new Set(files.flatMap(({ operators }) => Object.keys(operators)))
  assert.equal(
    PROMISED.filter((operator) => !written.has(operator)),
    [],
    'in no exported graph',
  )
  assert.equal(
    PROMISED.filter((operator) => !OPERATORS.includes(operator)),
    [],
    'without a lowering',
  )
})

function drawn({ inputs }: Exported, seed: number): Float32Array[] {
  return inputs.map(({ type, shape, range: [low, high] }, i) =>
    Float32Array.from(numbers(elementCount(shape), 0.5, 97 * seed + i), (u) =>
      type === 'int64' ? Math.floor(low + (u + 0.5) * (high - low + 1)) : low + (u + 0.5) * (high - low),
    ),
  )
}

for (const each of files) {
  const name = each.file.replace('.onnx', '')
  test(`${name}: covered whole, canonical close to float, all statements hold`, async () => {
    const original = read(each.file)
    const graph = parseModel(original)
    assert.is(graph.opset, each.opset)
    const described = describePlan(graph)
    // Constant nodes are constants once they are read.
    const { Constant, ...operators } = each.operators
    assert.equal(described.operators, operators)
    assert.equal(described.uncovered, [])
    assert.is(described.coverage, 1)

    const samples = Array.from({ length: 24 }, (_, i) => drawn(each, 1 + i))
    const { manifest, weights, model } = await buildManifest({ name, model: original, samples })
    assert.equal(
      givenInputs(manifest).map(({ name: given, shape }) => ({ name: given, shape: [1, ...shape] })),
      each.inputs.map(({ name: given, shape }) => ({ name: given, shape })),
    )
    // What is published is what a provider admits.
    admitModel(model, manifest)
    const [output] = manifest.outputs as [(typeof manifest.outputs)[number]]
    const { exponent } = manifest.tensors[output.tensor]!
    const session = await openSession(model, { executionProvider: 'cpu', threads: 1 })
    let [square, whole, worst] = [0, 0, 0]
    try {
      for (let i = 0; i < 8; i++) {
        const values = inputValues(manifest, weights, drawn(each, 500 + i))
        const inputs = values.map((given, at) =>
          quantise(given, manifest.tensors[manifest.inputs[at]!.tensor]!.exponent),
        )
        const fed = Object.fromEntries(
          manifest.inputs.map(({ name: given, tensor, shape }, at) => [
            given,
            { data: dequantise(inputs[at]!, manifest.tensors[tensor]!.exponent), shape: [1, ...shape] },
          ]),
        )
        const served = (await session.run(fed))[output.name]!
        assert.equal(served.shape, [1, ...output.shape])
        const trace = evaluate(manifest, weights, inputs)
        const [canonical] = traceOutputs(manifest, trace) as [Int16Array]
        served.data.forEach((value, at) => {
          const off = value * 2 ** exponent - canonical[at]!
          worst = Math.max(worst, Math.abs(off))
          square += off ** 2
          whole += (value * 2 ** exponent) ** 2
        })
        if (output.argmax !== null) {
          const chosen = firstLargest(served.data, output.shape, output.argmax.axis)
          assert.is(chosen.length, elementCount(each.outputs[0]!.shape))
          assert.ok(served.data.every((value) => value <= served.data[chosen[0]!]!))
        }
        if (i > 0) continue
        const complete = withServed(manifest, trace, [canonical])
        for (const statement of buildStatements(
          manifest,
          weights,
          allTiles(manifest),
          flagsOf(manifest, complete),
          77n,
        ))
          assert.ok(checkStatement(statement, (ref) => leafLimbs(manifest, complete, ref) ?? new Uint16Array(64)))
      }
    } finally {
      await session.dispose()
    }
    // A model of levels: one that rounds the other way is no fault, whether calibration met such a case or not.
    const last = graph.nodes.at(-1)!
    if (last.operator === 'DequantizeLinear')
      assert.ok(output.tolerance.quanta > graph.constants.get(last.inputs[1]!)!.data[0]! * 2 ** exponent)
    const off = 1000 * Math.sqrt(square / whole)
    assert.ok(off <= OFF[name]!, `${off.toFixed(2)} thousandths off, at most ${OFF[name]} are expected`)
    assert.ok(worst <= output.tolerance.quanta, `${worst.toFixed(1)} quanta off, τ is ${output.tolerance.quanta}`)
  })
}

test('a graph that ends in an operator outside the list is covered up to there, and the node is named', () => {
  const graph = parseModel(read('gelus-20.onnx'))
  const whole = describePlan(graph)
  const last = graph.nodes.at(-1)!
  last.operator = 'Det'
  const { uncovered, coverage, multiplyAdds } = describePlan(graph)
  assert.equal(uncovered, [
    { node: last.name, operator: 'Det', code: 'MODEL_UNCOVERED', reason: 'Det has no canonical meaning' },
  ])
  assert.ok(coverage > 0.99 && coverage < 1, `coverage ${coverage}`)
  assert.ok(multiplyAdds > 0.9 * whole.multiplyAdds && multiplyAdds < whole.multiplyAdds)
})

test.run()
