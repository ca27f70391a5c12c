import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileSource } from '../../circuits/compile.ts'
import type { LeafOpening } from '../../circuits/prove.ts'
import { relationWitnessInput } from '../../circuits/prove.ts'
import { relationSignals } from '../../circuits/signals.ts'
import { createWitnessCalculator } from '../../circuits/witness.ts'
import { evaluate, type Trace, traceOutputs, withServed } from '../../models/canonical.ts'
import { limbSum } from '../../models/forms.ts'
import { commitTrace } from '../../node/attestation/commit.ts'
import { FaultFound } from '../../node/attestation/faults.ts'
import type { JobPlan } from '../../node/attestation/layout.ts'
import { openLeaves, openTrees } from '../../node/attestation/openings.ts'
import { checkProofs } from '../../node/attestation/proofs.ts'
import { openingsOf, openPlan, type Prover, proveStatement } from '../../node/attestation/prove.ts'
import { leafKey } from '../../node/attestation/segments.ts'
import type { AttestComponents } from '../../node/stages/attest.ts'
import { assetPath } from '../../protocol/assets.ts'
import { bytesToBigint } from '../../protocol/bytes.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import { FIELD_PRIME, mod } from '../../protocol/field.ts'
import { openReceipt } from '../../protocol/rules/receipt.ts'
import { LEAF_LIMBS, type LeafRef, type RelationStatement, TREE } from '../../protocol/statement.ts'
import { calculator, element, leaf, satisfied } from '../circuits/fixtures.ts'
import { planOf } from '../node/attestation-forger.ts'
import { idealProofs } from '../node/attestation-ideal.ts'
import {
  type Attested,
  attest,
  committer,
  DIGITS,
  makeWorld,
  NETWORK,
  TILE_DRAWS,
  verify,
} from '../node/attestation-world.ts'
import { rewritten } from './detection.ts'
import { smallSolution } from './lattice.ts'

/**
 * The forgeries of DESIGN §5.2 that a rule stands against, carried out where the rule is left out and refused where it is not.
 * (a) and (c) here; (b), and values staged after γ, in test/circuits/staged.test.ts.
 */

const { pool, verifier } = await idealProofs()
const { manifest } = DIGITS

/** Inverse mod r. */
function inverse(value: bigint): bigint {
  let [a, b, x, y] = [mod(value), FIELD_PRIME, 1n, 0n]
  while (a !== 0n) {
    const q = b / a
    ;[a, b, x, y] = [b - q * a, a, y - q * x, x]
  }
  return mod(y)
}

/* (a) Remainders chosen after the challenge. */

/** The linear op before the last is checked whole in every drawn job. */
const OP = manifest.ops.findLastIndex(({ kind }) => kind === 'linear') - 1
/** Remainders that the lattice chooses: r^(1/24) is 1,600, far below the 65,536 values of a limb. */
const CHOSEN = 24
const HALF = 32_768n

/** Eight values of the op made up, and everything behind them recomputed. */
function madeUp(inputs: Int16Array[]): Trace {
  const { value } = evaluate(manifest, DIGITS.weights, inputs).tensors[manifest.ops[OP]!.output]!
  return rewritten(
    DIGITS,
    inputs,
    OP,
    Array.from(value, (each, i) => (i < 8 ? 4096 - each : each)),
  )
}

/** Limbs of a remainder leaf with which a false relation holds. */
function lateRemainders(
  statement: RelationStatement,
  at: LeafRef,
  limbsOf: (ref: LeafRef) => Uint16Array,
): Uint16Array {
  const out = limbsOf(at).slice()
  const { u } = statement.terms.find((term) => leafKey(term.leaf) === leafKey(at))!
  const missing = statement.c - limbSum(statement.terms, limbsOf)
  const chosen = u.slice(0, CHOSEN)
  const from = chosen.reduce((sum, each, j) => sum + each * (BigInt(out[j]!) - HALF), missing)
  smallSolution(chosen, mod(from), FIELD_PRIME, inverse).forEach((small, j) => {
    out[j] = Number(HALF + small)
    assert.is(BigInt(out[j]!), HALF + small, 'a remainder in range')
  })
  return out
}

