import { ZERO_CHAIN } from '../../circuits/commit.ts'
import { extremumSignals, pointwiseSignals, productSignals, relationSignals } from '../../circuits/signals.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { foldStaged } from '../../models/statements.ts'
import { bytesToBigint, equalBytes } from '../../protocol/bytes.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import { signalsHash } from '../../protocol/claims.ts'
import { FIELD_PRIME } from '../../protocol/field.ts'
import type { JobAttestation, StatementProof } from '../../protocol/gen/sinter_pb.js'
import type { LeafRef, PointwiseStatement, StagedStatement, Statement } from '../../protocol/statement.ts'
import { type BadProof, check, type Fault, fail } from './faults.ts'
import { segmentsOf, stagesOf } from './segments.ts'
import { endMasks, powersOf } from './stage.ts'

/** `stated` is what the prover says that the proof is for. */
type Claim = BadProof & { proof: Uint8Array; where: string; stated: Uint8Array }

/** What the public signals are made of besides the statement: opened leaves, the challenge, and Poseidon for the last link. */
export type ClaimContext = {
  leaf(ref: LeafRef): bigint
  challenge: JobChallenge
  /** Poseidon(acc, blind). */
  chain(acc: bigint, blind: bigint): bigint
}

/** Fault label of a verifier's refusal code. */
const PROOF_FAULT: Record<string, Fault> = {
  SIGNAL_COUNT: 'PROOF_SIGNALS',
  SIGNAL_RANGE: 'PROOF_SIGNALS',
  PROOF_LENGTH: 'PROOF_POINTS',
  POINT_RANGE: 'PROOF_POINTS',
  POINT_OFF_CURVE: 'PROOF_POINTS',
  POINT_SUBGROUP: 'PROOF_POINTS',
  PAIRING: 'PROOF_PAIRING',
}

/** 32 bytes of a field element in its one spelling, or a fault. */
function scalar(bytes: Uint8Array, fault: Fault, where: string): bigint {
  check(bytes.length === 32, fault, where)
  const value = bytesToBigint(bytes)
  check(value < FIELD_PRIME, fault, where)
  return value
}

/** The staged segments of a statement as the prover sent them, and the relation that their γ folds it to. */
function openStages(statement: StagedStatement, index: number, given: StatementProof, challenge: JobChallenge) {
  const stages = stagesOf(statement)
  check(given.segments.length > stages.length, 'SEGMENT_COUNT', `statement ${index}`)
  const commitments = stages.map((_, i) => given.segments[i]!.stage)
  const values = commitments.map((bytes, i) => scalar(bytes, 'STAGE', `statement ${index} segment ${i}`))
  const gamma = challenge.gamma(index, commitments)
  const staged = stages.map((stage, i) => ({ ...stage, com: values[i]! }))
  return { staged, gamma, relation: foldStaged(statement, gamma) }
}

/** Claims of a relation, or of a staged statement: staged segments first, then the relation, on one chain of running sums. */
function chainClaims(
  statement: Exclude<Statement, PointwiseStatement>,
  index: number,
  given: StatementProof,
  context: ClaimContext,
): Claim[] {
  const { challenge, chain } = context
  const { staged, gamma, relation } =
    statement.kind === 'relation'
      ? { staged: [], gamma: 0n, relation: statement }
      : openStages(statement, index, given, challenge)
  const segments = segmentsOf(relation)
  const count = staged.length + segments.length
  check(given.segments.length === count, 'SEGMENT_COUNT', `statement ${index}`)
  let accIn = ZERO_CHAIN
  const link = (i: number) => {
    const where = `statement ${index} segment ${i}`
    const { proof, accumulator, stage, signals: stated } = given.segments[i]!
    if (i >= staged.length) check(stage.length === 0, 'STAGE', where)
    const last = i === count - 1
    if (last) check(accumulator.length === 0, 'ACCUMULATOR', where)
    // The last link is the public constant under a zero blind: nobody but the statement chooses it.
    const accOut = last ? chain(relation.c, 0n) : scalar(accumulator, 'ACCUMULATOR', where)
    const links = { accIn, accOut, binding: challenge.binding(index, i) }
    accIn = accOut
    return { links, proof, where, stated, statement: index, segment: i }
  }
  return [
    ...staged.map(({ com, first, ends }, i): Claim => {
      const { links, ...rest } = link(i)
      const common = { ...links, com, gamma, first: powersOf(gamma, first, 1)[0]! }
      return statement.kind === 'product'
        ? { kind: 'product', signals: productSignals(common), ...rest }
        : { kind: 'extremum', signals: extremumSignals({ ...common, ends: endMasks(ends) }), ...rest }
    }),
    ...segments.map((terms, i): Claim => {
      const { links, ...rest } = link(staged.length + i)
      const leaves = terms.map(({ leaf }) => context.leaf(leaf))
      return {
        kind: 'relation',
        signals: relationSignals({ ...links, leaves, u: terms.flatMap(({ u }) => u) }),
        ...rest,
      }
    }),
  ]
}

function pointwiseClaims(
  statement: PointwiseStatement,
  index: number,
  given: StatementProof,
  context: ClaimContext,
): Claim[] {
  const where = `statement ${index}`
  check(given.segments.length === 1, 'SEGMENT_COUNT', where)
  const { proof, accumulator, stage, signals: stated } = given.segments[0]!
  check(stage.length === 0, 'STAGE', where)
  check(accumulator.length === 0, 'ACCUMULATOR', where)
  const { a, b, hi, mode, mask, tol, knots } = statement
  const signals = pointwiseSignals({
    a: context.leaf(a),
    b: context.leaf(b),
    hi: hi === null ? null : context.leaf(hi),
    mode,
    mask,
    tol,
    knots,
    binding: context.challenge.binding(index, 0),
  })
  return [{ kind: 'pointwise', signals, proof, where, stated, statement: index, segment: 0 }]
}

/** Steps 4 and 5 of DESIGN §5.6 for one job: every statement the challenge asks for, every segment. Returns how many proofs. */
export async function checkProofs(
  verifier: Verifier,
  statements: Statement[],
  job: JobAttestation,
  context: ClaimContext,
): Promise<number> {
  check(
    job.statements.length === statements.length,
    'STATEMENT_COUNT',
    `${job.statements.length} of ${statements.length}`,
  )
  const claims = statements.flatMap((statement, i) =>
    statement.kind === 'pointwise'
      ? pointwiseClaims(statement, i, job.statements[i]!, context)
      : chainClaims(statement, i, job.statements[i]!, context),
  )
  const result = await verifier.verifyAll(claims)
  if (!result.ok) {
    const { kind, signals, where, stated, statement, segment } = claims[result.index]!
    const asClaimed = equalBytes(stated, signalsHash(kind, signals))
    const badProof = asClaimed ? { statement, segment, kind, signals } : null
    fail(PROOF_FAULT[result.code] ?? 'PROOF_PAIRING', `${where}: ${result.code}`, badProof)
  }
  // What the chain would hold the prover to.
  for (const { kind, signals, where, stated } of claims)
    check(equalBytes(stated, signalsHash(kind, signals)), 'PROOF_SIGNALS', where)
  return claims.length
}
