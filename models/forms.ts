import { mod } from '../protocol/field.ts'
import {
  type Form,
  LEAF_LIMBS,
  type LeafRef,
  type RelationTerm,
  STAGE_FORMS,
  type StagedStatement,
  TREE,
  type Tree,
} from '../protocol/statement.ts'
import { elementAt, type Reader } from './access.ts'
import { LIMB_OFFSET, WIDE_OFFSET } from './limbs.ts'
import type { Manifest } from './manifest.ts'
import { tensorOf } from './tiling.ts'

/** Linear forms over committed limbs, built up term by term. */

const WIDE = BigInt(WIDE_OFFSET)
const OFFSET = BigInt(LIMB_OFFSET)

const leafOrder = (a: LeafRef, b: LeafRef): number => a.tensor - b.tensor || a.tree - b.tree || a.index - b.index

/** Σ u·limb + constant with all coefficients of a leaf together; what a relation is made of. */
export type Sum = {
  add(tensor: number, tree: Tree, element: number, u: bigint): void
  /** A limb by its leaf, for trees whose leaves are not those of the elements. */
  addLimb(leaf: LeafRef, limb: number, u: bigint): void
  constant(value: bigint): void
  /** The relation that says the sum is 0: its terms by (tensor, tree, index), coefficients in [0, r). */
  relation(): { terms: RelationTerm[]; c: bigint }
}

export function createSum(): Sum {
  const leaves = new Map<string, { leaf: LeafRef; u: bigint[] }>()
  let total = 0n
  const addLimb = (leaf: LeafRef, limb: number, u: bigint): void => {
    const key = `${leaf.tensor}/${leaf.tree}/${leaf.index}`
    let entry = leaves.get(key)
    if (entry === undefined) {
      entry = { leaf, u: new Array<bigint>(LEAF_LIMBS).fill(0n) }
      leaves.set(key, entry)
    }
    entry.u[limb]! += u
  }
  return {
    addLimb,
    add: (tensor, tree, element, u) =>
      addLimb({ tensor, tree, index: Math.floor(element / LEAF_LIMBS) }, element % LEAF_LIMBS, u),
    constant(value) {
      total += value
    },
    relation: () => ({
      terms: [...leaves.values()]
        .sort((a, b) => leafOrder(a.leaf, b.leaf))
        .map(({ leaf, u }) => ({ leaf, u: u.map(mod) })),
      c: mod(-total),
    }),
  }
}

/** Where a form's parts go: a sum, or a form that is staged by itself. */
type Target = Pick<Sum, 'add' | 'addLimb' | 'constant'>

export function createForm(): Target & { form: Form } {
  const form: Form = { constant: 0n, limbs: [] }
  const addLimb = (leaf: LeafRef, limb: number, u: bigint): void => {
    form.limbs.push({ leaf, limb, u: mod(u) })
  }
  return {
    form,
    addLimb,
    add: (tensor, tree, element, u) =>
      addLimb({ tensor, tree, index: Math.floor(element / LEAF_LIMBS) }, element % LEAF_LIMBS, u),
    constant(value) {
      form.constant = mod(form.constant + value)
    },
  }
}

/** Adds u · (the signed value of one element of a tensor, 16 or 32 bits). */
export function addElement(target: Target, manifest: Manifest, tensor: number, element: number, u: bigint): void {
  target.add(tensor, TREE.value, element, u)
  if (tensorOf(manifest, tensor).bits === 16) target.constant(-OFFSET * u)
  else {
    target.add(tensor, TREE.high, element, u << 16n)
    target.constant(-WIDE * u)
  }
}

/** Adds u · (x − zero) for the tap at `point`. Whether there is one. */
export function addTap(
  target: Target,
  manifest: Manifest,
  reader: Reader,
  point: ArrayLike<number>,
  u: bigint,
): boolean {
  const element = elementAt(reader, point)
  if (element < 0) return false
  addElement(target, manifest, reader.tensor, element, u)
  if (reader.zero !== 0) target.constant(-BigInt(reader.zero) * u)
  return true
}

/**
 * Adds u · (the result before clamping): the pair of unclamped limbs in a flagged leaf, else the value itself.
 * pre = lo + 2^16·hi − 2^31 − 2^15.
 */
export function addResult(
  target: Target,
  manifest: Manifest,
  tensor: number,
  element: number,
  flagged: boolean,
  u: bigint,
): void {
  if (!flagged) {
    addElement(target, manifest, tensor, element, u)
    return
  }
  const leaf = Math.floor(element / LEAF_LIMBS)
  const limb = element % LEAF_LIMBS
  target.addLimb({ tensor, tree: TREE.pre, index: 2 * leaf }, limb, u)
  target.addLimb({ tensor, tree: TREE.pre, index: 2 * leaf + 1 }, limb, u << 16n)
  target.constant(-(WIDE + OFFSET) * u)
}

/** What a slot that a statement leaves unused is tied to. */
export const ZERO_FORM: Form = { constant: 0n, limbs: [] }

/** Fills forms up to whole segments of a staged statement. */
export function padForms(kind: StagedStatement['kind'], forms: Form[]): Form[] {
  const missing = -forms.length % STAGE_FORMS[kind]
  return missing === 0 ? forms : [...forms, ...new Array<Form>(missing + STAGE_FORMS[kind]).fill(ZERO_FORM)]
}

/** Value of a form for these limbs, in [0, r). */
export function formValue(form: Form, limbsOf: (leaf: LeafRef) => Uint16Array): bigint {
  let sum = form.constant
  for (const { leaf, limb, u } of form.limbs) sum += u * BigInt(limbsOf(leaf)[limb]!)
  return mod(sum)
}

/** Σ u·limb over a relation's terms, in [0, r). */
export function limbSum(terms: RelationTerm[], limbsOf: (leaf: LeafRef) => Uint16Array): bigint {
  let sum = 0n
  for (const { leaf, u } of terms) {
    const limbs = limbsOf(leaf)
    for (let j = 0; j < u.length; j++) sum += u[j]! * BigInt(limbs[j]!)
  }
  return mod(sum)
}

/**
 * The relation that closes a staged statement's chain once γ is known: the statement's own terms, less γ^(i+1) times the
 * limbs of form i for every form. With the staged segments' Σ γ^(i+1)·f_i before it, each staged value is its form.
 */
export function foldStaged(statement: StagedStatement, gamma: bigint): { terms: RelationTerm[]; c: bigint } {
  const sum = createSum()
  for (const { leaf, u } of statement.terms)
    u.forEach((each, limb) => {
      sum.addLimb(leaf, limb, each)
    })
  let power = 1n
  for (const form of statement.forms) {
    power = mod(power * gamma)
    for (const { leaf, limb, u } of form.limbs) sum.addLimb(leaf, limb, -mod(power * u))
    sum.constant(-power * form.constant)
  }
  sum.constant(-statement.c)
  return sum.relation()
}
