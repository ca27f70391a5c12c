import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, traceOutputs } from '../../models/canonical.ts'
import { allTiles } from '../../models/draw.ts'
import type { Manifest } from '../../models/manifest.ts'
import { commitJob } from '../../node/attestation/commit.ts'
import { isCheckable, MAX_OPEN_BYTES, MAX_OPEN_UNITS, MAX_OPEN_WORK, openCost } from '../../node/attestation/cost.ts'
import type { Fault } from '../../node/attestation/faults.ts'
import { createTracer } from '../../node/attestation/tracer.ts'
import type { VerifyContext } from '../../node/attestation/verify.ts'
import { checkProvable, worstCost } from '../../node/model/cost.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { conceding, forgedAt, forger, honestly } from './attestation-forger.ts'
import { idealProofs } from './attestation-ideal.ts'
import { axis, operand, zooInput, zooModel, zooOp } from './attestation-models.ts'
import {
  type Attested,
  attest,
  bytes32,
  copyOf,
  DIGITS,
  keyOf,
  makeWorld,
  verify,
  type World,
} from './attestation-world.ts'

/** The policies of a receipt: `open`, in which a job is shown, and `full`, in which all of it is proven. */

const { pool, verifier } = await idealProofs()
const zoo = await zooModel()
const input = (i: number) => [zooInput(i)]
const open = makeWorld({ model: zoo, input, policy: 'open' })
const shown = await attest(open, pool)

type Message = Payload<'attestation'>
const judge = async (
  attested: Pick<Attested, 'facts' | 'message'>,
  world: World,
  more: Partial<VerifyContext> = {},
) => {
  const { findings, verdicts, digest, proofs } = await verify(attested, verifier, world, more)
  return { faults: findings.map(({ fault }) => fault), verdicts, digest, proofs }
}

/** A change to the first job of an open attestation is found there, and nowhere else. */
async function spoils(fault: Fault, change: (job: Message['jobs'][number]) => void): Promise<void> {
  const message = copyOf(shown.message)
  change(message.jobs[0]!)
  const { faults, verdicts } = await judge({ facts: shown.facts, message }, open)
  assert.equal(
    [faults, verdicts],
    [
      [fault, null],
      ['forged', 'forged'],
    ],
  )
}

test('open: a shown job is computed again, here or in a child, and nothing is proven', async () => {
  const here = await judge(shown, open)
  assert.equal([here.verdicts, here.proofs], [['valid', 'valid'], 0])
  const tracer = createTracer()
  assert.equal(await judge(shown, open, { commit: tracer.commit }), here)
  await tracer.close()
  const other = await judge(shown, open, { voter: keyOf('another voter').address })
  assert.not.equal(other.digest, here.digest)
})

test('open: what is off by more than the tolerance is tolerance, up to it valid', async () => {
  const { quanta } = zoo.manifest.outputs[0]!.tolerance
  for (const [by, verdict] of [
    [quanta, 'valid'],
    [quanta + 1, 'tolerance'],
  ] as const) {
    const world = makeWorld({
      model: zoo,
      input,
      policy: 'open',
      serve: (model, inputs) =>
        traceOutputs(model.manifest, evaluate(model.manifest, model.weights, inputs)).map((values) =>
          values.map((value, i) => (i === 1 ? value + by : value)),
        ),
    })
    const { faults, verdicts } = await judge(await attest(world, pool), world)
    assert.equal(verdicts, [verdict, verdict])
    assert.is(faults[0], verdict === 'valid' ? null : 'TOLERANCE_EXCEEDED')
  }
})

test('open: a trace that does not follow from the inputs was not the one that is computed', async () => {
  const cheat = forger((trace) => forgedAt(trace, zoo, zooOp('top'), Int16Array.of(1, 2)))
  const attested = await attest(open, pool, {
    commit: cheat.commit,
    prove: honestly,
  })
  assert.equal((await judge(attested, open)).faults, ['TRACE_PATH', 'TRACE_PATH'])
})

