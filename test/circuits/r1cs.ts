import { readFile } from 'node:fs/promises'
import { readScalar } from '../../circuits/scalars.ts'
import { FIELD_PRIME, mod } from '../../protocol/field.ts'

/** One linear combination, as wires and their coefficients. */
type Combination = { wire: number; coefficient: bigint }[]
export type Constraint = [a: Combination, b: Combination, c: Combination]

/** The constraints of an r1cs file, iden3's binary format version 1. */
export async function readConstraints(path: string): Promise<Constraint[]> {
  const file = new Uint8Array(await readFile(path))
  const view = new DataView(file.buffer)
  let count = 0
  let body = 0
  let at = 12
  for (let i = 0; i < view.getUint32(8, true); i++) {
    const type = view.getUint32(at, true)
    if (type === 1) count = view.getUint32(at + 12 + 60, true)
    if (type === 2) body = at + 12
    at += 12 + Number(view.getBigUint64(at + 4, true))
  }
  const combination = (): Combination => {
    const terms: Combination = []
    const end = body + 4 + 36 * view.getUint32(body, true)
    for (body += 4; body < end; body += 36)
      terms.push({ wire: view.getUint32(body, true), coefficient: readScalar(view, body + 4) })
    return terms
  }
  return Array.from({ length: count }, () => [combination(), combination(), combination()])
}

/** Wires as integers. */
export function readWires(witness: Uint8Array): bigint[] {
  const view = new DataView(witness.buffer)
  return Array.from({ length: witness.length / 32 }, (_, i) => readScalar(view, 32 * i))
}

const value = (combination: Combination, wires: readonly bigint[]): bigint =>
  mod(combination.reduce((sum, { wire, coefficient }) => sum + coefficient * wires[wire]!, 0n))

/** Index of the first violated constraint, or −1. */
export function firstViolation(constraints: readonly Constraint[], wires: readonly bigint[]): number {
  return constraints.findIndex(([a, b, c]) => mod(value(a, wires) * value(b, wires) - value(c, wires)) !== 0n)
}

/**
 * For each wire the test whether changing it alone by `delta` violates some constraint. It works on the differences, so
 * all wires together cost one pass over the constraints.
 */
export function singleWireCheck(
  constraints: readonly Constraint[],
  wires: readonly bigint[],
): { used(wire: number): boolean; violates(wire: number, delta: bigint): boolean } {
  const values = constraints.map((parts) => parts.map((part) => value(part, wires)) as [bigint, bigint, bigint])
  const byWire: Map<number, [bigint, bigint, bigint]>[] = Array.from({ length: wires.length }, () => new Map())
  constraints.forEach((parts, index) => {
    parts.forEach((part, side) => {
      for (const { wire, coefficient } of part) {
        const entry = byWire[wire]!.get(index) ?? [0n, 0n, 0n]
        entry[side] = mod(entry[side]! + coefficient)
        byWire[wire]!.set(index, entry)
      }
    })
  })
  return {
    used: (wire) => byWire[wire]!.size > 0,
    violates(wire, delta) {
      for (const [index, [da, db, dc]] of byWire[wire]!) {
        const [a, b, c] = values[index]!
        if (mod((a + delta * da) * (b + delta * db) - (c + delta * dc)) !== 0n) return true
      }
      return false
    },
  }
}

/** 1 / a by Euclid. */
function inverse(a: bigint): bigint {
  let [r0, r1, x0, x1] = [FIELD_PRIME, a, 0n, 1n]
  while (r1 !== 0n) {
    const q = r0 / r1
    ;[r0, r1, x0, x1] = [r1, r0 - q * r1, x1, x0 - q * x1]
  }
  return mod(x0)
}

/**
 * In how many directions a witness can be moved, all wires at once, when the wires of `fixed` stay: the wires less the rank of the
 * constraints' derivatives there. 0: what is fixed determines all else, but for finitely many choices.
 */
export function freeDirections(
  constraints: readonly Constraint[],
  wires: readonly bigint[],
  fixed: ReadonlySet<number>,
): number {
  const rows = constraints.map(([a, b, c]) => {
    const row = new Map<number, bigint>()
    const add = (part: Combination, scale: bigint): void => {
      for (const { wire, coefficient } of part) row.set(wire, mod((row.get(wire) ?? 0n) + coefficient * scale))
    }
    add(a, value(b, wires))
    add(b, value(a, wires))
    add(c, -1n)
    for (const [wire, slope] of row) if (slope === 0n || fixed.has(wire)) row.delete(wire)
    return row
  })
  const holders = new Map<number, Set<number>>()
  const bySize: Set<number>[] = []
  const file = (i: number): void => {
    const { size } = rows[i]!
    bySize[size] ??= new Set()
    bySize[size].add(i)
  }
  for (const [i, row] of rows.entries()) {
    for (const wire of row.keys()) (holders.get(wire) ?? holders.set(wire, new Set()).get(wire)!).add(i)
    file(i)
  }
  // Gauss, the shortest row first, by its wire that stands in the fewest others: most rows have one unknown left by then.
  let rank = 0
  for (let size = 1; size < bySize.length; ) {
    const i = bySize[size]?.values().next().value
    if (i === undefined) {
      size++
      continue
    }
    bySize[size]!.delete(i)
    const row = rows[i]!
    let [pivot] = row.keys() as unknown as Iterable<number> as [number]
    for (const wire of row.keys()) {
      holders.get(wire)!.delete(i)
      if (holders.get(wire)!.size < holders.get(pivot)!.size) pivot = wire
    }
    rank++
    const scale = row.size === 1 ? 1n : inverse(row.get(pivot)!)
    for (const j of holders.get(pivot)!) {
      const other = rows[j]!
      bySize[other.size]!.delete(j)
      const times = mod(-other.get(pivot)! * scale)
      for (const [wire, slope] of row) {
        const sum = row.size === 1 ? 0n : mod((other.get(wire) ?? 0n) + times * slope)
        if (sum === 0n) {
          other.delete(wire)
          holders.get(wire)!.delete(j)
        } else {
          other.set(wire, sum)
          holders.get(wire)!.add(j)
        }
      }
      file(j)
      size = Math.min(size, Math.max(1, other.size))
    }
    holders.get(pivot)!.clear()
  }
  return wires.length - fixed.size - rank
}
