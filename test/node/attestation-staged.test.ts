import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ProverPool } from '../../circuits/pool.ts'
import type { ProverInputs } from '../../circuits/prove.ts'
import { evaluate, type TensorTrace, type Trace, traceOutputs } from '../../models/canonical.ts'
import { validateManifest } from '../../models/validate.ts'
import { commitJob } from '../../node/attestation/commit.ts'
import type { Fault } from '../../node/attestation/faults.ts'
import { openingsOf, openPlan, type Prover, proveStatement, type Segment } from '../../node/attestation/prove.ts'
import { powersOf } from '../../node/attestation/stage.ts'
import type { LoadedModel } from '../../node/model/load.ts'
import { bigintToBytes, bytesToBigint } from '../../protocol/bytes.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { FIELD_PRIME, mod } from '../../protocol/field.ts'
import type { StagedStatement } from '../../protocol/statement.ts'
import { type Forger, forgedAt, forger, planOf } from './attestation-forger.ts'
import { idealProofs } from './attestation-ideal.ts'
import { gramModel, type ZOO, zooInput, zooModel, zooOp } from './attestation-models.ts'
import { type Attested, attest, bytes32, copyOf, makeWorld, verify, type World } from './attestation-world.ts'

/** Statements about values that are staged: products, quotients, roots and maxima. */

const { pool, verifier } = await idealProofs()
const zoo = await zooModel()
const world = makeWorld({ model: zoo, input: (i) => [zooInput(i)] })
const honest = await attest(world, pool)

const DEPTH = 50
const gram = await gramModel(DEPTH)
const rowsOf = (i: number): Int16Array =>
  Int16Array.from({ length: 3 * DEPTH }, (_, k) => (((i + 3) * (k + 5) * 7_919) % 4_001) - 1_700)
const exact = (model: LoadedModel, inputs: Int16Array[]): Int16Array[] =>
  traceOutputs(model.manifest, evaluate(model.manifest, model.weights, inputs))
const gramWorld = makeWorld({ model: gram, input: (i) => [rowsOf(i)], serve: exact })
const gramHonest = await attest(gramWorld, pool)

type Message = Payload<'attestation'>
const faultsOf = async (attested: Pick<Attested, 'facts' | 'message'>, of: World): Promise<(Fault | null)[]> => {
  const { findings, verdicts } = await verify(attested, verifier, of)
  if (findings.some(({ fault }) => fault !== null)) assert.equal(verdicts, ['forged', 'forged'])
  return findings.map(({ fault }) => fault)
}

/** Faults after a change to the first job; the second is left as it was. */
async function changed(change: (job: Message['jobs'][number], message: Message) => void): Promise<Fault | null> {
  const message = copyOf(gramHonest.message)
  change(message.jobs[0]!, message)
  const [first, second] = await faultsOf({ facts: gramHonest.facts, message }, gramWorld)
  assert.is(second, null)
  return first!
}

test('every op and kind of statement is proven and found valid, whatever is drawn', async () => {
  validateManifest(zoo.manifest, zoo.weights)
  validateManifest(gram.manifest, gram.weights)
  assert.equal(await faultsOf(honest, world), [null, null])
  assert.equal(await faultsOf(gramHonest, gramWorld), [null, null])
  const stages = gramHonest.message.jobs[0]!.statements[0]!.segments.map(({ stage }) => stage.length)
  assert.equal(stages, [32, 32, 32, 0])
})

test('STAGE: a commitment missing, cut, not a field element, or where nothing is staged', async () => {
  for (const stage of [new Uint8Array(), new Uint8Array(31), new Uint8Array(33), bigintToBytes(FIELD_PRIME, 32)])
    for (const at of [0, 2]) {
      const fault = await changed(({ statements }) => {
        statements[0]!.segments[at]!.stage = stage
      })
      assert.is(fault, 'STAGE')
    }
  const aliased = await changed(({ statements }) => {
    const [segment] = statements[0]!.segments
    segment!.stage = bigintToBytes((bytesToBigint(segment!.stage) + FIELD_PRIME) % 2n ** 256n, 32)
  })
  assert.is(aliased, 'STAGE')
  const extra = await changed(({ statements }) => {
    statements[0]!.segments[3]!.stage = statements[0]!.segments[0]!.stage
  })
  assert.is(extra, 'STAGE')
})

