import { ZERO_CHAIN } from '../../circuits/commit.ts'
import { type CircuitKind, pointwiseSignals, relationSignals } from '../../circuits/signals.ts'
import type { Verifier } from '../../circuits/verify.ts'
import { bytesToBigint } from '../../protocol/bytes.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import { FIELD_PRIME } from '../../protocol/field.ts'
import type { JobAttestation, StatementProof } from '../../protocol/gen/sinter_pb.js'
import type { LeafRef, PointwiseStatement, RelationStatement, Statement } from '../../protocol/statement.ts'
import { check, type Fault, fail } from './faults.ts'
import { segmentsOf } from './segments.ts'

type Claim = { kind: CircuitKind; signals: bigint[]; proof: Uint8Array; where: string }

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

function relationClaims(
  statement: RelationStatement,
  index: number,
  given: StatementProof,
  context: ClaimContext,
): Claim[] {
  const segments = segmentsOf(statement)
  check(given.segments.length === segments.length, 'SEGMENT_COUNT', `statement ${index}`)
  let accIn = ZERO_CHAIN
  return segments.map((terms, i) => {
    const where = `statement ${index} segment ${i}`
    const { proof, accumulator } = given.segments[i]!
    const last = i === segments.length - 1
    check(accumulator.length === (last ? 0 : 32), 'ACCUMULATOR', where)
    // The last link is the public constant under a zero blind: nobody but the statement chooses it.
    const accOut = last ? context.chain(statement.c, 0n) : bytesToBigint(accumulator)
    check(accOut < FIELD_PRIME, 'ACCUMULATOR', where)
    const leaves = terms.map(({ leaf }) => context.leaf(leaf))
    const u = terms.flatMap((term) => term.u)
    const signals = relationSignals({ leaves, accIn, accOut, binding: context.challenge.binding(index, i), u })
    accIn = accOut
    return { kind: 'relation', signals, proof, where }
  })
}

function pointwiseClaims(
  statement: PointwiseStatement,
  index: number,
  given: StatementProof,
  context: ClaimContext,
): Claim[] {
  const where = `statement ${index}`
  check(given.segments.length === 1, 'SEGMENT_COUNT', where)
  const { proof, accumulator } = given.segments[0]!
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
  return [{ kind: 'pointwise', signals, proof, where }]
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
    statement.kind === 'relation'
      ? relationClaims(statement, i, job.statements[i]!, context)
      : pointwiseClaims(statement, i, job.statements[i]!, context),
  )
  for (const { kind, signals, proof, where } of claims) {
    const result = await verifier.verify(kind, signals, proof)
    if (!result.ok) fail(PROOF_FAULT[result.code] ?? 'PROOF_PAIRING', `${where}: ${result.code}`)
  }
  return claims.length
}