/** Commits to made-up values; once the challenge is known, exchanges remainders so that the relation holds. */
const choosesLate: Pick<AttestComponents, 'commit' | 'prove'> = {
  commit: async (by, model, job) => commitTrace(by, model, job, withServed(manifest, madeUp(job.inputs), job.served)),
  async prove(proofs, model, job, challenge, tileDraws) {
    const plan = planOf(model, job, challenge, tileDraws, false)
    const committed = await openingsOf(job, plan.statements)
    const exchanged = new Map<string, LeafOpening>()
    const leafOf = (ref: LeafRef): LeafOpening => exchanged.get(leafKey(ref)) ?? committed(ref)
    const late = plan.statements.find((each): each is RelationStatement => each.op === OP && each.kind === 'relation')!
    const { leaf: ref } = late.terms.find(({ leaf: each }) => each.tree === TREE.rem)!
    exchanged.set(leafKey(ref), { limbs: lateRemainders(late, ref, (each) => leafOf(each).limbs), salt: 1n })
    const prover: Prover = { pool: proofs, committer, challenge, leaf: leafOf }
    const proven = await Promise.all(plan.statements.map((each, i) => proveStatement(each, i, prover)))
    const opened = openPlan(job, plan)
    const { limbs, salt } = exchanged.get(leafKey(ref))!
    const shown = plan.leaves.findIndex((each) => leafKey(each) === leafKey(ref))
    opened.leaves[shown] = { ...opened.leaves[shown]!, leaf: committer.leavesBytes(1, () => ({ limbs, salt })) }
    return { concede: false, ...opened, statements: proven.map((segments) => ({ segments })) }
  },
}

const forgedWorld = makeWorld({ serve: (_, inputs) => traceOutputs(manifest, madeUp(inputs)) })

/** Steps 2 to 5 of verification with one rule left out: remainders need not stand in the trace. */
async function weakVerify({ facts, message }: Attested): Promise<string> {
  try {
    for (const [index, job] of message.jobs.entries()) {
      const receipt = openReceipt(job.receipt!, NETWORK)
      if (receipt.action !== 'accept') return receipt.code
      const challenge = jobChallenge(facts.challenge, receipt.value.hash, DIGITS.cid.bytes)
      const plan: JobPlan = planAgain(challenge)
      const place = { root: facts.challenge.traceRoot, index, count: message.jobs.length }
      const records = openTrees(DIGITS, receipt.value, job, plan, place)
      const bound = (of: number): boolean => plan.leaves[of]!.tree !== TREE.rem
      const rest = { ...job, leaves: job.leaves.filter((_, i) => bound(i)) }
      const strict = openLeaves(rest, { ...plan, leaves: plan.leaves.filter((_, i) => bound(i)) }, records)
      const free = new Map(plan.leaves.map((ref, i) => [leafKey(ref), bytesToBigint(job.leaves[i]!.leaf)]))
      const open = (ref: LeafRef): bigint => (ref.tree === TREE.rem ? free.get(leafKey(ref))! : strict(ref))
      await checkProofs(verifier, plan.statements, job, { leaf: open, challenge, chain: committer.chain })
    }
    return 'valid'
  } catch (error) {
    if (error instanceof FaultFound) return error.fault
    throw error
  }
}
const planAgain = (challenge: ReturnType<typeof jobChallenge>): JobPlan =>
  planOf(DIGITS, { trees: [], job: {} } as never, challenge, TILE_DRAWS, false)

test('forgery (a): remainders chosen after the challenge meet a false relation, and not here', async () => {
  assert.is(manifest.ops[OP]!.kind, 'linear')
  const forged = await attest(forgedWorld, pool, { ...choosesLate, beacon: 'late' })
  assert.is(await weakVerify(forged), 'valid', 'where remainders are bound to nothing, made-up values are accepted')
  const { findings, verdicts } = await verify(forged, verifier, forgedWorld)
  assert.equal(
    findings.map(({ fault }) => fault),
    ['LEAF_PATH', 'LEAF_PATH'],
  )
  assert.equal(verdicts, ['forged', 'forged'])
  // Nor does it help to show the commitment that was anchored beside the proof about another.
  const { job: jobs } = { job: forged.message.jobs }
  const anchored = await attest(forgedWorld, pool, {
    ...choosesLate,
    beacon: 'late',
    async prove(...args) {
      const plan = planOf(DIGITS, args[2], args[3], TILE_DRAWS, false)
      return { ...(await choosesLate.prove!(...args)), ...openPlan(args[2], plan) }
    },
  })
  assert.is(jobs.length, anchored.message.jobs.length)
  const again = await verify(anchored, verifier, forgedWorld)
  assert.equal(
    again.findings.map(({ fault }) => fault),
    ['PROOF_PAIRING', 'PROOF_PAIRING'],
  )
  assert.is(await weakVerify(anchored), 'PROOF_PAIRING')
})

