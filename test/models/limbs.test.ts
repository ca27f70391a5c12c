import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PRE_LIMIT } from '../../models/bounds.ts'
import { evaluate, type TensorTrace, traceOutputs, withServed } from '../../models/canonical.ts'
import { flagsOf, leafCount, leafLimbs, tensorLeaf, valueLeaf } from '../../models/limbs.ts'
import { elementCount, saturates } from '../../models/tiling.ts'
import type { Tree } from '../../protocol/statement.ts'
import { randomModel } from './random-model.ts'

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 })

function served(seed: number) {
  const model = randomModel(seed)
  const trace = evaluate(model.manifest, model.weights, model.inputs)
  return { ...model, trace: withServed(model.manifest, trace, traceOutputs(model.manifest, trace)) }
}

test('leaves hold the whole tensor in offset binary, then zeros', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, trace } = served(seed)
      manifest.tensors.forEach((tensor, id) => {
        const { value } = trace.tensors[tensor.viewOf ?? id]!
        const leaves = leafCount(manifest, id, 0)
        assert.is(leaves, Math.ceil(elementCount(tensor.shape) / 64))
        const limbs = Array.from(
          { length: leaves },
          (_, index) => leafLimbs(manifest, trace, { tensor: id, tree: 0, index })!,
        )
        const flat = limbs.flatMap((leaf) => Array.from(leaf))
        assert.is(flat.length, 64 * leaves)
        if (value instanceof Int16Array)
          limbs.forEach((leaf, index) => {
            assert.equal(valueLeaf(value, index), leaf)
          })
        const wide = tensor.bits === 32
        flat.forEach((limb, i) => {
          const high = wide
            ? leafLimbs(manifest, trace, { tensor: id, tree: 4, index: Math.floor(i / 64) })![i % 64]!
            : 0
          const limbs = limb + 65_536 * high
          assert.is(limbs, i < value.length ? value[i]! + (wide ? 2 ** 31 : 32_768) : 0)
        })
      })
    }),
    { numRuns: 60 },
  )
})

test('remainders are raw; unclamped pairs give the value back by the clamp rule and stand only where a tile is flagged', () => {
  let pairs = 0
  fc.assert(
    fc.property(seeds, (seed) => {
      const { manifest, trace } = served(seed)
      const flagged = flagsOf(manifest, trace)
      for (const { output: tensor } of manifest.ops.filter((op) => saturates(manifest, op) && op.kind !== 'divide')) {
        const { value, rem, pre } = trace.tensors[tensor]!
        assert.is(leafCount(manifest, tensor, 1), rem === null ? 0 : leafCount(manifest, tensor, 0))
        assert.is(leafCount(manifest, tensor, 2), 2 * leafCount(manifest, tensor, 0))
        for (let tile = 0; tile < leafCount(manifest, tensor, 0); tile++) {
          const raw = rem === null ? null : leafLimbs(manifest, trace, { tensor, tree: 1, index: tile })!
          const lo = leafLimbs(manifest, trace, { tensor, tree: 2, index: 2 * tile })
          const hi = leafLimbs(manifest, trace, { tensor, tree: 2, index: 2 * tile + 1 })
          assert.is(lo === null, !flagged(tensor, tile))
          assert.is(hi === null, !flagged(tensor, tile))
          for (let j = 0; j < 64; j++) {
            const i = 64 * tile + j
            if (raw !== null) assert.is(raw[j], i < value.length ? rem![i] : 0)
            if (lo === null || hi === null) continue
            if (i >= value.length) {
              assert.equal([lo[j], hi[j]], [0, 0])
              continue
            }
            assert.is(lo[j]! + 65_536 * (hi[j]! - 32_768) - 32_768, pre![i])
            assert.is(hi[j] === 32_768 ? lo[j] : hi[j]! > 32_768 ? 65_535 : 0, value[i]! + 32_768)
            pairs++
          }
        }
      }
    }),
    { numRuns: 60 },
  )
  assert.ok(pairs > 1000)
})

test('the extreme results that validation allows still fit two unsigned limbs', () => {
  const tensor = (pre: number): TensorTrace => ({
    value: new Int16Array(1),
    rem: null,
    remHigh: null,
    slack: null,
    slackHigh: null,
    pre: Int32Array.of(pre),
    flagged: Uint8Array.of(1),
    served: null,
  })
  const pairAt = (pre: number): number[] => [0, 1].map((index) => tensorLeaf(tensor(pre), 2, index)![0]!)
  assert.equal(pairAt(PRE_LIMIT - 1), [65_535, 65_535])
  assert.equal(pairAt(-PRE_LIMIT), [0, 1])
  // The first result beyond the bound would need a high limb of 17 bits.
  assert.equal(pairAt(PRE_LIMIT), [0, 0])
})

test('trees that a tensor does not have count nothing and hold no leaf', () => {
  const { manifest, trace } = served(3)
  const missing = (tensor: number, tree: Tree, index: number): void =>
    assert.throws(
      () => leafLimbs(manifest, trace, { tensor, tree, index }),
      (error: { code?: string }) => error.code === 'NO_SUCH_LEAF',
    )
  assert.equal(
    [1, 2, 3].map((tree) => leafCount(manifest, 0, tree as Tree)),
    [0, 0, 0],
  )
  missing(0, 1, 0)
  missing(0, 2, 0)
  missing(0, 3, 0)
  missing(0, 0, leafCount(manifest, 0, 0))
  missing(0, 0, -1)
  assert.throws(
    () => leafCount(manifest, 999, 0),
    (error: { code?: string }) => error.code === 'TOPOLOGY',
  )
  const output = manifest.outputs[0]!.tensor
  assert.is(leafCount(manifest, output, 3), leafCount(manifest, output, 0))
})

test.run()
