import { type RelationStatement, type RelationTerm, SEGMENT_LEAVES } from '../../protocol/statement.ts'

/** A relation's terms, at most ten leaves at a time: each run becomes one proof, chained to the next by its running sum. */
export function segmentsOf(statement: RelationStatement): RelationTerm[][] {
  const out: RelationTerm[][] = []
  for (let at = 0; at < statement.terms.length; at += SEGMENT_LEAVES)
    out.push(statement.terms.slice(at, at + SEGMENT_LEAVES))
  return out
}
