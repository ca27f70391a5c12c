import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, type Trace, traceOutputs } from '../../models/canonical.ts'
import { detection, selectTiles } from '../../models/draw.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { forger } from '../node/attestation-forger.ts'
import { idealProofs } from '../node/attestation-ideal.ts'
import { attest, DIGITS, image, makeWorld, TILE_DRAWS, verify, type World } from '../node/attestation-world.ts'
import { fourBits, wrongTiles } from './detection.ts'
import { decisionOf } from './reference.ts'
import { describeSteered, land, steer, steerModel, targets } from './steering.ts'

/** One leaf of one intermediate tensor written by gradient: how far it gets, and that it is refused exactly where it is drawn. */

const { pool, verifier } = await idealProofs()
const { manifest, weights } = DIGITS
const OP = targets(manifest)[0]!

test('one leaf is enough for another answer, and the draws find it as often as they say', async () => {
  const [result] = await steerModel('digits', { s: 8, inputs: 3, ops: 1, leaves: 3, draws: 100 })
  console.log(`# ${describeSteered(result!)}`)
  assert.ok(result!.flipped >= 2)
  const { d2 } = detection(manifest, 8)
  assert.ok(result!.predicted >= d2)
  // Four standard deviations of the measured share.
  const slack = 4 * Math.sqrt((result!.predicted * (1 - result!.predicted)) / result!.draws)
  assert.ok(Math.abs(result!.caught / result!.draws - result!.predicted) < slack, describeSteered(result!))
})

test('one leaf is enough to cover up for four-bit weights: what they served is within τ of the edited trace', () => {
  const last = targets(manifest).at(-1)!
  const cheap = fourBits(manifest, weights)
  const { quanta } = manifest.outputs[0]!.tolerance
  let [off, covered] = [0, 0]
  for (let i = 0; i < 5; i++) {
    const inputs = [image(i)]
    const [target] = traceOutputs(manifest, evaluate(manifest, cheap, inputs)) as [Int16Array]
    const beyond = (trace: Trace): boolean =>
      traceOutputs(manifest, trace)[0]!.some((value, j) => Math.abs(value - target[j]!) > quanta)
    if (beyond(evaluate(manifest, weights, inputs))) off++
    const trace = land(DIGITS, inputs, last, 0, target) ?? land(DIGITS, inputs, last, 3, target)
    if (trace === null) continue
    assert.not(beyond(trace))
    covered++
  }
  console.log(`# ${off} of 5 answers of four-bit weights are off by more than τ, ${covered} are covered up for`)
  assert.ok(off >= 3 && covered >= 2)
})

/** The steered trace of an input, and what it ends in. */
const steered = new Map<string, Trace>()
const steeredOf = (inputs: Int16Array[]): Trace => {
  const key = inputs[0]!.join()
  const trace = steered.get(key) ?? steer(DIGITS, inputs, OP, 5)
  assert.ok(trace !== null)
  steered.set(key, trace!)
  return trace!
}

test('a steered job passes where its tile is not drawn, and is forged where it is', async () => {
  const world = makeWorld({
    receipts: [3, 2],
    input: (i) => [image(i)],
    serve: (_, inputs) => traceOutputs(manifest, steeredOf(inputs)),
  })
  const inputs = [image(0)]
  const [wrong, ...more] = wrongTiles(DIGITS, {
    tensors: steeredOf(inputs).tensors.map((tensor) => tensor && { ...tensor, served: tensor.value as Int16Array }),
  })
  assert.equal([wrong!.op, more.length], [OP, 0])
  const label = decisionOf(DIGITS, traceOutputs(manifest, evaluate(manifest, weights, inputs)))
  assert.not.equal(decisionOf(DIGITS, traceOutputs(manifest, steeredOf(inputs))), label)

  const cheat = () => forger((_, __, of) => steeredOf(of))
  const outcome = async (beacon: string, of: World = world) => {
    const each = cheat()
    const attested = await attest(of, pool, { ...each, beacon })
    const { verdicts } = await verify(attested, verifier, of)
    return { attested, verdicts, refused: [...new Set(each.refused)] }
  }
  /** Whether the steered tile is drawn in some job. */
  const drawn = ({ facts, message }: Awaited<ReturnType<typeof outcome>>['attested']): boolean =>
    message.jobs.some(({ index }) => {
      const { random } = jobChallenge(facts.challenge, world.jobs[index]!.receiptHash, DIGITS.cid.bytes)
      return selectTiles(manifest, random, TILE_DRAWS).some(({ op, tile }) => op === OP && tile === wrong!.tile)
    })
  const seen = { valid: 0, forged: 0 }
  for (let i = 0; seen.valid === 0 || seen.forged === 0; i++) {
    assert.ok(i < 100, 'one of the two outcomes did not come up')
    const { attested, verdicts, refused } = await outcome(`steered ${i}`)
    const expected = drawn(attested) ? 'forged' : 'valid'
    assert.equal([verdicts, refused], [[expected, expected], expected === 'forged' ? [OP] : []])
    seen[expected]++
  }
  console.log(`# draws until both outcomes were seen: ${seen.valid} not drawn, ${seen.forged} drawn`)
  // Under `full` there is no luck.
  const full = makeWorld({
    policy: 'full',
    receipts: [2, 1],
    input: (i) => [image(i)],
    serve: (_, of) => traceOutputs(manifest, steeredOf(of)),
  })
  assert.equal((await outcome('full', full)).verdicts, ['forged', 'forged'])
})

test.run()
