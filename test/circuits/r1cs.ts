import { readFile } from 'node:fs/promises'
import { readScalar } from '../../circuits/scalars.ts'
import { mod } from '../../protocol/field.ts'

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