test('open: inputs, outputs or a key other than those of the receipt', async () => {
  await spoils('INPUT_ROOT', ({ opening }) => {
    opening!.inputs[0]![4]! ^= 1
  })
  await spoils('OUTPUT_ROOT', ({ opening }) => {
    opening!.served[0]![0]! ^= 1
  })
  await spoils('INPUT_ROOT', ({ opening }) => {
    opening!.jobKey = bytes32('another key')
  })
  await spoils('TRACE_PATH', (job) => {
    job.tracePath[0]![0]! ^= 1
  })
})

test('OPENING: missing, of other sizes, beside proofs or a concession, or where the policy hides values', async () => {
  await spoils('OPENING', (job) => {
    delete (job as { opening?: unknown }).opening
  })
  await spoils('OPENING', ({ opening }) => {
    opening!.jobKey = new Uint8Array(31)
  })
  await spoils('OPENING', ({ opening }) => opening!.inputs.push(new Uint8Array(32)))
  await spoils('OPENING', ({ opening }) => opening!.served.pop())
  await spoils('OPENING', ({ opening }) => {
    opening!.inputs[0] = opening!.inputs[0]!.subarray(1)
  })
  await spoils('OPENING', (job) => {
    job.concede = true
  })
  const zk = makeWorld({ model: zoo, input })
  const proven = await attest(zk, pool)
  await spoils('OPENING', (job) => {
    job.leaves = proven.message.jobs[0]!.leaves
  })
  const message = copyOf(proven.message)
  message.jobs[0]!.opening = shown.message.jobs[0]!.opening!
  assert.equal((await judge({ facts: proven.facts, message }, zk)).faults, ['OPENING', null])
})

test('full: every tile is proven, and one edited value in whatever op is found without luck', async () => {
  const full = makeWorld({ policy: 'full', receipts: [3, 2] })
  const honest = await attest(full, pool)
  const { verdicts } = await judge(honest, full)
  assert.equal(verdicts, ['valid', 'valid'])
  assert.ok(honest.message.jobs[0]!.statements.length > allTiles(DIGITS.manifest).length / 3)
  const conv = DIGITS.manifest.ops[0]!.output
  const edited = forger((trace) => {
    const value = (trace.tensors[conv]!.value as Int16Array).slice()
    value[700]! += 1
    return { tensors: trace.tensors.map((each, id) => (id === conv ? { ...each!, value } : each)) }
  })
  const found = await judge(await attest(full, pool, edited), full)
  assert.equal(
    [found.faults, [...new Set(edited.refused)]],
    [
      ['PROOF_PAIRING', 'PROOF_PAIRING'],
      [0, 1],
    ],
  )
})

test('canonical: what was served is the canonical output, and one quantum beside it is off', async () => {
  for (const policy of ['zk', 'open'] as const)
    for (const by of [0, 1]) {
      const world = makeWorld({
        model: zoo,
        input,
        policy,
        canonical: true,
        serve: (model, inputs) =>
          traceOutputs(model.manifest, evaluate(model.manifest, model.weights, inputs)).map((values) =>
            values.map((value, i) => (i === 0 ? value + by : value)),
          ),
      })
      const { faults, verdicts } = await judge(await attest(world, pool), world)
      const fault = by === 0 ? null : policy === 'open' ? 'TOLERANCE_EXCEEDED' : 'TOLERANCE_CONCEDED'
      assert.equal([verdicts![0], faults[0]], [by === 0 ? 'valid' : 'tolerance', fault])
    }
})

