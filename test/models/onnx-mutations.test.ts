import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { foldNode } from '../../models/fold.ts'
import { parseModel } from '../../models/onnx.ts'
import { concat } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { constant, onnxGraph } from './onnx-fixture.ts'

const digits = new Uint8Array(readFileSync(join(import.meta.dirname, '../../models/digits/digits.onnx')))

/** Admission and folding of bytes from a stranger: whatever they are, the outcome is a graph or a coded error. */
function judge(bytes: Uint8Array): string {
  try {
    const { nodes, constants, opset } = parseModel(bytes)
    const budget = { elements: 2 ** 24 }
    for (const node of nodes) {
      const inputs = node.inputs.map((name) => constants.get(name) ?? null)
      foldNode(node, inputs, opset, budget)?.forEach((value, index) => {
        constants.set(node.outputs[index]!, value)
      })
    }
    return 'admitted'
  } catch (error) {
    if (error instanceof SinterError) return error.code
    throw error
  }
}

test('truncated files never crash', () => {
  for (let length = 0; length < digits.length; length += 7) judge(digits.subarray(0, length))
})

type Edit = { at: number; value: number; kind: 'set' | 'drop' | 'add' }

function edited(bytes: Uint8Array, edits: Edit[]): Uint8Array {
  let out: Uint8Array = bytes.slice()
  for (const { at, value, kind } of edits) {
    if (kind === 'set') out[at % out.length] = value
    else if (kind === 'drop') out = concat(out.subarray(0, at), out.subarray(at + 1))
    else out = concat(out.subarray(0, at), Uint8Array.of(value), out.subarray(at))
  }
  return out
}

const editsUpTo = (last: number): fc.Arbitrary<Edit> =>
  fc.record({ at: fc.nat(last), value: fc.nat(255), kind: fc.constantFrom('set', 'drop', 'add') })

test('mutated files never crash', () => {
  const seen = new Set<string>()
  // Half of the edits fall in the structure around the weights, where most of the meaning is.
  const edit = fc.oneof(editsUpTo(digits.length - 1), editsUpTo(1200))
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
      seen.add(judge(edited(digits, edits)))
    }),
    { numRuns: 12_000 },
  )
  assert.ok(seen.size >= 5, `outcomes: ${[...seen]}`)
})

test('mutated shape arithmetic never crashes, and ends in time', () => {
  const list = (...values: number[]) => constant('int64', [values.length], values)
  const bytes = onnxGraph({
    nodes: [
      { op: 'ConstantOfShape', inputs: ['s'], outputs: ['a'], attributes: { value: list(3) } },
      { op: 'Tile', inputs: ['a', 's'], outputs: ['b'] },
      { op: 'Expand', inputs: ['b', 't'], outputs: ['c'] },
      { op: 'Slice', inputs: ['c', 'zero', 's'], outputs: ['d'] },
      { op: 'Pad', inputs: ['d', 'pads'], outputs: ['e'], attributes: { mode: 'reflect' } },
      { op: 'Range', inputs: ['from', 'to', 'step'], outputs: ['f'] },
      { op: 'ReduceSum', inputs: ['e', 'axis'], outputs: ['g'] },
      { op: 'Reshape', inputs: ['x', 's'], outputs: ['y'] },
    ],
    inputs: { x: { dims: [6] } },
    outputs: { y: { dims: [2, 3] } },
    constants: {
      s: list(2, 3),
      t: list(2, 1, 1),
      zero: list(0, 0),
      axis: list(-1),
      pads: list(1, 0, 1, 0, 0, 1),
      from: constant('int64', [], [0]),
      to: constant('int64', [], [9]),
      step: constant('int64', [], [2]),
    },
  })
  assert.is(judge(bytes), 'admitted')
  const started = Date.now()
  fc.assert(
    fc.property(fc.array(editsUpTo(bytes.length - 1), { minLength: 1, maxLength: 6 }), (edits) => {
      judge(edited(bytes, edits))
    }),
    { numRuns: 3000 },
  )
  assert.ok(Date.now() - started < 60_000)
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
