import { SinterError } from '../protocol/errors.ts'
import type { StreamOptions } from './canonical.ts'
import { multiply as multiplyHere } from './multiply.ts'
import { encodeModel } from './onnx.ts'
import { openRaw } from './session.ts'

const DOUBLE = 11
const INT_ATTRIBUTE = 2

/** y = x · wᵀ in float64, for any sizes. */
function gemm(): Uint8Array {
  const end = (name: string, ...dims: string[]) => ({
    name,
    type: { tensorType: { elemType: DOUBLE, shape: { dim: dims.map((dimParam) => ({ dimParam })) } } },
  })
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 13 }],
    graph: {
      name: 'multiply',
      node: [
        {
          opType: 'Gemm',
          input: ['x', 'w'],
          output: ['y'],
          attribute: [{ name: 'transB', type: INT_ATTRIBUTE, i: 1 }],
        },
      ],
      input: [end('x', 'rows', 'depth'), end('w', 'columns', 'depth')],
      output: [end('y', 'rows', 'columns')],
    },
  })
}

/** Multiply-adds below which handing a matrix over costs more than it saves. */
const WORTHWHILE = 2 ** 18

/**
 * Multiplies with ONNX Runtime's float64 kernels: the same bits, since every sum is an exact integer, and many times faster than
 * loops in JavaScript. Blocks the thread while it computes: for a process of its own.
 * Throws as `openSession`; `RUN_FAILED` when the runtime fails.
 * @param threads cores to use. @default ONNX Runtime's own choice, one per core
 * @param worthwhile multiply-adds below which plain loops multiply here
 */
export async function openMultiplier(
  threads?: number,
  worthwhile = WORTHWHILE,
): Promise<NonNullable<StreamOptions['multiply']>> {
  const session = await openRaw(gemm(), { executionProvider: 'cpu', ...(threads === undefined ? {} : { threads }) })
  return (x, w, rows, columns, depth) => {
    if (rows * columns * depth < worthwhile) return multiplyHere(x, w, rows, columns, depth)
    return session({ x: { data: x, dims: [rows, depth] }, w: { data: w, dims: [columns, depth] } }, 'y').catch(
      (cause: unknown) => {
        throw new SinterError('RUN_FAILED', 'ONNX Runtime could not multiply two matrices', { cause })
      },
    )
  }
}