test('canonical: a provider that does not concede has no proof within a tolerance of zero', async () => {
  const world = makeWorld({ model: zoo, input, canonical: true })
  const stubborn = await attest(world, pool, {
    commit: (by, model, job) => commitJob(by, { ...model, manifest: zoo.manifest }, job),
    prove: async (by, model, ...rest) => conceding(false)(by, { ...model, manifest: zoo.manifest }, ...rest),
  })
  const { faults, verdicts } = await judge(stubborn, world)
  assert.equal(
    [verdicts, faults],
    [
      ['forged', 'forged'],
      ['PROOF_PAIRING', 'PROOF_PAIRING'],
    ],
  )
})

test('audit: a job that its consumer named is shown, whatever its receipt says, and the drawn ones are proven', async () => {
  const world = makeWorld({ model: zoo, input, audits: [2] })
  const attested = await attest(world, pool)
  assert.equal(
    attested.message.jobs.map(({ index, opening }) => [index, opening !== undefined]),
    [...new Set(world.points.map((point) => world.tree.find(point)))].sort((a, b) => a - b).map((i) => [i, i === 2]),
  )
  const { verdicts, faults } = await judge(attested, world)
  assert.equal([verdicts, faults], [Array(3).fill('valid'), Array(attested.message.jobs.length).fill(null)])
})

test('audit: one answer off the tolerance that no draw found', async () => {
  const { quanta } = zoo.manifest.outputs[0]!.tolerance
  let job = 0
  const world = makeWorld({
    model: zoo,
    input,
    audits: [2],
    serve: (model, inputs) =>
      traceOutputs(model.manifest, evaluate(model.manifest, model.weights, inputs)).map((values) =>
        job++ === 2 ? values.map((value) => value + quanta + 1) : values,
      ),
  })
  const { verdicts } = await judge(await attest(world, pool), world)
  assert.equal(verdicts, ['valid', 'valid', 'tolerance'])
})

test('audit: proofs instead of the job itself are refused, and so is leaving it out', async () => {
  const world = makeWorld({ model: zoo, input, audits: [2] })
  const proving = await attest(world, pool, {
    commit: async (by, model, job) => commitJob(by, model, { ...job, policy: 'zk' }),
  })
  assert.ok((await judge(proving, world)).faults.includes('OPENING'))
  const silent = await attest({ ...world, points: world.points.slice(0, 2), audited: [] }, pool)
  const found = await judge({ message: silent.message, facts: { ...silent.facts, points: world.points } }, world)
  assert.ok(found.faults.includes('DRAW_NOT_OPENED'))
})

test('full: fewer tiles than all are not enough', async () => {
  const full = makeWorld({ policy: 'full', receipts: [3, 2] })
  const few = await attest(full, pool, {
    commit: async (by, model, job) => commitJob(by, model, { ...job, policy: 'zk' }),
    prove: conceding(false),
  })
  const { faults, verdicts } = await judge(few, full)
  assert.equal(verdicts, ['forged', 'forged'])
  for (const fault of faults) assert.ok(['TREE_COUNT', 'TREE_PATH', 'LEAF_COUNT', 'STATEMENT_COUNT'].includes(fault!))
})

test('what a policy costs is bounded: proofs by tiles, and a computation by the model’s units', async () => {
  assert.ok(worstCost(DIGITS.manifest, 4, 'full').proofs >= DIGITS.manifest.tiles / 4)
  assert.ok(isCheckable(DIGITS.manifest, 4, 'open') && isCheckable(DIGITS.manifest, 4, 'full'))
  assert.ok(isCheckable({ ...DIGITS.manifest, units: MAX_OPEN_UNITS }, 4, 'open'))
  assert.not.ok(isCheckable({ ...DIGITS.manifest, units: MAX_OPEN_UNITS + 1 }, 4, 'open'))
})

