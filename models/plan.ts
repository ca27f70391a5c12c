/** The lowered graph in real numbers: what calibration turns into a manifest. Loops and operands are those of the manifest. */

export type PlanAxis = { coefs: number[]; offset: number; divisor: number; table: number[] | null }
export type PlanOperand = { tensor: number; axes: PlanAxis[] }

/** Numbers read at Σ strides·loop. */
export type PlanArray = { values: Float64Array; strides: number[] }

type PlanBase = { name: string; output: number }
export type PlanTerm = PlanOperand & { reduce: number[]; weight: number | PlanArray }
/** `copy`: moves values without changing them, so that no limb need be dropped where all exponents agree. */
export type PlanLinear = PlanBase & { kind: 'linear'; terms: PlanTerm[]; bias: number | PlanArray; copy: boolean }
export type PlanProduct = PlanBase & {
  kind: 'product'
  a: PlanOperand
  b: PlanOperand
  reduce: number[]
  scale: number
  bias: number
}
export type PlanTable = PlanBase & { kind: 'table'; input: number; function: string; apply: (x: number) => number }
export type PlanExtremum = PlanBase & { kind: 'extremum'; input: PlanOperand; reduce: number[] }
export type PlanDivide = PlanBase & { kind: 'divide'; a: PlanOperand; b: PlanOperand }
export type PlanRoot = PlanBase & { kind: 'root'; input: PlanOperand }
export type PlanOp = PlanLinear | PlanProduct | PlanTable | PlanExtremum | PlanDivide | PlanRoot

/**
 * How a tensor's integers mean real numbers: (a − zero)·2^−exponent. `calibrated`: zero 0 and an exponent from the samples.
 * `variance`: 32 bits, as fine as the samples allow, with an even exponent. `root`: half of its radicand's.
 */
export type PlanScale =
  | { kind: 'calibrated' }
  | { kind: 'fixed'; exponent: number; zero: number }
  | { kind: 'variance' }
  | { kind: 'root'; of: number }

/** Physical shapes: axes of size 1 are left out, but for inputs and outputs. */
export type PlanTensor = { name: string; shape: number[]; bits: 16 | 32; viewOf: number | null; scale: PlanScale }
/** Rows of an embedding: what the consumer sends for each of its integers, which are called `name` and have this shape. */
export type PlanLookup = { name: string; shape: number[]; rows: number; values: ArrayLike<number> }
export type PlanInput = PlanEnd & { lookup: PlanLookup | null }
/** Shapes leave the batch axis out. */
export type PlanEnd = { name: string; tensor: number; shape: number[] }
export type Plan = { inputs: PlanInput[]; outputs: PlanEnd[]; tensors: PlanTensor[]; ops: PlanOp[] }
