import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ZERO_LEAF_BYTES } from '../../circuits/commit.ts'
import { evaluate, type Trace, traceOutputs, withServed } from '../../models/canonical.ts'
import { loadDigits } from '../../models/digits.ts'
import { selectTiles } from '../../models/draw.ts'
import { dequantise, quantise } from '../../models/quantise.ts'
import { openSession } from '../../models/session.ts'
import { inputsOf } from '../../models/tiling.ts'
import { commitJob, commitTrace, flagsOf } from '../../node/attestation/commit.ts'
import { bytesInt16 } from '../../node/jobs/ledger.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { toHex } from '../../protocol/bytes.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { errorCode } from '../../protocol/errors.ts'
import { TREE } from '../../protocol/statement.ts'
import { ATTACKS } from '../adversary/attacks.ts'
import { conceding, type Forger, forgedAt, forger } from './attestation-forger.ts'
import { idealProofs } from './attestation-ideal.ts'
import { gainModel } from './attestation-models.ts'
import {
  type Attested,
  attest,
  bytes32,
  committer,
  copyOf,
  DIGITS,
  image,
  makeWorld,
  nearly,
  TILE_DRAWS,
  verify,
  type World,
} from './attestation-world.ts'

const { pool, verifier } = await idealProofs()
const world = makeWorld()
const { manifest } = DIGITS
/** Values of an op's output, of 16 bits in the digits model. */
const outputOf = (trace: Trace, op: number): Int16Array => trace.tensors[manifest.ops[op]!.output]!.value as Int16Array
const opNamed = (name: string): number => manifest.ops.findIndex((op) => op.name === name)

const faults = async (attested: Attested, of: World = world) => {
  const { findings, verdicts } = await verify(attested, verifier, of)
  return { faults: findings.map(({ fault }) => fault), verdicts }
}

/** Verifies a forger's attestation and expects it found in both jobs, at statements of these ops and no others. */
async function caught(cheat: Forger, ops: number[], of: World = world, beacon?: string): Promise<void> {
  const attested = await attest(of, pool, { ...cheat, ...(beacon === undefined ? {} : { beacon }) })
  assert.equal([...new Set(cheat.refused)].sort(), ops)
  const result = await faults(attested, of)
  for (const [i, verdict] of result.verdicts.entries()) {
    assert.is(verdict, 'forged')
    assert.ok(['PROOF_PAIRING', 'SEGMENT_COUNT', 'ACCUMULATOR'].includes(result.faults[i]!), `${result.faults[i]}`)
  }
}

test('an input other than the receipt’s', async () => {
  const attested = await attest(world, pool, {
    commit: (by, model, job) => commitJob(by, model, { ...job, inputs: [image(90)] }),
    prove: conceding(true),
  })
  assert.equal(await faults(attested), { faults: ['INPUT_ROOT', 'INPUT_ROOT'], verdicts: ['forged', 'forged'] })
})

test('an output in the trace that was not the one served', async () => {
  const attested = await attest(world, pool, {
    commit: (by, model, job) =>
      commitJob(by, model, {
        ...job,
        served: traceOutputs(model.manifest, evaluate(manifest, model.weights, job.inputs)),
      }),
  })
  assert.equal(await faults(attested), { faults: ['OUTPUT_ROOT', 'OUTPUT_ROOT'], verdicts: ['forged', 'forged'] })
})

test('made-up outputs are conceded or cannot be proven', async () => {
  const madeUp = makeWorld({ serve: (model, inputs) => nearly(model, inputs).map((values) => values.toReversed()) })
  const conceded = await faults(await attest(madeUp, pool), madeUp)
  assert.equal(conceded.faults, ['TOLERANCE_CONCEDED', 'TOLERANCE_CONCEDED'])
  assert.equal(conceded.verdicts, ['tolerance', 'tolerance'])
  const error = await attest(madeUp, pool, { prove: conceding(false) }).catch((reason: unknown) => reason)
  assert.is(errorCode(error), 'WITNESS_UNSATISFIED')
  // Handing in the conceded job without its concession is forged, for want of the tolerance statement.
  const { facts, message } = await attest(madeUp, pool)
  const unsaid = copyOf(message)
  for (const job of unsaid.jobs) job.concede = false
  assert.equal((await faults({ facts, message: unsaid, sealed: new Uint8Array() }, madeUp)).verdicts, [
    'forged',
    'forged',
  ])
})

