import {
  type Form,
  type LeafRef,
  type RelationTerm,
  SEGMENT_LEAVES,
  STAGE_FORMS,
  type StagedStatement,
  type Statement,
} from '../../protocol/statement.ts'

export const leafKey = ({ tensor, tree, index }: LeafRef): string => `${tensor}/${tree}/${index}`

const leafOrder = (a: LeafRef, b: LeafRef): number => a.tensor - b.tensor || a.tree - b.tree || a.index - b.index

/** A relation's terms, at most ten leaves at a time: each run becomes one proof, chained to the next by its running sum. */
export function segmentsOf({ terms }: { terms: RelationTerm[] }): RelationTerm[][] {
  const out: RelationTerm[][] = []
  for (let at = 0; at < terms.length; at += SEGMENT_LEAVES) out.push(terms.slice(at, at + SEGMENT_LEAVES))
  return out
}

/** What one staged segment covers: the forms from `first` on, and for an extremum where windows end among them. */
export type Stage = { first: number; forms: Form[]; ends: boolean[] }

/** The staged segments of a statement; its forms fill them exactly. */
export function stagesOf({ kind, forms, ends }: StagedStatement): Stage[] {
  const size = STAGE_FORMS[kind]
  return Array.from({ length: forms.length / size }, (_, i) => ({
    first: i * size,
    forms: forms.slice(i * size, (i + 1) * size),
    ends: ends.slice(i * size, (i + 1) * size),
  }))
}

/** All leaves that a statement speaks of, each once, by tensor, tree and index. */
export function leavesOf(statement: Statement): LeafRef[] {
  const refs = new Map<string, LeafRef>()
  const add = (ref: LeafRef | null): void => {
    if (ref !== null) refs.set(leafKey(ref), ref)
  }
  if (statement.kind === 'pointwise') for (const ref of [statement.a, statement.b, statement.hi]) add(ref)
  else {
    for (const { leaf } of statement.terms) add(leaf)
    if (statement.kind !== 'relation') for (const { limbs } of statement.forms) for (const { leaf } of limbs) add(leaf)
  }
  return [...refs.values()].sort(leafOrder)
}

/** Proofs that a statement takes: one for each staged segment, one for every ten leaves of its relation. */
export function proofCount(statement: Statement): number {
  if (statement.kind === 'pointwise') return 1
  const staged = statement.kind === 'relation' ? 0 : statement.forms.length / STAGE_FORMS[statement.kind]
  return staged + Math.ceil(leavesOf(statement).length / SEGMENT_LEAVES)
}