test('SEGMENT_COUNT: staged or folded segments left out, repeated, or all that there is', async () => {
  for (const change of [
    (segments: Message['jobs'][number]['statements'][number]['segments']) => segments.pop(),
    (segments: Message['jobs'][number]['statements'][number]['segments']) => segments.splice(0),
    (segments: Message['jobs'][number]['statements'][number]['segments']) => segments.push(segments[3]!),
  ])
    assert.is(await changed(({ statements }) => change(statements[0]!.segments)), 'SEGMENT_COUNT')
  // With one stage less, the relation stands where a staged segment must.
  assert.is(await changed(({ statements }) => statements[0]!.segments.shift()), 'SEGMENT_COUNT')
})

test('PROOF_PAIRING: stage commitments changed, exchanged, or those of the other job', async () => {
  const moved = await changed(({ statements }) => {
    const [segment] = statements[0]!.segments
    segment!.stage = bigintToBytes(bytesToBigint(segment!.stage) - 1n, 32)
  })
  const exchanged = await changed(({ statements }) => {
    const [a, b] = statements[0]!.segments
    const { stage } = a!
    a!.stage = b!.stage
    b!.stage = stage
  })
  const swapped = await changed(({ statements }) => {
    const { segments } = statements[0]!
    segments.splice(0, 2, segments[1]!, segments[0]!)
  })
  const foreign = await changed(({ statements }, { jobs }) => {
    statements[0] = jobs[1]!.statements[0]!
  })
  assert.equal([moved, exchanged, swapped, foreign], new Array(4).fill('PROOF_PAIRING'))
})

test('ACCUMULATOR: links of staged segments are needed, canonical, and not the prover’s to choose', async () => {
  for (const accumulator of [new Uint8Array(), new Uint8Array(31), bigintToBytes(FIELD_PRIME, 32)]) {
    const fault = await changed(({ statements }) => {
      statements[0]!.segments[1]!.accumulator = accumulator
    })
    assert.is(fault, 'ACCUMULATOR')
  }
  const chosen = await changed(({ statements }) => {
    statements[0]!.segments[1]!.accumulator = bigintToBytes(1n, 32)
  })
  assert.is(chosen, 'PROOF_PAIRING')
})

/** Changes three staged values, once γ is known, so that neither their sum under γ nor the sum of the products moves. */
function movedValues(values: bigint[], gamma: bigint): bigint[] {
  const powers = powersOf(gamma, 0, 5)
  const [p, q] = [[0, 2, 4].map((i) => powers[i]!), [1, 3, 5].map((i) => values[i]!)]
  const moved = [...values]
  for (const k of [0, 1, 2]) {
    const [i, j] = [(k + 1) % 3, (k + 2) % 3]
    moved[2 * k] = mod(values[2 * k]! + p[i]! * q[j]! - p[j]! * q[i]!)
  }
  const sums = (list: bigint[]): bigint[] => [
    mod([0, 2, 4].reduce((sum, i) => sum + powers[i]! * list[i]!, 0n)),
    mod([0, 2, 4].reduce((sum, i) => sum + list[i]! * list[i + 1]!, 0n)),
  ]
  assert.equal(sums(moved), sums(values))
  assert.not.equal(moved, values)
  return moved
}

