import type { Manifest, Operand, Slice, Strided } from './manifest.ts'

/**
 * The canonical semantics a second time, in BigInt, written to be compared line by line with protocol/spec/manifest.md.
 * Slow and obvious: property tests hold the fast evaluator against it, and a stranger may hold theirs.
 */
export type OracleTensor = {
  value: bigint[]
  rem: bigint[] | null
  slack: bigint[] | null
  pre: bigint[] | null
}

/** Floor division by a positive divisor. */
const floorDiv = (a: bigint, b: bigint): bigint => (a >= 0n ? a / b : -((-a + b - 1n) / b))

const clamp16 = (x: bigint): bigint => (x < -32768n ? -32768n : x > 32767n ? 32767n : x)

/** All points of a box, the last coordinate moving fastest. */
function points(extents: number[]): number[][] {
  return extents.reduce<number[][]>(
    (before, extent) => before.flatMap((point) => Array.from({ length: extent }, (_, i) => [...point, i])),
    [[]],
  )
}

/** Values of every tensor that is not a view, by tensor id. */
export function oracle(manifest: Manifest, weights: Uint8Array, inputs: Int16Array[]): (OracleTensor | null)[] {
  const view = new DataView(weights.buffer, weights.byteOffset, weights.byteLength)
  const int32 = (slice: Slice, index: number): number => view.getInt32(slice.offset + 4 * index, true)
  const strided = ({ strides }: Strided, point: number[]): number =>
    strides.reduce((sum, stride, loop) => sum + stride * point[loop]!, 0)
  const tensors: (OracleTensor | null)[] = manifest.tensors.map(() => null)
  const source = (id: number): bigint[] => tensors[manifest.tensors[id]!.viewOf ?? id]!.value

  /** x − zero at a point of the loops, or null where the tap is absent. */
  function tap(operand: Operand, point: number[]): bigint | null {
    const { shape } = manifest.tensors[operand.tensor]!
    let flat = 0
    for (const [axis, { coefs, offset, divisor, table }] of operand.axes.entries()) {
      const n = offset + coefs.reduce((sum, coef, loop) => sum + coef * point[loop]!, 0)
      if (n < 0 || n % divisor !== 0) return null
      let index = n / divisor
      if (table !== null) {
        if (index >= table.count) return null
        index = int32(table, index)
      }
      if (index < 0 || index >= shape[axis]!) return null
      flat = flat * shape[axis]! + index
    }
    return source(operand.tensor)[flat]! - BigInt(operand.zero)
  }

  manifest.inputs.forEach((input, i) => {
    tensors[input.tensor] = { value: Array.from(inputs[i]!, BigInt), rem: null, slack: null, pre: null }
  })

  for (const op of manifest.ops) {
    const { shape, bits } = manifest.tensors[op.output]!
    const outer = points(shape)
    const narrow = (pre: bigint[]): bigint[] => (bits === 16 ? pre.map(clamp16) : pre)

    switch (op.kind) {
      case 'linear':
      case 'product': {
        const acc = outer.map((point) => {
          if (op.kind === 'product') {
            let sum = BigInt(op.bias)
            for (const inner of points(op.reduce)) {
              const [a, b] = [tap(op.a, [...point, ...inner]), tap(op.b, [...point, ...inner])]
              if (a !== null && b !== null) sum += BigInt(op.weight) * a * b
            }
            return sum
          }
          let sum =
            typeof op.bias === 'number'
              ? BigInt(op.bias)
              : view.getBigInt64(op.bias.offset + 8 * strided(op.bias, point), true)
          for (const term of op.terms)
            for (const inner of points(term.reduce)) {
              const at = [...point, ...inner]
              const x = tap(term, at)
              const w = typeof term.weight === 'number' ? term.weight : int32(term.weight, strided(term.weight, at))
              if (x !== null) sum += BigInt(w) * x
            }
          return sum
        })
        const unit = 65536n ** BigInt(op.drop)
        const pre = acc.map((each) => floorDiv(each, unit))
        tensors[op.output] = {
          value: narrow(pre),
          rem: op.drop === 0 ? null : acc.map((each, i) => each - pre[i]! * unit),
          slack: null,
          pre: bits === 16 ? pre : null,
        }
        break
      }
      case 'table': {
        const value = source(op.input).map((a) => {
          const u = a + 32768n
          const i = Number(u / 1024n)
          const low = BigInt(op.knots[i]!)
          const high = BigInt(op.knots[i + 1]!)
          return low + floorDiv((high - low) * (u % 1024n) + 512n, 1024n)
        })
        tensors[op.output] = { value, rem: null, slack: null, pre: null }
        break
      }
      case 'extremum': {
        const least = bits === 16 ? -(2n ** 15n) : -(2n ** 31n)
        const value = outer.map((point) => {
          let largest = least
          for (const inner of points(op.reduce)) {
            const x = tap(op.input, [...point, ...inner])
            if (x !== null && x + BigInt(op.input.zero) > largest) largest = x + BigInt(op.input.zero)
          }
          return largest
        })
        tensors[op.output] = { value, rem: null, slack: null, pre: null }
        break
      }
      case 'divide': {
        const d = outer.map((point) => tap(op.b, point)!)
        const n = outer.map((point) => BigInt(op.weight) * tap(op.a, point)! + BigInt(op.bias))
        const pre = n.map((each, i) => floorDiv(each, d[i]!))
        const rem = n.map((each, i) => each - pre[i]! * d[i]!)
        tensors[op.output] = { value: narrow(pre), rem, slack: rem.map((r, i) => d[i]! - 1n - r), pre }
        break
      }
      case 'root': {
        const v = outer.map((point) => tap(op.input, point)!)
        const s = v.map((each) => {
          let low = 1n
          let high = 65536n
          while (low < high) {
            const middle = (low + high + 1n) / 2n
            if (middle * middle <= each) low = middle
            else high = middle - 1n
          }
          return low
        })
        const rem = v.map((each, i) => each - s[i]! * s[i]!)
        tensors[op.output] = {
          value: s.map((each) => each - 32769n),
          rem,
          slack: rem.map((r, i) => 2n * s[i]! - r),
          pre: null,
        }
        break
      }
    }
  }
  return tensors
}