test('the last quantum inside the tolerance is valid, the first outside is not', async () => {
  const { quanta } = manifest.outputs[0]!.tolerance
  const off = (by: number) =>
    makeWorld({
      serve: ({ manifest: m, weights }, inputs) =>
        traceOutputs(m, evaluate(m, weights, inputs)).map((values) =>
          values.map((value, i) => value + (i === 3 ? by : 0)),
        ),
    })
  for (const sign of [1, -1]) {
    const inside = off(sign * quanta)
    assert.equal((await faults(await attest(inside, pool), inside)).verdicts, ['valid', 'valid'])
    const outside = off(sign * (quanta + 1))
    assert.equal((await faults(await attest(outside, pool), outside)).verdicts, ['tolerance', 'tolerance'])
  }
})

test('a concession for nothing costs what it says', async () => {
  const result = await faults(await attest(world, pool, { prove: conceding(true) }))
  assert.equal(result.verdicts, ['tolerance', 'tolerance'])
})

test('a trace forged at one operator, everything behind it recomputed', async () => {
  const op = opNamed('node_avg_pool2d')
  const moved = (values: Int16Array) => values.map((value, i) => (i < 8 ? 4096 - value : value))
  const cheat = forger((trace, model) => forgedAt(trace, model, op, moved(outputOf(trace, op))))
  const serving = makeWorld({
    serve(model, inputs) {
      const trace = evaluate(manifest, model.weights, inputs)
      return traceOutputs(manifest, forgedAt(trace, model, op, moved(outputOf(trace, op))))
    },
  })
  await caught(cheat, [op], serving)
})

const withWeight = (model: LoadedModel, op: number, change: (bytes: Uint8Array, at: number) => void): LoadedModel => {
  const target = model.manifest.ops[op]!
  const weights = model.weights.slice()
  const weight = target.kind === 'linear' ? target.terms[0]!.weight : 0
  if (typeof weight !== 'number') change(weights, weight.offset)
  return { ...model, weights }
}

test('one bit of one weight changed', async () => {
  const op = opNamed('node_linear')
  // A bit whose weight meets a value other than zero in both drawn jobs.
  for (let at = 0; ; at += 4) {
    const other = withWeight(DIGITS, op, (bytes, offset) => {
      bytes[offset + at]! ^= 1
    })
    const cheat = forger((_, { manifest: m }, inputs) => evaluate(m, other.weights, inputs))
    const attested = await attest(world, pool, cheat)
    if (cheat.refused.length < 2) continue
    assert.equal([...new Set(cheat.refused)], [op])
    assert.equal((await faults(attested)).verdicts, ['forged', 'forged'])
    break
  }
})

/** The first beacon whose challenge draws a tile of `op` in every drawn job of a cheat. */
async function beaconFor(cheat: Forger, op: number, of: World): Promise<string> {
  const { facts, message } = await attest(of, pool, { ...cheat, prove: async () => ({}) })
  for (let i = 0; ; i++) {
    const challenge = { ...facts.challenge, beacon: bytes32(`beacon ${i}`) }
    const drawn = message.jobs.every(({ index }) => {
      const { random } = jobChallenge(challenge, of.jobs[index]!.receiptHash, DIGITS.cid.bytes)
      return selectTiles(manifest, random, TILE_DRAWS).some((each) => each.op === op)
    })
    if (drawn) return `beacon ${i}`
  }
}

test('a layer skipped', async () => {
  const op = opNamed('node_relu')
  const skip = (trace: Trace): Trace =>
    forgedAt(trace, DIGITS, op, (trace.tensors[inputsOf(manifest.ops[op]!)[0]!]!.value as Int16Array).slice())
  const serving = makeWorld({
    serve: (model, inputs) => traceOutputs(manifest, skip(evaluate(manifest, model.weights, inputs))),
  })
  const cheat = forger(skip)
  await caught(cheat, [op], serving, await beaconFor(cheat, op, serving))
})

test('stale randomness, and a challenge of another chain, contract, batch or trace', async () => {
  const attested = await attest(world, pool)
  const { challenge } = attested.facts
  const others = [
    { ...challenge, beacon: bytes32('earlier') },
    { ...challenge, chainId: 1 },
    { ...challenge, batches: `0x${'bb'.repeat(20)}` as const },
    { ...challenge, batch: bytes32('another batch') },
  ]
  for (const other of others) {
    const message = copyOf(attested.message)
    message.batch = other.batch
    const result = await faults({ ...attested, message, facts: { ...attested.facts, challenge: other } })
    assert.equal(result.verdicts, ['forged', 'forged'])
    for (const fault of result.faults)
      assert.ok(
        ['TREE_COUNT', 'TREE_PATH', 'LEAF_COUNT', 'LEAF_PATH', 'STATEMENT_COUNT', 'PROOF_PAIRING'].includes(fault!),
      )
  }
})