/** Proves a product with other values in its first segment than γ was derived from. The chain closes under that γ. */
async function chosenLate(
  prover: Prover,
  statement: StagedStatement,
  index: number,
  announce: boolean,
): Promise<Segment[]> {
  let other: Uint8Array = new Uint8Array()
  const prove: ProverPool['prove'] = (kind, input, signal) => {
    if (kind !== 'product') return prover.pool.prove(kind, input, signal)
    const product = input as ProverInputs['product']
    if (product.first !== product.gamma) return prover.pool.prove(kind, input, signal)
    const values = movedValues([...product.values], product.gamma)
    other = bigintToBytes(prover.committer.stage('product', values, product.blind), 32)
    return prover.pool.prove('product', { ...product, values }, signal) as never
  }
  const segments = await proveStatement(statement, index, { ...prover, pool: { ...prover.pool, prove } })
  return segments.map((segment, i) => (i === 0 && announce ? { ...segment, stage: other } : segment))
}

test('values staged after γ is known: the commitment to them gives another γ, and the one sent before commits to others', async () => {
  for (const announce of [true, false]) {
    const attested = await attest(gramWorld, pool, {
      async prove(each, model, job, challenge, tileDraws) {
        const plan = planOf(model, job, challenge, tileDraws, false)
        const leaf = await openingsOf(job, plan.statements)
        const prover: Prover = { pool: each, committer: job.committer, challenge, leaf }
        const proofs: Segment[][] = []
        for (const [i, statement] of plan.statements.entries()) {
          if (statement.kind !== 'product') {
            proofs.push(await proveStatement(statement, i, prover))
            continue
          }
          proofs.push(await chosenLate(prover, statement, i, announce))
        }
        return { concede: false, ...openPlan(job, plan), statements: proofs.map((segments) => ({ segments })) }
      },
    })
    assert.equal(await faultsOf(attested, gramWorld), ['PROOF_PAIRING', 'PROOF_PAIRING'])
  }
})

test('γ is another for each job, statement and batch', () => {
  const { challenge } = gramHonest.facts
  const at = (receipt: string, statement: number, beacon: string): bigint =>
    jobChallenge({ ...challenge, beacon: bytes32(beacon) }, bytes32(receipt), gram.cid.bytes).gamma(statement, [])
  assert.is(new Set([at('a', 0, 'b'), at('b', 0, 'b'), at('a', 1, 'b'), at('a', 0, 'c')]).size, 4)
})

/** Serves what a forged trace says, proves what it can, and is found at statements of these ops and no others. */
async function caught(forge: (trace: Trace) => Trace, ops: (typeof ZOO)[number][]): Promise<void> {
  const cheat: Forger = forger(forge)
  const serving = makeWorld({
    model: zoo,
    input: (i) => [zooInput(i)],
    serve: (model, inputs) => traceOutputs(model.manifest, forge(evaluate(model.manifest, model.weights, inputs))),
  })
  const attested = await attest(serving, pool, cheat)
  assert.equal([...new Set(cheat.refused)].sort(), ops.map(zooOp).sort())
  assert.equal(await faultsOf(attested, serving), ['PROOF_PAIRING', 'PROOF_PAIRING'])
}

/** One element of an op's output replaced, everything behind it recomputed; `rest` changes what else the op leaves behind. */
const replaced =
  (name: (typeof ZOO)[number], change: (value: number, trace: Trace) => number, rest: Partial<TensorTrace> = {}) =>
  (trace: Trace): Trace => {
    const { output } = zoo.manifest.ops[zooOp(name)]!
    const value = (trace.tensors[output]!.value as Int16Array).slice()
    value[0] = change(value[0]!, trace)
    const forged = forgedAt(trace, zoo, zooOp(name), value)
    return { tensors: forged.tensors.map((each, id) => (id === output ? { ...each!, ...rest } : each)) }
  }

test('a product off by one', async () => {
  await caught(
    replaced('scores', (value) => value + 1),
    ['scores'],
  )
})

