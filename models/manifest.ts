import { z } from 'zod'
import { equalBytes, utf8 } from '../protocol/bytes.ts'
import { describeError, SinterError } from '../protocol/errors.ts'
import { canonicalJson } from '../protocol/network.ts'

/**
 * The manifest fixes what a model *means*: lowered graph, exponents, where its integer weights lie, tables, tolerance.
 * Normative text: protocol/spec/manifest.md. Everything here comes from strangers, so every number has a limit.
 */

export const MANIFEST_VERSION = 2

/** Limits on what a node is willing to look at. Units are in the names. */
export const MANIFEST_LIMITS = {
  bytes: 4 * 2 ** 20,
  weightBytes: 2 ** 28,
  tensors: 4096,
  ops: 1024,
  rank: 8,
  /** Output axes and reduced ones together. */
  loops: 16,
  tensorElements: 2 ** 24,
  totalElements: 2 ** 25,
  multiplyAdds: 2 ** 36,
  /** Multiply-adds behind one output element: a verifier redoes those of a tile in big integers. */
  taps: 2 ** 17,
  exponent: 64,
} as const

const integer = (min: number, max: number) => z.int().min(min).max(max)
const name = z.string().min(1).max(256)
const shape = z.array(integer(1, MANIFEST_LIMITS.tensorElements)).max(MANIFEST_LIMITS.rank)
const tensorId = integer(0, MANIFEST_LIMITS.tensors - 1)
const index = integer(-(2 ** 31), 2 ** 31)
const safe = integer(-(2 ** 53) + 1, 2 ** 53 - 1)

/** A content-addressed file: UnixFS CID (version 1, base32), SHA-256 in lower-case hex without prefix, length. */
const fileSchema = z.strictObject({
  cid: z.string().regex(/^b[a-z2-7]{20,120}$/),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: integer(1, 2 ** 31),
})

/** An array in the weights file: byte offset and number of elements. */
const sliceSchema = z.strictObject({ offset: integer(0, MANIFEST_LIMITS.weightBytes), count: integer(1, 2 ** 26) })
/** An array read at Σ strides·loop. */
const stridedSchema = sliceSchema.extend({ strides: z.array(integer(0, 2 ** 26)).max(MANIFEST_LIMITS.loops) })

/**
 * Where a tap finds its element on one axis: (offset + Σ coefs·loop) / divisor, looked up in `table` (int32) if there is one.
 * Negative, not divisible, −1 or beyond the axis: the tap is absent.
 */
const axisSchema = z.strictObject({
  coefs: z.array(index).max(MANIFEST_LIMITS.loops),
  offset: index,
  divisor: integer(1, 4096),
  table: sliceSchema.nullable(),
})

/** Elements of a tensor as the loops reach them; a tap's value is x − zero. */
const operandSchema = z.strictObject({
  tensor: tensorId,
  zero: integer(-(2 ** 32), 2 ** 32),
  axes: z.array(axisSchema).max(MANIFEST_LIMITS.rank),
})

const reduce = z.array(integer(1, MANIFEST_LIMITS.taps)).max(MANIFEST_LIMITS.rank)
const drop = z.union([z.literal(0), z.literal(1), z.literal(2)])
/** Elements of an op's output per drawn tile. */
const tile = z.union([1, 2, 4, 8, 16, 32, 64].map((size) => z.literal(size)))
const opBase = { name, output: tensorId }

const termSchema = operandSchema.extend({
  reduce,
  weight: z.union([integer(-(2 ** 31) + 1, 2 ** 31 - 1), stridedSchema]),
})
const linearSchema = z.strictObject({
  ...opBase,
  kind: z.literal('linear'),
  tile,
  drop,
  terms: z.array(termSchema).min(1).max(64),
  bias: z.union([safe, stridedSchema]),
})
const productSchema = z.strictObject({
  ...opBase,
  kind: z.literal('product'),
  tile,
  drop,
  reduce,
  a: operandSchema,
  b: operandSchema,
  weight: integer(-(2 ** 31) + 1, 2 ** 31 - 1),
  bias: safe,
})
const tableSchema = z.strictObject({
  ...opBase,
  kind: z.literal('table'),
  input: tensorId,
  function: name,
  knots: z.array(integer(-65_536, 65_536)).length(65),
})
const extremumSchema = z.strictObject({ ...opBase, kind: z.literal('extremum'), tile, reduce, input: operandSchema })
const divideSchema = z.strictObject({
  ...opBase,
  kind: z.literal('divide'),
  tile,
  a: operandSchema,
  b: operandSchema,
  weight: integer(-(2 ** 31) + 1, 2 ** 31 - 1),
  bias: integer(-(2 ** 31) + 1, 2 ** 31 - 1),
})
const rootSchema = z.strictObject({ ...opBase, kind: z.literal('root'), tile, input: operandSchema })