test('jobs of another batch of the same sessions', async () => {
  const other = await attest(makeWorld({ batch: bytes32('earlier batch'), input: (i) => [image(40 + i)] }), pool, {
    points: world.points,
  })
  const attested = await attest(world, pool)
  const message = copyOf(attested.message)
  message.jobs[1] = other.message.jobs[1]!
  const result = await faults({ ...attested, message })
  assert.equal(result, { faults: ['SUM_PATH', 'DRAW_NOT_OPENED'], verdicts: ['forged', 'forged'] })
  const whole = await faults({ ...attested, message: other.message })
  assert.equal(whole.verdicts, ['forged', 'forged'])
})

test('leaves salted anew after the anchor, or with salts of another job key before it', async () => {
  const late = await attest(world, pool, {
    async prove(each, model, job, challenge, draws) {
      const salted = commitTrace(
        committer,
        model,
        { receiptHash: new Uint8Array(32), jobKey: bytes32('late') },
        withServed(manifest, evaluate(manifest, model.weights, job.job.inputs), job.job.served),
      )
      return conceding(false)(each, model, salted, challenge, draws)
    },
  })
  assert.equal((await faults(late)).faults, ['TRACE_PATH', 'TRACE_PATH'])
  const early = await attest(world, pool, {
    commit: (by, model, job) => commitJob(by, model, { ...job, jobKey: bytes32('early') }),
  })
  assert.equal((await faults(early)).faults, ['INPUT_ROOT', 'INPUT_ROOT'])
})

const GAIN = 18
/** Half of the values beyond what the gain leaves room for, some exactly at the border. */
const steep = Int16Array.from({ length: 64 }, (_, i) => [8191, 8192, -8192, -8193, 32_767, -32_768, 0, 5][i % 8]!)
const clamped = (model: LoadedModel, inputs: Int16Array[]): Int16Array[] =>
  traceOutputs(model.manifest, evaluate(model.manifest, model.weights, inputs))

test('a saturated tile is flagged and proven', async () => {
  const model = await gainModel(GAIN)
  const saturated = makeWorld({ model, receipts: [3, 2], input: () => [steep], serve: clamped })
  const { message, ...rest } = await attest(saturated, pool)
  assert.ok(message.jobs.every(({ statements }) => statements.length === 3))
  assert.equal((await faults({ message, ...rest }, saturated)).verdicts, ['valid', 'valid'])
})

test('a saturated tile that is hidden, whether it shows the clamped values or those that wrapped', async () => {
  const model = await gainModel(GAIN)
  const saturated = makeWorld({ model, receipts: [3, 2], input: () => [steep], serve: clamped })
  for (const wrap of [false, true]) {
    const cheat = forger((trace) => {
      const y = trace.tensors[1]!
      const value = wrap ? Int16Array.from(y.pre!) : y.value
      return { tensors: [trace.tensors[0]!, { ...y, value, flagged: new Uint8Array(1) }] }
    })
    await caught(cheat, wrap ? [-1, 0] : [0], saturated)
  }
})

test('values that a saturated tile does not clamp to', async () => {
  const model = await gainModel(GAIN)
  const saturated = makeWorld({ model, receipts: [3, 2], input: () => [steep], serve: clamped })
  const cheat = forger((trace) => {
    const y = trace.tensors[1]!
    return { tensors: [trace.tensors[0]!, { ...y, value: y.value.map((value, i) => (i === 4 ? value - 1 : value)) }] }
  })
  await caught(cheat, [-1, 0], saturated)
})

test('a flag on a tile that did not saturate says nothing false, and must be proven like one that did', async () => {
  const model = await gainModel(16)
  const calm = makeWorld({ model, receipts: [3, 2], input: () => [steep], serve: clamped })
  const flag = forger((trace) => {
    const y = trace.tensors[1]!
    return { tensors: [trace.tensors[0]!, { ...y, flagged: Uint8Array.of(1) }] }
  })
  const result = await faults(await attest(calm, pool, flag), calm)
  assert.equal([flag.refused, result.verdicts], [[], ['valid', 'valid']])
  const false_ = forger((trace) => {
    const y = trace.tensors[1]!
    return { tensors: [trace.tensors[0]!, { ...y, flagged: Uint8Array.of(1), pre: y.pre!.map((pre) => pre + 65_536) }] }
  })
  await caught(false_, [0], calm)
})