test('a maximum replaced: by another member of its window, by a number above all, by one below', async () => {
  // scores is symmetric, and its element 1 stands in the window beside the maximum.
  await caught(
    replaced('top', (_, trace) => Math.min(...(trace.tensors[1]!.value as Int16Array).subarray(0, 2))),
    ['top'],
  )
  await caught(
    replaced('top', (value) => value + 1),
    ['top'],
  )
  await caught(
    replaced('top', (value) => value - 1),
    ['top'],
  )
})

test('a quotient off by one, whether its remainder stays, or goes with it beyond the divisor', async () => {
  await caught(
    replaced('ratio', (value) => value + 1),
    ['ratio'],
  )
  for (const by of [1, -1])
    await caught(
      (trace) => {
        const { rem, slack } = trace.tensors[3]!
        const divisor = (trace.tensors[2]!.value as Int16Array)[0]! + 32_769
        // Modulo 2^16 the two equations hold again; over the integers they do not.
        const moved = (limbs: Uint16Array, change: number) =>
          limbs.map((limb, i) => (i === 0 ? (limb + change + 65_536) % 65_536 : limb))
        return replaced('ratio', (value) => value + by, {
          rem: moved(rem!, -by * divisor),
          slack: moved(slack!, by * divisor),
        })(trace)
      },
      ['ratio'],
    )
})

test('a remainder chosen late: the leaves of another trace stand under no anchored root', async () => {
  const attested = await attest(world, pool, {
    async prove(each, model, job, challenge, tileDraws) {
      const late = await commitJob(job.committer, model, { ...job.job, inputs: [zooInput(77)] })
      const plan = planOf(model, late, challenge, tileDraws, false)
      const prover: Prover = {
        pool: each,
        committer: job.committer,
        challenge,
        leaf: await openingsOf(late, plan.statements),
      }
      const none = new Uint8Array()
      const proofs = await Promise.all(
        plan.statements.map((statement, i) =>
          proveStatement(statement, i, prover).catch((): Segment[] => [
            { proof: new Uint8Array(256), accumulator: none, stage: none, signals: none },
          ]),
        ),
      )
      return { concede: false, ...openPlan(late, plan), statements: proofs.map((segments) => ({ segments })) }
    },
  })
  assert.equal(await faultsOf(attested, world), ['TRACE_PATH', 'TRACE_PATH'])
  const under = copyOf(attested.message)
  under.jobs.forEach((job, i) => {
    job.trees = honest.message.jobs[i]!.trees
    job.tensors = honest.message.jobs[i]!.tensors
    job.tracePath = honest.message.jobs[i]!.tracePath
  })
  assert.equal(await faultsOf({ facts: honest.facts, message: under }, world), ['LEAF_PATH', 'LEAF_PATH'])
})

test('a root off by one, its remainders as they were or fitted to it', async () => {
  await caught(
    replaced('root', (value) => value + 1),
    ['root'],
  )
  await caught(
    (trace) => {
      const { rem, slack } = trace.tensors[4]!
      const s = (trace.tensors[4]!.value as Int16Array)[0]! + 32_769
      // v − (s − 1)² fits its limbs, and 2(s − 1) less that is below zero.
      const fitted = rem!.map((limb, i) => (i === 0 ? limb + 2 * s - 1 : limb))
      const wrapped = slack!.map((limb, i) => (i === 0 ? (limb - 2 * s - 1 + 65_536) % 65_536 : limb))
      return replaced('root', (value) => value - 1, { rem: fitted, slack: wrapped })(trace)
    },
    ['root'],
  )
})

test('statements of one job in the other, each at the same place', async () => {
  for (let i = 0; i < honest.message.jobs[0]!.statements.length; i++) {
    const spliced = copyOf(honest.message)
    spliced.jobs[0]!.statements[i] = spliced.jobs[1]!.statements[i]!
    assert.equal(await faultsOf({ facts: honest.facts, message: spliced }, world), ['PROOF_PAIRING', null])
  }
})

test.run()
