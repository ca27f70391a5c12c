import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { curves } from 'snarkjs'
import { compileCircuit } from '../../circuits/compile.ts'
import type { Curve } from '../../circuits/curve.ts'
import { readScalar, SCALAR_BYTES, writeScalar } from '../../circuits/scalars.ts'
import { CIRCUIT_KINDS, type CircuitKind } from '../../circuits/signals.ts'
import { COEFFICIENT_BYTES } from '../../circuits/zkey.ts'
import { mod } from '../../protocol/field.ts'

/**
 * Whole witnesses against the constraints that the circuit sources compile to, fast enough for tens of thousands of them: the three
 * matrices of (A w) ∘ (B w) = C w are multiplied by the curve library, as its prover does with the first two.
 */

type System = { size: number; wires: number; ab: Uint8Array; c: Uint8Array }

/** The factor that makes the library's Montgomery product of a coefficient and a plain wire a Montgomery number. */
const SQUARED = mod(1n << 512n)

/** The matrices of an r1cs file (iden3's binary format, version 1) in the form that the curve library multiplies. */
function readSystem(file: Buffer): System {
  let [at, body, wires, constraints] = [12, 0, 0, 0]
  for (let i = 0; i < file.readUInt32LE(8); i++) {
    const from = at + 12
    if (file.readUInt32LE(at) === 1) [wires, constraints] = [file.readUInt32LE(from + 36), file.readUInt32LE(from + 60)]
    if (file.readUInt32LE(at) === 2) body = from
    at = from + Number(file.readBigUInt64LE(at + 4))
  }
  const known = new Map<string, Uint8Array>()
  const factor = (bytes: Buffer): Uint8Array => {
    const key = bytes.toString('latin1')
    let out = known.get(key)
    if (out === undefined) {
      out = new Uint8Array(SCALAR_BYTES)
      const value = readScalar(new DataView(bytes.buffer, bytes.byteOffset), 0)
      writeScalar(new DataView(out.buffer), 0, mod(value * SQUARED))
      known.set(key, out)
    }
    return out
  }
  const entries: Record<0 | 1 | 2, Uint8Array[]> = { 0: [], 1: [], 2: [] }
  for (let row = 0; row < constraints; row++)
    for (const side of [0, 1, 2] as const) {
      const end = body + 4 + 36 * file.readUInt32LE(body)
      for (body += 4; body < end; body += 36) {
        const entry = Buffer.alloc(COEFFICIENT_BYTES)
        entry.writeUInt32LE(side === 1 ? 1 : 0, 0)
        entry.writeUInt32LE(row, 4)
        entry.writeUInt32LE(file.readUInt32LE(body), 8)
        entry.set(factor(file.subarray(body + 4, body + 36)), 12)
        entries[side].push(entry)
      }
    }
  return {
    size: 2 ** Math.ceil(Math.log2(constraints)),
    wires,
    ab: Buffer.concat([...entries[0], ...entries[1]]),
    c: Buffer.concat(entries[2]),
  }
}

/** First and third of the products that the library makes of two matrices: A·w, and (A·w) ∘ (B·w). */
async function products(curve: Curve, { size, wires }: System, coefficients: Uint8Array, witness: Uint8Array) {
  const length = size * SCALAR_BYTES
  const [first, both] = await curve.tm.queueAction([
    { cmd: 'ALLOCSET', var: 0, buff: coefficients },
    { cmd: 'ALLOCSET', var: 1, buff: witness },
    { cmd: 'ALLOC', var: 2, len: length },
    { cmd: 'ALLOC', var: 3, len: length },
    { cmd: 'ALLOC', var: 4, len: length },
    {
      cmd: 'CALL',
      fnName: 'qap_buildABC',
      params: [
        { var: 0 },
        { val: coefficients.length / COEFFICIENT_BYTES },
        { var: 1 },
        { var: 2 },
        { var: 3 },
        { var: 4 },
        { val: 0 },
        { val: size },
        { val: 0 },
        { val: wires },
      ],
    },
    { cmd: 'GET', out: 0, var: 2, len: length },
    { cmd: 'GET', out: 1, var: 4, len: length },
  ])
  return { first: first!, both: both! }
}

export type R1cs = {
  /** Whether all wires together satisfy every constraint of the circuit. */
  satisfies(kind: CircuitKind, witness: Uint8Array): Promise<boolean>
  close(): Promise<void>
}

/** Compiles the circuits, which takes some seconds for each. */
export async function openR1cs(kinds: readonly CircuitKind[] = CIRCUIT_KINDS): Promise<R1cs> {
  const folder = await mkdtemp(join(tmpdir(), 'sinter-r1cs-'))
  const systems = {} as Record<CircuitKind, System>
  try {
    const compile = async (kind: CircuitKind): Promise<void> => {
      systems[kind] = readSystem(await readFile((await compileCircuit(kind, folder)).r1cs))
    }
    await Promise.all(kinds.map(compile))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const curve = await curves.getCurveFromName('bn128', { singleThread: true })
  return {
    async satisfies(kind, witness) {
      const system = systems[kind]
      if (witness.length !== SCALAR_BYTES * system.wires) return false
      const { both } = await products(curve, system, system.ab, witness)
      const { first } = await products(curve, system, system.c, witness)
      return Buffer.compare(both, first) === 0
    },
    close: () => curve.terminate(),
  }
}
