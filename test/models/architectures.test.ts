import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildManifest } from '../../models/calibrate.ts'
import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { quantise } from '../../models/quantise.ts'
import { elementCount } from '../../models/tiling.ts'
import { transformer } from '../bench/architectures.ts'
import { openServing } from '../bench/serving.ts'

const SMALL = { layers: 2, width: 48, heads: 4, length: 8, rows: 30 }

test('a generated transformer is an ONNX file that is covered whole and served within τ', async () => {
  const { onnx, samples } = transformer(SMALL)
  const { manifest, weights, model } = await buildManifest({ name: 'generated', model: onnx, samples: samples(4) })
  const serving = await openServing(manifest, model)
  const inputs = manifest.inputs.map(({ shape, tensor }) =>
    quantise(
      Float32Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i * i)),
      manifest.tensors[tensor]!.exponent,
    ),
  )
  const { served } = await serving.serve(inputs)
  await serving.dispose()
  const [canonical] = traceOutputs(manifest, evaluate(manifest, weights, inputs))
  const { quanta } = manifest.outputs[0]!.tolerance
  assert.ok(canonical!.every((value, i) => Math.abs(value - served[0]![i]!) <= quanta))
})

test('weights follow from the seed alone', () => {
  const bytes = (seed: number): string => Buffer.from(transformer(SMALL, seed).onnx).toString('base64')
  assert.is(bytes(5), bytes(5))
  assert.is.not(bytes(5), bytes(7))
})

test.run()
