import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { flagsOf, leafCount, leafLimbs, valueLeaf } from '../../models/limbs.ts'
import { isLinear } from '../../models/manifest.ts'
import { elementCount } from '../../models/tiling.ts'
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
        limbs.forEach((leaf, index) => {
          assert.equal(valueLeaf(value, index), leaf)
        })
        flat.forEach((limb, i) => {
          assert.is(limb, i < value.length ? value[i]! + 32_768 : 0)
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
      for (const { output: tensor } of manifest.ops.filter(isLinear)) {
        const { value, rem, pre } = trace.tensors[tensor]!
        assert.is(leafCount(manifest, tensor, 1), leafCount(manifest, tensor, 0))
        assert.is(leafCount(manifest, tensor, 2), 2 * leafCount(manifest, tensor, 0))
        for (let tile = 0; tile < leafCount(manifest, tensor, 0); tile++) {
          const raw = leafLimbs(manifest, trace, { tensor, tree: 1, index: tile })!
          const lo = leafLimbs(manifest, trace, { tensor, tree: 2, index: 2 * tile })
          const hi = leafLimbs(manifest, trace, { tensor, tree: 2, index: 2 * tile + 1 })
          assert.is(lo === null, !flagged(tensor, tile))
          assert.is(hi === null, !flagged(tensor, tile))
          for (let j = 0; j < 64; j++) {
            const i = 64 * tile + j
            assert.is(raw[j], i < value.length ? rem![i] : 0)
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

test('the extreme accumulators that validation allows still fit two unsigned limbs', () => {
  const { manifest, trace } = served(3)
  const op = manifest.ops.find(isLinear)!
  const tensor = trace.tensors[op.output]!
  const pairAt = (acc: number): number[] => {
    tensor.pre![0] = Math.floor(acc / 65_536)
    tensor.flagged![0] = 1
    return [0, 1].map((index) => leafLimbs(manifest, trace, { tensor: op.output, tree: 2, index })![0]!)
  }
  assert.equal(pairAt(2 ** 47 - 2 ** 31 - 1), [65_535, 65_535])
  assert.equal(pairAt(-(2 ** 47 - 2 ** 31 - 1)), [0, 1])
  // The first accumulator beyond the bound would need a high limb of 17 bits.
  assert.equal(pairAt(2 ** 47 - 2 ** 31), [0, 0])
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
