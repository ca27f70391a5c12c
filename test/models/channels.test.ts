import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildManifest } from '../../models/calibrate.ts'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { channelBits, channelTensors, withChannels } from '../../models/channels.ts'
import { allTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import { lowerWhole } from '../../models/lower.ts'
import { parseModel } from '../../models/onnx.ts'
import { evaluatePlan } from '../../models/reference.ts'
import { buildStatements, checkStatement } from '../../models/statements.ts'
import { constant, type GraphFixture, numbers, onnxGraph } from './onnx-fixture.ts'
import { ints, node } from './operator-case.ts'

/** Exponents for single channels: more bits where they are small, and not one bit of the meaning in real numbers changed. */

const WIDTH = 24
const INPUT = 16

/** Channel c of what comes in between is 2^-span·c/WIDTH as large as the first, and what reads it makes up for that. */
function graph(seed: number, span: number): Uint8Array {
  const size = (c: number): number => 2 ** -Math.round((span * ((c * 7 + seed) % WIDTH)) / WIDTH)
  const first = numbers(INPUT * WIDTH, 1, seed).map((x, i) => x * size(i % WIDTH))
  const second = numbers(WIDTH * WIDTH, 0.5, seed + 1).map(
    (x, i) => x * (size(i % WIDTH) / size(Math.floor(i / WIDTH))),
  )
  const last = numbers(WIDTH * 6, 0.5, seed + 2).map((x, i) => x / size(Math.floor(i / 6)))
  const nodes: GraphFixture['nodes'] = [
    node('MatMul', ['x', 'first'], 'a'),
    node('Add', ['a', 'bias'], 'b'),
    node('MatMul', ['b', 'second'], 'c'),
    // A residual stream, read whole, by its mean, and in part.
    node('Add', ['b', 'c'], 'd'),
    node('ReduceMean', ['d', 'axes'], 'mean', { keepdims: 1 }),
    node('Slice', ['d', 'from', 'to', 'axes'], 'part'),
    node('MatMul', ['d', 'last'], 'e'),
    node('Add', ['e', 'mean'], 'f'),
    node('Add', ['f', 'part'], 'y'),
  ]
  return onnxGraph({
    nodes,
    inputs: { x: { dims: ['n', 5, INPUT] } },
    outputs: { y: { dims: ['n', 5, 6] } },
    constants: {
      first: constant('float32', [INPUT, WIDTH], first),
      second: constant('float32', [WIDTH, WIDTH], second),
      last: constant('float32', [WIDTH, 6], last),
      bias: constant(
        'float32',
        [WIDTH],
        numbers(WIDTH, 0.1, seed + 3).map((x, c) => x * size(c)),
      ),
      axes: ints(2),
      from: ints(3),
      to: ints(9),
    },
  })
}

const samplesOf = (seed: number): Float32Array[][] =>
  Array.from({ length: 12 }, (_, i) => [Float32Array.from(numbers(5 * INPUT, 1, 77 * seed + i))])

test('bits of a channel: none near the largest or where nothing was seen, one less than fit, six at most', () => {
  assert.equal(channelBits([1, 0.5, 0.26, 0.25, 0.24, 2 ** -5, 2 ** -20, 0]), [0, 0, 0, 1, 1, 4, 6, 0])
})

test('in real numbers nothing changes, bit for bit', () => {
  let rescaled = 0
  for (let seed = 1; seed <= 12; seed++) {
    const plan = lowerWhole(parseModel(graph(seed, seed)))
    const channels = channelTensors(plan)
    assert.ok(channels.length >= 2)
    const samples = samplesOf(seed)
    const before = evaluatePlan(plan, samples[0]!)
    const sizes = channels.map(({ tensor, count }) => {
      const size = new Float64Array(count)
      before[tensor]!.forEach((x, at) => {
        size[at % count] = Math.max(size[at % count]!, Math.abs(x))
      })
      return size
    })
    const after = evaluatePlan(withChannels(plan, channels, sizes), samples[0]!)
    for (const { tensor } of plan.outputs) assert.equal(after[tensor], before[tensor])
    for (const [i, { tensor, count }] of channels.entries()) {
      const bits = channelBits(sizes[i]!)
      assert.equal(
        after[tensor],
        before[tensor]!.map((x, at) => x * 2 ** bits[at % count]!),
      )
      if (bits.some((each) => each > 0)) rescaled++
    }
  }
  assert.ok(rescaled > 12, `${rescaled} tensors`)
})

test('small channels beside large ones keep their bits; the weights of a manifest say all of it', async () => {
  for (const seed of [1, 2, 3]) {
    const options = { name: 'channels', model: graph(seed, 10), samples: samplesOf(seed) }
    const [one, each] = await Promise.all([
      buildManifest({ ...options, channels: false }),
      buildManifest({ ...options }),
    ])
    const [before, after] = [one, each].map(({ report }) => report.outputs[0]!) as [
      (typeof one.report.outputs)[number],
      (typeof one.report.outputs)[number],
    ]
    assert.is(after.quantum, before.quantum)
    assert.ok(after.relative < before.relative / 4, `${after.relative} after ${before.relative}`)
    const ends = [one, each].map(({ manifest: { ops, tensors } }) => [
      ops.length,
      tensors.map(({ exponent }) => exponent),
    ])
    assert.equal(ends[1], ends[0])
  }
})

test('every statement holds, of inputs far beyond the samples too', async () => {
  const { manifest, weights } = await buildManifest({ name: 'channels', model: graph(5, 10), samples: samplesOf(5) })
  for (const input of [
    Int16Array.from({ length: 5 * INPUT }, (_, i) => ((i * 7_919) % 20_001) - 10_000),
    new Int16Array(5 * INPUT).fill(32_767),
    Int16Array.from({ length: 5 * INPUT }, (_, i) => (i % 2 === 0 ? 32_767 : -32_768)),
  ]) {
    const trace = evaluate(manifest, weights, [input])
    const whole = withServed(manifest, trace, traceOutputs(manifest, trace))
    for (const statement of buildStatements(manifest, weights, allTiles(manifest), flagsOf(manifest, whole), 12_345n))
      assert.ok(checkStatement(statement, (ref) => leafLimbs(manifest, whole, ref) ?? new Uint16Array(64)))
  }
})

test.run()