test('a flag shown that was not committed, or committed and not shown', async () => {
  const model = await gainModel(GAIN)
  const saturated = makeWorld({ model, receipts: [3, 2], input: () => [steep], serve: clamped })
  const attested = await attest(saturated, pool)
  const message = copyOf(attested.message)
  for (const job of message.jobs) for (const i of [0, 1]) job.leaves[i]!.leaf = bytes32('leaf')
  assert.equal((await faults({ ...attested, message }, saturated)).faults, ['LEAF_PATH', 'LEAF_PATH'])
  const hidden = copyOf(attested.message)
  for (const job of hidden.jobs) for (const i of [0, 1]) job.leaves[i]!.leaf = ZERO_LEAF_BYTES
  assert.equal((await faults({ ...attested, message: hidden }, saturated)).verdicts, ['forged', 'forged'])
})

test('the forgers of the devnet are found on every batch', async () => {
  for (const name of ['forged-operator', 'flipped-weight-bit']) {
    const { commit, prove } = ATTACKS[name]!
    // What the forger's own trace says is what it serves.
    const served = new Map<Int16Array, Int16Array[]>()
    const inputs = Array.from({ length: 5 }, (_, i) => image(i))
    for (const input of inputs) {
      const job = {
        receiptHash: bytes32('none'),
        jobKey: bytes32('none'),
        inputs: [input],
        served: [new Int16Array(10)],
      }
      served.set(input, (await commit!(committer, DIGITS, job)).canonical)
    }
    const serving = makeWorld({
      receipts: [3, 2],
      input: (i) => [inputs[i]!],
      serve: (_, [input]) => served.get(input!)!,
    })
    const { verdicts } = await faults(await attest(serving, pool, { commit: commit!, prove: prove! }), serving)
    assert.equal(verdicts, ['forged', 'forged'], name)
  }
})

test('no input makes an honest provider a forger: what saturates is proven, what leaves the tolerance conceded', async () => {
  const session = await openSession(loadDigits().model, { executionProvider: 'cpu', threads: 1 })
  const hostile = [
    new Int16Array(64).fill(32_767),
    new Int16Array(64).fill(-32_768),
    Int16Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? 32_767 : -32_768)),
    Int16Array.from({ length: 64 }, (_, i) => ((i * 2_654_435_761) % 65_536) - 32_768),
  ]
  const served = new Map<string, Int16Array[]>()
  const { exponent } = manifest.tensors[manifest.outputs[0]!.tensor]!
  for (const input of hostile) {
    const data = dequantise(input, manifest.tensors[0]!.exponent)
    const { logits } = await session.run({ image: { data, shape: [1, 1, 8, 8] } })
    served.set(toHex(new Uint8Array(input.slice().buffer)), [quantise(logits!.data, exponent)])
  }
  await session.dispose()
  const attacked = makeWorld({
    input: (i) => [hostile[i % hostile.length]!],
    serve: (_, [input]) => served.get(toHex(new Uint8Array(input!.slice().buffer)))!,
  })
  const seen = { flagged: 0, verdicts: new Set<string>() }
  for (const at of [0, 1]) {
    // Two draws at a time, until each of the four inputs was drawn.
    const points = [2 * at, 2 * at + 1].map((index) => BigInt(index) * 1_000n)
    const attested = await attest(attacked, pool, {
      points,
      async commit(by, model, job) {
        const committed = await commitJob(by, model, job)
        const flags = flagsOf(committed)
        for (const { spec } of committed.trees)
          if (spec.tree === TREE.pre)
            for (let leaf = 0; leaf < spec.count / 2; leaf++) if (flags(spec.tensor, leaf)) seen.flagged++
        return committed
      },
    })
    const { verdicts } = await faults(attested, attacked)
    for (const verdict of verdicts) seen.verdicts.add(verdict)
  }
  assert.ok(seen.flagged > 0, 'no tile saturated')
  assert.not.ok(seen.verdicts.has('forged'))
  assert.ok(bytesInt16(attacked.jobs[0]!.inputs[0]!)[0] === 32_767)
})

test.run()