test('the same made-up values with the remainders that were committed have no proof', async () => {
  const error = await attest(forgedWorld, pool, { commit: choosesLate.commit, beacon: 'late' }).catch(
    (reason) => reason,
  )
  assert.is(error.code, 'WITNESS_UNSATISFIED')
})

/* (c) Coefficients that nothing binds to the manifest. */

test('forgery (c): coefficients seen at one known point only meet a false sum, and public ones do not', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sinter-unbound-'))
  const { wasm } = await compileSource(assetPath('test/adversary/unbound.circom'), folder)
  const weak = await createWitnessCalculator(new Uint8Array(await readFile(wasm)))
  await rm(folder, { recursive: true, force: true })

  const opened = leaf('unbound', (j) => 1 + ((j * 40_503) & 0x7fff))
  const z = [...opened.limbs].map(BigInt)
  const u = z.map((_, i) => element(`coefficient ${i}`))
  const sum = (coefficients: bigint[]): bigint => mod(coefficients.reduce((all, each, i) => all + each * z[i]!, 0n))
  const powers = (kappa: bigint): bigint[] => {
    let power = 1n
    return z.map(() => (power = mod(power * kappa)))
  }
  const digest = (coefficients: bigint[], kappa: bigint): bigint => {
    const weights = powers(kappa)
    return mod(coefficients.reduce((all, each, i) => all + each * weights[i]!, 0n))
  }
  const known = element('kappa')
  /** The weakened verifier gives c, κ and the digest of the true coefficients; the prover has the rest. */
  const weakAccepts = (c: bigint, coefficients: bigint[], kappa = known): boolean =>
    satisfied(() =>
      weak.calculate({
        leaf: [committer.leaf(opened.limbs, opened.salt)],
        c: [c],
        kappa: [kappa],
        digest: [digest(u, kappa)],
        u: coefficients,
        limbs: opened.limbs,
        salt: [opened.salt],
      }),
    )
  const truth = sum(u)
  const lie = mod(truth + 12_345n)
  assert.ok(weakAccepts(truth, u))
  assert.not(weakAccepts(lie, u))
  // Two coefficients are moved: by x and y with x·κ^3 + y·κ^10 = 0 and x·z_2 + y·z_9 = 12345.
  const weights = powers(known)
  const x = mod(12_345n * weights[9]! * inverse(z[2]! * weights[9]! - z[9]! * weights[2]!))
  const y = mod(-x * weights[2]! * inverse(weights[9]!))
  const moved = u.with(2, mod(u[2]! + x)).with(9, mod(u[9]! + y))
  assert.ok(weakAccepts(lie, moved), 'the false sum is met')
  // A point that is known only after the coefficients were fixed would see it …
  assert.not(weakAccepts(lie, moved, element('a later kappa')))

  // … and here each coefficient is a public signal. The lie has a witness under the moved ones, for which no verifier asks.
  const relation = await calculator('relation')
  const input = { leaves: [opened], accIn: 0n, blindIn: 0n, blindOut: 0n, binding: 1n }
  const made = relationWitnessInput(committer, { ...input, u: moved })
  assert.is(made.sum, lie)
  const asked = relationSignals({
    leaves: [committer.leaf(opened.limbs, opened.salt)],
    accIn: committer.chain(0n, 0n),
    accOut: committer.chain(lie, 0n),
    binding: 1n,
    u,
  })
  const { proof } = await pool.prove('relation', { ...input, u: moved })
  assert.equal(await verifier.verify('relation', made.signals, proof), { ok: true })
  assert.equal(await verifier.verify('relation', asked, proof), { ok: false, code: 'PAIRING' })
  const honest = relationWitnessInput(committer, { ...input, u })
  assert.ok(satisfied(() => relation.calculate(honest.input)))
  assert.not(satisfied(() => relation.calculate({ ...honest.input, accOut: [committer.chain(lie, 0n)] })))
})

test('what the lattice finds solves its equation, in range', () => {
  for (const n of [20, CHOSEN, LEAF_LIMBS / 2]) {
    const u = Array.from({ length: n }, (_, i) => element(`lattice ${n} ${i}`))
    const small = smallSolution(u, element('target'), FIELD_PRIME, inverse)
    assert.is(mod(u.reduce((all, each, i) => all + each * small[i]!, 0n)), element('target'))
    assert.ok(small.every((each) => each > -HALF && each < HALF))
  }
})

test.run()
