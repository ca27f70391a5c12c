import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { int32Slice } from '../../models/access.ts'
import { buildManifest, modelInputs, readSamples } from '../../models/calibrate.ts'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { selectTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { openSession } from '../../models/session.ts'
import { buildStatements, checkStatement } from '../../models/statements.ts'
import { assetPath } from '../../protocol/assets.ts'
import { seededRandomness } from '../../protocol/draw.ts'

/** Trained models of unrelated kinds, each as its framework's exporter wrote it: float against canonical on held-out data. */

type HeldOut = { count: number; encoding: string; scale?: number; labels: number[] | string; data: string }

const file = (name: string, what: string): Uint8Array =>
  new Uint8Array(readFileSync(assetPath(`models/${name}/${what}`)))

function heldOut(name: string, size: number): Float32Array[] {
  const {
    count,
    encoding,
    scale = 1,
    data,
  } = JSON.parse(new TextDecoder().decode(file(name, 'heldout.json'))) as HeldOut
  const bytes = new Uint8Array(Buffer.from(data, 'base64'))
  const values =
    encoding === 'float32'
      ? new Float32Array(bytes.buffer)
      : Float32Array.from(encoding === 'int32' ? new Int32Array(bytes.buffer) : bytes, (value) => value / scale)
  return Array.from({ length: count }, (_, i) => values.slice(i * size, (i + 1) * size))
}

const argmax = (values: ArrayLike<number>): number => Array.from(values).indexOf(Math.max(...Array.from(values)))
/** The decision of a model: the largest of several outputs, or the side of one half of a single probability. */
const decision = (values: ArrayLike<number>): number =>
  values.length === 1 ? Number(values[0]! > 0.5) : argmax(values)

for (const name of ['residual', 'breast', 'regressor', 'transformer', 'quantised'])
  test(`${name}: canonical decides as float does, serves within τ, and all its statements hold`, async () => {
    const original = file(name, `${name}.onnx`)
    const [input] = modelInputs(original)
    const size = input!.shape.reduce((product, dim) => product * dim, 1)
    const samples = readSamples(file(name, 'calibration.bin'), [input!.shape])
    const { manifest, weights, model } = await buildManifest({ name, model: original, samples })
    const session = await openSession(model, { executionProvider: 'cpu', threads: 1 })
    const [{ lookup, shape, name: fed }] = manifest.inputs as [(typeof manifest.inputs)[number]]
    const rows = lookup === null ? null : int32Slice(weights, lookup.table)
    const [end] = manifest.outputs as [(typeof manifest.outputs)[number]]
    const ex = manifest.tensors[manifest.inputs[0]!.tensor]!.exponent
    const ey = manifest.tensors[end.tensor]!.exponent
    const held = heldOut(name, size)
    let differ = 0
    let off = 0
    let statements = 0
    for (const [i, sample] of held.entries()) {
      // Integers are looked up in the manifest's own rows.
      const width = shape.at(-1)!
      const quantised =
        rows === null
          ? quantise(sample, ex)
          : Int16Array.from([...sample].flatMap((id) => [...rows.subarray(id * width, (id + 1) * width)]))
      const results = await session.run({
        [fed]: { data: dequantise(quantised, ex), shape: [1, ...shape] },
      })
      const trace = evaluate(manifest, weights, [quantised])
      const [canonical] = traceOutputs(manifest, trace) as [Int16Array]
      const served = quantise(results[end.name]!.data, ey)
      if (name !== 'regressor' && decision(results[end.name]!.data) !== decision(dequantise(canonical, ey))) differ++
      if (served.some((value, j) => Math.abs(value - canonical[j]!) > end.tolerance.quanta)) off++
      if (i >= 12) continue
      const whole = withServed(manifest, trace, [canonical])
      const selected = selectTiles(manifest, seededRandomness(new Uint8Array(32).fill(i)), 8)
      const built = buildStatements(manifest, weights, selected, flagsOf(manifest, whole), 987_654_321n)
      for (const statement of built)
        assert.ok(checkStatement(statement, (ref) => leafLimbs(manifest, whole, ref) ?? new Uint16Array(64)))
      statements += built.length
    }
    await session.dispose()
    console.log(
      `${name}: T ${manifest.tiles}, L ${manifest.layers}, ${manifest.units} multiply-adds, τ ${end.tolerance.quanta}, ` +
        `${differ} of ${held.length} decisions differ, ${off} beyond τ, ${statements} statements checked`,
    )
    assert.ok(differ <= Math.max(1, 0.005 * held.length))
    assert.is(off, 0)
  })

test.run()
