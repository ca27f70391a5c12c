import { readFileSync } from 'node:fs'
import { modelInputs, readSamples } from '../../models/calibrate.ts'
import { loadHeldOut } from '../../models/digits.ts'
import type { Consumer, Step } from '../../node/sdk.ts'
import { assetPath } from '../../protocol/assets.ts'
import { seededRandomness } from '../../protocol/draw.ts'

/**
 * The training graph of models/training, run by a consumer: one run, or local SGD with averaging. The policy is `open`: the images are public, and
 * a step of 801 tiles asks for up to 494 proofs, more than the devnet's window of five minutes has time for.
 */

const ROWS = 64
export const GRAPH = assetPath('models/training/step.onnx')
export const SAMPLES = assetPath('models/training/calibration.bin')
const STATE = ['w1', 'b1', 'w2', 'b2', 'v_w1', 'v_b1', 'v_w2', 'v_b2']
export type State = Record<string, Float32Array>

const read = (path: string): Uint8Array => new Uint8Array(readFileSync(path))
const data = JSON.parse(readFileSync(assetPath('models/training/data.json'), 'utf8')) as Record<string, string> & {
  count: number
}
const pixels = Buffer.from(data.pixels!, 'base64')
const labels = Array.from(data.labels!, Number)
const held = loadHeldOut()

/** The state that the float run of export.py began with: that of the first calibration sample. */
export function firstState(): State {
  const shapes = modelInputs(read(GRAPH)).map(({ shape }) => shape)
  const [sample] = readSamples(read(SAMPLES), shapes)
  return Object.fromEntries(STATE.map((name, i) => [name, sample![i]!]))
}

/** Images of one call, drawn by a seed; of `shares` workers each draws from its own part of the data. */
export function drawn(seed: number, worker: number, shares: number) {
  const random = seededRandomness(new Uint8Array(32).fill(seed))
  const size = Math.floor(data.count / shares)
  return (step: number): State => {
    const out = { pixels: new Float32Array(64 * ROWS), labels: new Float32Array(10 * ROWS) }
    for (let row = 0; row < ROWS; row++) {
      const at = worker * size + random(`${step}/${row}`, size)
      out.pixels.set(
        Float32Array.from(pixels.subarray(64 * at, 64 * (at + 1)), (value) => value / 16),
        64 * row,
      )
      out.labels[10 * row + labels[at]!] = 1
    }
    return out
  }
}

/** Held-out images that a state answers rightly, of 360. */
export function score({ w1, b1, w2, b2 }: State): number {
  const layer = (x: ArrayLike<number>, w: Float32Array, b: Float32Array): Float32Array =>
    b.map((bias, j) => Array.from(x).reduce((sum, value, i) => sum + value * w[i * b.length + j]!, bias))
  return held.images.filter((image, i) => {
    const logits = layer(layer(image, w1!, b1!).map(Math.tanh), w2!, b2!)
    return logits.indexOf(Math.max(...logits)) === held.labels[i]
  }).length
}

export const stateOf = ({ outputs }: Step): State =>
  Object.fromEntries(STATE.map((name) => [name, outputs[`${name}_out`]!.data]))

/** Element by element, the mean of several states. */
export const average = (states: State[]): State =>
  Object.fromEntries(
    STATE.map((name) => [
      name,
      states[0]![name]!.map((_, i) => states.reduce((sum, each) => sum + each[name]![i]!, 0) / states.length),
    ]),
  )

/** What a run came to. */
export type Learned = { state: State; right: number; receipts: string[]; providers: Set<string>; disputed: number }

/** Trains over `replicas` providers. */
export async function train(consumer: Consumer, model: string, calls: number, replicas: number): Promise<Learned> {
  const learned: Learned = { state: firstState(), right: 0, receipts: [], providers: new Set(), disputed: 0 }
  const run = consumer.run(model, learned.state, calls, { replicas, policy: 'open', feed: drawn(7, 0, 1) })
  for await (const step of run) {
    learned.state = stateOf(step)
    learned.disputed += step.disputed
    for (const { id, provider } of step.receipts) {
      learned.receipts.push(id)
      learned.providers.add(provider)
    }
  }
  return { ...learned, right: score(learned.state) }
}

/** Local SGD: each worker trains `calls` on its own part of the data at its own provider, then all go on from their mean. */
export async function trainApart(
  consumer: Consumer,
  model: string,
  workers: string[],
  { rounds, calls }: { rounds: number; calls: number },
): Promise<Learned> {
  const learned: Learned = { state: firstState(), right: 0, receipts: [], providers: new Set(), disputed: 0 }
  const runs = workers.map((own, worker) => {
    const batch = drawn(9, worker, workers.length)
    const exclude = workers.filter((each) => each !== own) as `0x${string}`[]
    const feed = (step: number): State =>
      step > 0 && step % calls === 0 ? { ...learned.state, ...batch(step) } : batch(step)
    return consumer.run(model, learned.state, rounds * calls, { replicas: 1, policy: 'open', exclude, feed })
  })
  for (let round = 0; round < rounds; round++) {
    const states = await Promise.all(
      runs.map(async (run) => {
        let state: State = {}
        for (let call = 0; call < calls; call++) {
          const { value } = (await run.next()) as { value: Step }
          state = stateOf(value)
          learned.receipts.push(value.receipt.id)
          learned.providers.add(value.receipt.provider)
        }
        return state
      }),
    )
    learned.state = average(states)
  }
  for (const run of runs) await run.return()
  return { ...learned, right: score(learned.state) }
}
