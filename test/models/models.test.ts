import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, traceOutputs, withServed } from '../../models/canonical.ts'
import { allTiles, selectTiles } from '../../models/draw.ts'
import { flagsOf, leafLimbs } from '../../models/limbs.ts'
import { inputValues } from '../../models/lookup.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { openSession } from '../../models/session.ts'
import { buildStatements, checkStatement } from '../../models/statements.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { TRAINED, trained } from './trained.ts'

/** Trained models of unrelated kinds, each as its framework's exporter wrote it: float against canonical on held-out data. */

const argmax = (values: ArrayLike<number>): number => Array.from(values).indexOf(Math.max(...Array.from(values)))
/** The decision of a model: the largest of several outputs, or the side of one half of a single probability. */
const decision = (values: ArrayLike<number>): number =>
  values.length === 1 ? Number(values[0]! > 0.5) : argmax(values)

const squares = (values: ArrayLike<number>, target: number[]): number =>
  target.reduce((sum, each, i) => sum + (values[i]! - each) ** 2, 0) / target.length

for (const [name, task] of Object.entries(TRAINED))
  test(`${name}: canonical answers as float does, serves within τ, and all its statements hold`, async () => {
    const { manifest, weights, model, samples, targets } = await trained(name)
    const session = await openSession(model, { executionProvider: 'cpu', threads: 1 })
    const [{ tensor, shape, name: fed }] = manifest.inputs as [(typeof manifest.inputs)[number]]
    const [end] = manifest.outputs as [(typeof manifest.outputs)[number]]
    const ex = manifest.tensors[tensor]!.exponent
    const ey = manifest.tensors[end.tensor]!.exponent
    // Of each: right answers, or the sum of squared errors.
    let [float, canonical, differ, off, statements, worst] = [0, 0, 0, 0, 0, 0]
    for (const [i, sample] of samples.entries()) {
      const [values] = inputValues(manifest, weights, [sample]) as [Float32Array]
      const quantised = quantise(values, ex)
      const results = await session.run({ [fed]: { data: dequantise(quantised, ex), shape: [1, ...shape] } })
      const served = results[end.name]!.data
      const trace = evaluate(manifest, weights, [quantised])
      const [exact] = traceOutputs(manifest, trace) as [Int16Array]
      const meant = dequantise(exact, ey)
      if (task === 'class') {
        if (decision(served) !== decision(meant)) differ++
        if (decision(served) === targets[i]![0]) float++
        if (decision(meant) === targets[i]![0]) canonical++
      } else {
        float += squares(served, targets[i]!)
        canonical += squares(meant, targets[i]!)
      }
      const distance = Math.max(...quantise(served, ey).map((value, j) => Math.abs(value - exact[j]!)))
      worst = Math.max(worst, distance)
      if (distance > end.tolerance.quanta) off++
      if (i >= 12) continue
      const whole = withServed(manifest, trace, [exact])
      const selected = selectTiles(manifest, seededRandomness(new Uint8Array(32).fill(i)), 8)
      const built = buildStatements(manifest, weights, selected, flagsOf(manifest, whole), 987_654_321n)
      for (const statement of built)
        assert.ok(checkStatement(statement, (ref) => leafLimbs(manifest, whole, ref) ?? new Uint16Array(64)))
      statements += built.length
    }
    await session.dispose()
    const n = samples.length
    const all = buildStatements(manifest, weights, allTiles(manifest), () => false, 1n).length
    const scores = [float, canonical].map((sum) => (task === 'class' ? `${sum} of ${n}` : (sum / n).toPrecision(4)))
    console.log(
      `${name}: T ${manifest.tiles}, L ${manifest.layers}, ${all} statements in all, ${manifest.units} multiply-adds, ` +
        `coverage ${manifest.coverage / 10_000}%; ${task === 'class' ? 'right' : 'mean squared error'} ${scores.join(' float, ')} canonical; ` +
        `${differ} of ${n} decisions differ; τ ${end.tolerance.quanta} at 2^-${ey}, at most ${worst} off, ${off} beyond; ` +
        `${statements} statements checked`,
    )
    assert.ok(differ <= Math.max(1, 0.005 * n))
    if (task !== 'class') assert.ok(Math.abs(canonical - float) <= 0.005 * float, `${float} and ${canonical}`)
    assert.is(off, 0)
  })

test.run()
