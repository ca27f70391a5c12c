import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildManifest } from '../../models/calibrate.ts'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { allTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import { buildStatements, checkStatement } from '../../models/statements.ts'
import { numbers, onnxGraph } from './onnx-fixture.ts'
import { node } from './operator-case.ts'

/** The index of the largest value as ops of the graph: exact on every input, to the last quantum. */

const LENGTH = 70

const built = async (last: number) =>
  buildManifest({
    name: 'argmax',
    model: onnxGraph({
      nodes: [
        node('ArgMax', ['x'], 'a', { axis: 1, keepdims: 0, select_last_index: last }),
        node('Cast', ['a'], 'f', { to: 1 }),
        // Read by something, so that nothing of it stands at the end.
        node('Relu', ['f'], 'y'),
      ],
      inputs: { x: { dims: ['n', LENGTH] } },
      outputs: { y: { dims: ['n'] } },
    }),
    samples: Array.from({ length: 8 }, (_, i) => [Float32Array.from(numbers(LENGTH, 2, i))]),
  })

const { manifest, weights } = await built(0)
const lastOf = await built(1)

function inputs(): [string, Int16Array][] {
  const low = new Int16Array(LENGTH).fill(-32_768)
  const with_ = (base: Int16Array, changes: Record<number, number>): Int16Array => {
    const out = base.slice()
    for (const [at, value] of Object.entries(changes)) out[Number(at)] = value
    return out
  }
  const high = new Int16Array(LENGTH).fill(32_766)
  return [
    ['all equal', new Int16Array(LENGTH)],
    ['all at the bottom', low],
    ['the first', with_(high, { 0: 32_767 })],
    ['the last, one quantum above all others', with_(high, { [LENGTH - 1]: 32_767 })],
    ['two of them, one quantum above', with_(high, { 13: 32_767, 66: 32_767 })],
    ['from one end of 16 bits to the other', with_(low, { 64: 32_767, 65: 32_767 })],
    ['equal ones in both windows', with_(new Int16Array(LENGTH), { 63: 1, 64: 1, 3: -1 })],
    ['a staircase', Int16Array.from({ length: LENGTH }, (_, i) => -Math.abs(i - 35) >> 1)],
  ]
}

for (const [name, values] of inputs())
  test(`${name}`, () => {
    const top = Math.max(...values)
    for (const [of, expected] of [
      [{ manifest, weights }, values.indexOf(top)],
      [lastOf, values.lastIndexOf(top)],
    ] as const) {
      const trace = evaluate(of.manifest, of.weights, [values])
      const [output] = of.manifest.outputs as [(typeof manifest.outputs)[number]]
      const [canonical] = traceOutputs(of.manifest, trace) as [Int16Array]
      assert.is(canonical[0]! / 2 ** of.manifest.tensors[output.tensor]!.exponent, expected)
    }
  })

test('the second of two equal values is no index that can be proven', () => {
  const values = new Int16Array(LENGTH)
  values[20] = 500
  values[40] = 500
  const honest = evaluate(manifest, weights, [values])
  const falseAt = (trace: typeof honest): number => {
    const whole = withServed(manifest, trace, traceOutputs(manifest, trace))
    const statements = buildStatements(manifest, weights, allTiles(manifest), flagsOf(manifest, whole), 12_345n)
    const limbs = (ref: Parameters<typeof leafLimbs>[2]) => leafLimbs(manifest, whole, ref) ?? new Uint16Array(64)
    return statements.filter((statement) => !checkStatement(statement, limbs)).length
  }
  assert.is(falseAt(honest), 0)
  // The first one's mark is left out, and everything after it follows from that.
  const other = values.slice()
  other[20] = 499
  const from = manifest.ops.find((op) => op.kind === 'table' && op.function === 'IsZero')!.output
  const tale = evaluate(manifest, weights, [other])
  const ids = new Set(manifest.ops.slice(manifest.ops.findIndex((op) => op.output === from)).map((op) => op.output))
  const cheat = { tensors: honest.tensors.map((each, id) => (ids.has(id) ? tale.tensors[id]! : each)) }
  assert.not.equal(traceOutputs(manifest, cheat), traceOutputs(manifest, honest))
  assert.is(falseAt(cheat), 1)
})

test.run()
