/** `npm run test:text`: a text model from the command line, on a network of real processes. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { firstLargest, inputValues } from '../../models/lookup.ts'
import { quantise } from '../../models/quantise.ts'
import { tensorOf } from '../../models/tiling.ts'
import { assetPath } from '../../protocol/assets.ts'
import { openWorld } from './world.ts'

const world = await openWorld(async (net) => [
  await net.startNode('honest-1'),
  await net.startNode('honest-2'),
  await net.startNode('honest-3'),
])
const { net } = world
test.after(() => world.stop())

test('integers of a text model are looked up here, and the index of its last ArgMax taken', async () => {
  const ids = Array.from({ length: 12 }, (_, i) => Array.from({ length: 8 }, (_, at) => (7 * i + at * at) % 11))
  const file = join(net.folder, 'ids.json')
  writeFileSync(file, JSON.stringify(ids))
  const onnx = assetPath('test/models/exported/classifier-17.onnx')
  const publisher = await net.newAccount('text-publisher')
  const published = await net
    .startCommand('text-publisher', publisher, ['model', 'publish', onnx], ['--samples', file, '--json'])
    .wait('published', 60_000)
  const manifest = published.facts.manifest as string
  // The report of the calibration: canonical against float.
  const [seen] = published.facts.outputs as { relative: number; deviation: number; quanta: number }[]
  assert.ok(seen!.relative > 0 && seen!.relative < 0.01 && seen!.deviation < seen!.quanta)
  const consumer = await net.newAccount('reader')
  const terms = ['--window', '120000']
  const args = ['--model', manifest, '--input', file, '--count', '3', ...terms, '--json']
  const reader = net.startCommand('reader', consumer, ['infer'], args)
  await reader.wait('summary', 200_000)
  assert.is(await reader.ended, 0)
  const answers = reader.events.filter(({ event }) => event === 'answer').map(({ facts }) => facts.outputs)
  // What the canonical model says, from the files that were published.
  const { manifest: text, weights } = await world.client.library.load(manifest)
  const [end] = text.outputs as [(typeof text.outputs)[number]]
  const expected = ids.slice(0, 3).map((each) => {
    const inputs = inputValues(text, weights, [each]).map((values, i) =>
      quantise(values, tensorOf(text, text.inputs[i]!.tensor).exponent),
    )
    const [logits] = traceOutputs(text, evaluate(text, weights, inputs)) as [Int16Array]
    return { [end.argmax!.name]: firstLargest(logits, end.shape, end.argmax!.axis) }
  })
  assert.equal(answers, expected)
})

test.run()
