import { encodeModel, type NodeProto } from '../../models/onnx.ts'
import { openSession, type SessionOptions } from '../../models/session.ts'
import { matrixRow, PULSE_PRIME, STATE_MODULUS, type StepVectors } from '../../protocol/pulse.ts'

const FLOAT = 1
const INT_ATTRIBUTE = 2

/**
 * One step of a lane (spec/capacity.md §2) in float32: `next` = A · ((x + (α·βᵀ + γ·δᵀ) mod p) mod 64)ᵀ mod 64.
 * Remainders are x − m·⌊x/m⌋ of operators that every execution provider has. By 64 that is exact. By p the quotient may be off by one where the
 * division is not IEEE's; what is left is then small enough that a half tells its quotient without doubt. The outer products are element by
 * element: TF32, which matrix products may use, has 11 bits, which hold the entries of A and Y but not the vectors.
 */
function stepModel(n: number): Uint8Array {
  const matrix = new Float32Array(n * n)
  for (let row = 0; row < n; row++) matrix.set(matrixRow(row, n), n * row)
  const value = (name: string, ...dims: number[]) => ({
    name,
    type: { tensorType: { elemType: FLOAT, shape: { dim: dims.map((dimValue) => ({ dimValue })) } } },
  })
  const constant = (name: string, data: Float32Array, ...dims: number[]) => ({
    name,
    dataType: FLOAT,
    dims,
    rawData: new Uint8Array(data.buffer),
  })
  const scalar = (name: string, number: number) => constant(name, Float32Array.of(number))
  const node = (opType: string, output: string, ...input: string[]): NodeProto => ({ opType, input, output: [output] })
  /** `from` minus `modulus` times the floor of `of`, which is `from` or next to it, over the modulus. */
  const reduced = (to: string, from: string, modulus: string, of = from): NodeProto[] => [
    node('Mul', `${to}_share`, of, `${modulus}_inverse`),
    node('Floor', `${to}_times`, `${to}_share`),
    node('Mul', `${to}_whole`, `${to}_times`, modulus),
    node('Sub', to, from, `${to}_whole`),
  ]
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 13 }],
    graph: {
      name: 'step',
      initializer: [
        constant('matrix', matrix, n, n),
        ...[scalar('p', PULSE_PRIME), scalar('p_inverse', 1 / PULSE_PRIME)],
        ...[scalar('m', STATE_MODULUS), scalar('m_inverse', 1 / STATE_MODULUS), scalar('half', 0.5)],
      ],
      node: [
        node('Mul', 'first', 'alpha', 'beta'),
        node('Mul', 'second', 'gamma', 'delta'),
        node('Add', 'sum', 'first', 'second'),
        ...reduced('near', 'sum', 'p'),
        node('Add', 'near_half', 'near', 'half'),
        ...reduced('h', 'near', 'p', 'near_half'),
        node('Add', 'shifted', 'x', 'h'),
        ...reduced('y', 'shifted', 'm'),
        {
          ...node('Gemm', 'product', 'matrix', 'y'),
          attribute: [{ name: 'transB', type: INT_ATTRIBUTE, i: 1 }],
        },
        ...reduced('next', 'product', 'm'),
      ],
      input: [value('x', n, n), value('alpha', n, 1), value('beta', 1, n), value('gamma', n, 1), value('delta', 1, n)],
      output: [value('next', n, n)],
    },
  })
}

/** The state after a step; `x` row by row. */
export type Products = (x: Float32Array, vectors: StepVectors) => Promise<Float32Array>

/** Blocks the thread while it computes: for a process of its own. Throws as `openSession`. */
export async function openProducts(n: number, options: SessionOptions): Promise<Products> {
  const session = await openSession(stepModel(n), options)
  return async (x, { alpha, beta, gamma, delta }) => {
    const { next } = await session.run({
      x: { data: x, shape: [n, n] },
      alpha: { data: Float32Array.from(alpha), shape: [n, 1] },
      beta: { data: Float32Array.from(beta), shape: [1, n] },
      gamma: { data: Float32Array.from(gamma), shape: [n, 1] },
      delta: { data: Float32Array.from(delta), shape: [1, n] },
    })
    return next!.data
  }
}