/** A sum over `depth` neighbours for each of `width` outputs, with a weight of its own for each pair in an array of overlapping rows. */
function overlapping(width: number, depth: number): Manifest {
  const [input, output] = DIGITS.manifest.tensors.map((tensor) => ({ ...tensor, viewOf: null }))
  return {
    ...DIGITS.manifest,
    tensors: [
      { ...input!, shape: [depth] },
      { ...output!, shape: [width] },
    ],
    inputs: [{ ...DIGITS.manifest.inputs[0]!, tensor: 0, shape: [depth] }],
    outputs: [{ ...DIGITS.manifest.outputs[0]!, tensor: 1, shape: [width] }],
    ops: [
      {
        ...{ kind: 'linear', name: 'rows', output: 1, tile: 64, drop: 1, bias: 0 },
        terms: [
          {
            ...operand(0, [axis(0, 1)]),
            reduce: [depth],
            weight: { offset: 0, count: width + depth, strides: [1, 1] },
          },
        ],
      },
    ],
    units: width * depth,
  }
}

/** The largest of [1, 2^24] that fits, where all smaller ones do. */
function largest(fits: (n: number) => boolean): number {
  let [good, bad] = [1, 2 ** 24]
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2)
    if (fits(middle)) good = middle
    else bad = middle
  }
  return good
}

test('open: what computing again takes is bounded in work and in memory, to the last element', async () => {
  const fitsOf = (of: (n: number) => Manifest) => (n: number) => isCheckable(of(n), 4, 'open')
  // Long rows are gathered as one matrix: 8 GiB of it in a manifest of a few kilobytes and two megabytes of weights.
  const long = (n: number): Manifest => overlapping(n, 2 ** 11)
  const memory = largest(fitsOf(long))
  assert.ok(openCost(long(memory)).bytes <= MAX_OPEN_BYTES && openCost(long(memory + 1)).bytes > MAX_OPEN_BYTES)
  assert.ok(openCost(long(memory + 1)).work < MAX_OPEN_WORK && long(memory + 1).units < MAX_OPEN_UNITS)
  // Windows of one element after the other, over many tensors: little memory, much work.
  const chained = (n: number): Manifest => {
    const base = overlapping(64, 1)
    const [tensor] = base.tensors
    const size = 2 ** 18
    return {
      ...base,
      tensors: Array.from({ length: n + 1 }, () => ({ ...tensor!, shape: [size] })),
      ops: Array.from({ length: n }, (_, i) => ({
        ...{ kind: 'extremum', name: `max ${i}`, output: i + 1, tile: 64, reduce: [64] },
        input: operand(i, [axis(1, 1)]),
      })),
      inputs: [{ ...base.inputs[0]!, shape: [size] }],
      outputs: [{ ...base.outputs[0]!, tensor: n, shape: [size] }],
    }
  }
  const work = largest(fitsOf((n) => chained(Math.min(n, 1_000))))
  assert.ok(openCost(chained(work)).work <= MAX_OPEN_WORK && openCost(chained(work + 1)).work > MAX_OPEN_WORK)
  assert.ok(openCost(chained(work + 1)).bytes < MAX_OPEN_BYTES)
  // Who serves it refuses it, whatever the policy, and who votes calls it by its name.
  const { units } = DIGITS.manifest
  const world = makeWorld({ policy: 'open' })
  const attested = await attest(world, pool)
  const faultOf = async (manifest: Manifest) => {
    const commit = async (): Promise<never> => {
      throw new SinterError('REACHED', 'it would be computed')
    }
    const model = { ...DIGITS, manifest: { ...manifest, inputs: DIGITS.manifest.inputs, units } }
    return judge(attested, world, { model: async () => model, commit }).then(({ faults }) => faults[0], errorCode)
  }
  const limits = { draws: 1, tileDraws: 1, attestWindowS: 1e9, traceWindowS: 1e9, voteWindowS: 1e9, leafS: 1e-4 }
  const bad = long(memory + 1)
  assert.is(await faultOf(bad), 'MANIFEST_INVALID')
  for (const policy of ['zk', 'open'] as const)
    assert.throws(
      () => checkProvable(bad, limits, policy),
      (error: unknown) => errorCode(error) === 'MODEL_UNPROVABLE',
    )
  checkProvable(long(memory), limits, 'open')
})

test.run()