const opSchema = z.discriminatedUnion('kind', [
  linearSchema,
  productSchema,
  tableSchema,
  extremumSchema,
  divideSchema,
  rootSchema,
])

const endSchema = z.strictObject({ name, tensor: tensorId, shape })
const inputSchema = endSchema.extend({
  /** The consumer holds integers and looks each up in `rows` rows of 16-bit integers; null: the input is numbers. */
  lookup: z.strictObject({ name, rows: integer(1, 2 ** 24), table: sliceSchema }).nullable(),
})

const manifestSchema = z.strictObject({
  version: z.literal(MANIFEST_VERSION),
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
  model: fileSchema,
  weights: fileSchema,
  inputs: z.array(inputSchema).min(1).max(64),
  outputs: z
    .array(
      endSchema.extend({
        /** `quanta` is τ; the rest says where it came from: the largest deviation seen, in thousandths of a quantum. */
        tolerance: z.strictObject({
          quanta: integer(0, 65_535),
          deviationMilli: integer(0, 2 ** 31),
          margin: integer(1, 1000),
          samples: integer(1, 1_000_000),
        }),
        /** The consumer takes the first index of the largest value along `axis`; null: the output is numbers. */
        argmax: z.strictObject({ name, axis: integer(0, MANIFEST_LIMITS.rank - 1) }).nullable(),
      }),
    )
    .min(1)
    .max(64),
  tensors: z
    .array(
      z.strictObject({
        name,
        shape,
        exponent: integer(-MANIFEST_LIMITS.exponent, MANIFEST_LIMITS.exponent),
        bits: z.union([z.literal(16), z.literal(32)]),
        viewOf: tensorId.nullable(),
      }),
    )
    .min(2)
    .max(MANIFEST_LIMITS.tensors),
  ops: z.array(opSchema).min(1).max(MANIFEST_LIMITS.ops),
  /** Multiply-adds of one evaluation: the unit of work. */
  units: integer(1, MANIFEST_LIMITS.multiplyAdds),
  /** T and L of DESIGN §5.4. */
  tiles: integer(1, MANIFEST_LIMITS.totalElements),
  layers: integer(1, MANIFEST_LIMITS.ops),
  /** Parts per million of the units whose tiles can be drawn and proven. Always all of them in this version. */
  coverage: z.literal(1_000_000),
})

export type Manifest = z.infer<typeof manifestSchema>
export type ManifestTensor = Manifest['tensors'][number]
export type FileRef = z.infer<typeof fileSchema>
export type Slice = z.infer<typeof sliceSchema>
export type Strided = z.infer<typeof stridedSchema>
export type Axis = z.infer<typeof axisSchema>
export type Operand = z.infer<typeof operandSchema>
export type Term = z.infer<typeof termSchema>
export type LinearOp = z.infer<typeof linearSchema>
export type ProductOp = z.infer<typeof productSchema>
export type TableOp = z.infer<typeof tableSchema>
export type ExtremumOp = z.infer<typeof extremumSchema>
export type DivideOp = z.infer<typeof divideSchema>
export type RootOp = z.infer<typeof rootSchema>
export type Op = LinearOp | ProductOp | TableOp | ExtremumOp | DivideOp | RootOp

/** Canonical bytes (UTF-8 JSON) of a manifest, its only accepted spelling: what is hashed, published and named by CID. */
export function manifestBytes(manifest: Manifest): Uint8Array {
  return utf8(canonicalJson(manifest))
}

/**
 * Decodes a manifest: strict schema, unknown fields refused, canonical spelling enforced.
 * Says nothing yet about what the fields mean together: see `validateManifest`.
 * Throws `MANIFEST_TOO_LARGE`, `MANIFEST_MALFORMED`, `MANIFEST_NOT_CANONICAL`.
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > MANIFEST_LIMITS.bytes)
    throw new SinterError('MANIFEST_TOO_LARGE', `a manifest has at most ${MANIFEST_LIMITS.bytes} bytes`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw new SinterError('MANIFEST_MALFORMED', 'the manifest is not JSON', { cause })
  }
  const parsed = manifestSchema.safeParse(value)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const where = issue === undefined || issue.path.length === 0 ? 'the manifest' : issue.path.join('.')
    throw new SinterError('MANIFEST_MALFORMED', `${where}: ${issue?.message ?? describeError(parsed.error)}`)
  }
  if (!equalBytes(manifestBytes(parsed.data), bytes))
    throw new SinterError(
      'MANIFEST_NOT_CANONICAL',
      'the manifest is not in canonical JSON (sorted keys, no whitespace)',
    )
  return parsed.data
}
