import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { int32Slice } from '../../models/access.ts'
import { buildManifest } from '../../models/calibrate.ts'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { allTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import { lowerGraph } from '../../models/lower.ts'
import { parseModel } from '../../models/onnx.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { openSession } from '../../models/session.ts'
import { buildStatements, checkStatement } from '../../models/statements.ts'
import { elementCount } from '../../models/tiling.ts'
import { constant, type GraphFixture, numbers, onnxGraph } from './onnx-fixture.ts'
import {
  type Case,
  type Dims,
  image,
  ints,
  type Node,
  node,
  one,
  positive,
  rows,
  vector,
  weights,
} from './operator-case.ts'
import { ARITHMETIC } from './operator-cases-arithmetic.ts'
import { EDGES } from './operator-cases-edges.ts'
import { FUNCTIONS } from './operator-cases-functions.ts'
import { LAYOUT } from './operator-cases-layout.ts'

/**
 * Each covered operator in the forms that exporters write: the canonical result against ONNX Runtime's, in quanta of the
 * output, and every statement of one evaluation.
 */

const CASES = { ...ARITHMETIC, ...FUNCTIONS, ...LAYOUT, ...EDGES }

const sampleOf = ({ x = vector, z, size = 2, low, ids }: Case, seed: number): Float32Array[] =>
  [x, ...(z ? [z] : [])].map((dims, i) => {
    const drawn = numbers(elementCount(dims.slice(1) as number[]), 1, 31 * seed + i)
    if (ids !== undefined)
      return Float32Array.from(drawn, (u) => Math.min(ids.rows - 1, Math.floor(((u + 1) / 2) * ids.rows)))
    return Float32Array.from(drawn, (u) => (low === undefined ? size * u : low + (size * (u + 1)) / 2))
  })

const fixtureOf = ({ nodes, x = vector, z, y, constants = {}, opset, ids }: Case): GraphFixture => ({
  nodes,
  inputs: { x: { dims: x, ...(ids === undefined ? {} : { dtype: 'int64' }) }, ...(z ? { z: { dims: z } } : {}) },
  outputs: { y: { dims: y, ...(nodes.at(-1)!.op === 'ArgMax' ? { dtype: 'int64' } : {}) } },
  constants,
  opset: opset ?? 18,
})

for (const [name, each] of Object.entries(CASES))
  test(name, async () => {
    const original = onnxGraph(fixtureOf(each))
    const samples = Array.from({ length: 24 }, (_, i) => sampleOf(each, 100 + i))
    const { manifest, weights: file, model } = await buildManifest({ name: 'operator', model: original, samples })
    if (each.kinds !== undefined)
      assert.equal(
        manifest.ops.map((op) => op.kind),
        each.kinds,
      )
    const [output] = manifest.outputs as [(typeof manifest.outputs)[number]]
    const { exponent } = manifest.tensors[output.tensor]!
    const session = await openSession(model, { executionProvider: 'cpu', threads: 1 })
    let worst = 0
    try {
      for (let i = 0; i < 8; i++) {
        const sample = sampleOf(each, 900 + i)
        const inputs = manifest.inputs.map(({ tensor, lookup, shape }, at) => {
          const values = sample[at]!
          if (lookup === null) return quantise(values, manifest.tensors[tensor]!.exponent)
          const table = int32Slice(file, lookup.table)
          const width = shape.at(-1)!
          return Int16Array.from([...values].flatMap((id) => [...table.subarray(id * width, (id + 1) * width)]))
        })
        const fed = Object.fromEntries(
          manifest.inputs.map((input, at) => [
            input.name,
            { data: dequantise(inputs[at]!, manifest.tensors[input.tensor]!.exponent), shape: [1, ...input.shape] },
          ]),
        )
        const served = (await session.run(fed))[output.name]!
        assert.equal(served.shape, [1, ...output.shape])
        const trace = evaluate(manifest, file, inputs)
        const [canonical] = traceOutputs(manifest, trace) as [Int16Array]
        served.data.forEach((value, at) => {
          worst = Math.max(worst, Math.abs(value * 2 ** exponent - canonical[at]!))
        })
        if (i > 0) continue
        const whole = withServed(manifest, trace, traceOutputs(manifest, trace))
        for (const statement of buildStatements(manifest, file, allTiles(manifest), flagsOf(manifest, whole), 12_345n))
          assert.ok(checkStatement(statement, (ref) => leafLimbs(manifest, whole, ref) ?? new Uint16Array(64)))
      }
    } finally {
      await session.dispose()
    }
    assert.ok(worst <= each.quanta, `${worst.toFixed(2)} quanta of 2^-${exponent}, at most ${each.quanta} are expected`)
    assert.ok(worst <= output.tolerance.quanta, `${worst.toFixed(2)} quanta, τ ${output.tolerance.quanta}`)
  })

/** Forms just beyond what is covered: the node is named, nothing is thrown, and what does not depend on it is lowered. */
const BEYOND: Record<string, { nodes: Node[]; constants?: GraphFixture['constants']; x?: Dims; reason: RegExp }> = {
  'an operator without a meaning': { nodes: [one('NonMaxSuppression')], reason: /no canonical meaning/ },
  'an operator of another domain': { nodes: [{ ...one('Relu'), domain: 'com.example' }], reason: /com.example/ },
  'a cubic resize': {
    nodes: [one('Resize', { mode: 'cubic' }, ['x', '', 's'])],
    x: image,
    constants: { s: constant('float32', [4], [1, 1, 2, 2]) },
    reason: /interpolates/,
  },
  'an ArgMax along the batch': {
    nodes: [node('ArgMax', ['x'], 'a', { axis: 0 }), node('Cast', ['a'], 'y', { to: 1 })],
    reason: /along the batch/,
  },
  'weights that are computed': {
    nodes: [node('Relu', ['x'], 'w'), node('Conv', ['x', 'w'], 'y')],
    x: image,
    reason: /not constant/,
  },
  'a mask that is computed': { nodes: [one('Where', {}, ['x', 'x', 'x'])], reason: /not constant/ },
  'a choice between other numbers than what decides': {
    nodes: [node('Greater', ['x', 'c'], 'm'), node('Relu', ['x'], 'a'), node('Where', ['m', 'z', 'a'], 'y')],
    constants: { c: constant('float32', [], [0]), z: weights([24]) },
    reason: /chooses from a constant tensor/,
  },
  'a comparison that is multiplied': {
    nodes: [node('Greater', ['x', 'c'], 'm'), node('Cast', ['m'], 'y', { to: 1 })],
    constants: { c: constant('float32', [], [0]) },
    reason: /not computed from numbers/,
  },
  'levels that are read as the integers they are': {
    nodes: [node('QuantizeLinear', ['x', 's'], 'q'), node('Cast', ['q'], 'y', { to: 1 })],
    constants: { s: constant('float32', [], [0.1]) },
    reason: /quantised integers/,
  },
  'a function that jumps': {
    nodes: [node('Floor', ['x'], 'f'), node('Mul', ['f', 'z'], 'y')],
    reason: /jumps/,
    constants: { z: weights([24]) },
  },
  'a choice that jumps': {
    nodes: [node('Greater', ['x', 'c'], 'm'), node('Where', ['m', 'x', 'd'], 'a'), node('Mul', ['a', 'z'], 'y')],
    constants: { c: constant('float32', [], [0.5]), d: constant('float32', [], [0]), z: weights([24]) },
    reason: /jumps/,
  },
  'a constant of other rows, joined': {
    nodes: [one('Concat', { axis: 2 }, ['x', 'c'])],
    x: rows,
    constants: { c: weights([1, 4, 2]) },
    reason: /joins tensors of/,
  },
  'an order of other axes': { nodes: [one('Transpose', { perm: [0, 1] })], x: rows, reason: /does not order 3 axes/ },
  'a slice that stands still': {
    nodes: [one('Slice', {}, ['x', 's', 'e', 'a', 's'])],
    constants: { s: ints(0), e: ints(4), a: ints(1) },
    reason: /step of 0/,
  },
  'a slice of more starts than ends': {
    nodes: [one('Slice', {}, ['x', 's', 'e'])],
    constants: { s: ints(0, 1), e: ints(4) },
    reason: /differ in number/,
  },
  'blocks that do not divide': {
    nodes: [one('DepthToSpace', { blocksize: 3 })],
    x: image,
    reason: /cannot make blocks of 3/,
  },
  'indices that are no integers': {
    nodes: [one('Gather', { axis: 1 }, ['x', 'i'])],
    constants: { i: constant('float32', [1], [0.5]) },
    reason: /no integers/,
  },
  'a shape that is no integers': {
    nodes: [one('Reshape', {}, ['x', 'i'])],
    constants: { i: constant('float32', [2], [1, 24]) },
    reason: /int64 or int32/,
  },
  'a Gemm of more than matrices': {
    nodes: [one('Gemm', {}, ['x', 'w'])],
    x: rows,
    constants: { w: weights([12, 2]) },
    reason: /no matrix/,
  },
  'the weights of no group': {
    nodes: [one('ConvTranspose', { group: -1 }, ['x', 'w'])],
    x: image,
    constants: { w: weights([4, 1, 3, 3]) },
    reason: /do not fit an input/,
  },
  'weights of other channels': {
    nodes: [one('Conv', {}, ['x', 'w'])],
    x: image,
    constants: { w: weights([4, 5, 3, 3]) },
    reason: /input channels/,
  },
  'a window larger than the image': { nodes: [one('MaxPool', { kernel_shape: [10, 3] })], x: image, reason: /larger/ },
  'training mode': {
    nodes: [one('BatchNormalization', { training_mode: 1 }, ['x', 'g', 'g', 'g', 'g'])],
    x: image,
    constants: { g: positive([4]) },
    reason: /training/,
  },
}

for (const [name, { nodes, constants, x, reason }] of Object.entries(BEYOND))
  test(`not covered: ${name}`, () => {
    const model = onnxGraph({
      nodes: [...nodes, node('Relu', ['x'], 'other'), node('Relu', ['y'], 'after')],
      inputs: { x: { dims: x ?? vector } },
      outputs: { after: { dims: ['n'] }, other: { dims: x ?? vector } },
      ...(constants === undefined ? {} : { constants }),
    })
    const { plan, uncovered } = lowerGraph(parseModel(model))
    assert.match(uncovered[0]!.reason, reason)
    assert.match(uncovered.at(-1)!.reason, /^after /)
    assert.equal(
      plan.outputs.map((output) => output.name),
      ['other'],
    )
    assert.is(plan.ops.length, 1)
  })

test.run()
