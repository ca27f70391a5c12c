import { grainGenConstants, type PoseidonFn, poseidon } from '@noble/curves/abstract/poseidon.js'
import { bn254_Fr } from '@noble/curves/bn254.js'
import type { Poseidon } from './poseidon.ts'
import { readScalar, SCALAR_BYTES, writeScalar } from './scalars.ts'

/** Partial rounds of circomlib's Poseidon for 1 to 16 inputs; all have 8 full ones and x^5. */
const PARTIAL_ROUNDS = [56, 57, 56, 60, 60, 63, 64, 63, 60, 66, 60, 65, 70, 60, 64, 68]

/** Nothing is compiled: an empty module. */
export const compilePoseidon = async (): Promise<WebAssembly.Module> =>
  new WebAssembly.Module(Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00))

/**
 * The same function in JavaScript, its constants worked out by the generator that circomlib's come from: circomlibjs brings megabytes
 * of them, and parts that no browser has. A millisecond a leaf, of which a page commits a few per job.
 */
export function openPoseidon(): Poseidon {
  const inputs = new Uint8Array(SCALAR_BYTES * PARTIAL_ROUNDS.length)
  const view = new DataView(inputs.buffer)
  const out = new Uint8Array(SCALAR_BYTES)
  const functions = new Map<number, PoseidonFn>()

  /** Working out the constants takes tens of milliseconds, once for every number of inputs. */
  function of(count: number): PoseidonFn {
    const known = functions.get(count)
    if (known !== undefined) return known
    const shape = {
      Fp: bn254_Fr,
      t: count + 1,
      roundsFull: 8,
      roundsPartial: PARTIAL_ROUNDS[count - 1]!,
      sboxPower: 5,
    }
    const made = poseidon({ ...shape, ...grainGenConstants(shape) })
    functions.set(count, made)
    return made
  }

  return {
    lanes: [inputs],
    hash(count) {
      const elements = Array.from({ length: count }, (_, i) => readScalar(view, SCALAR_BYTES * i))
      writeScalar(new DataView(out.buffer), 0, of(count)([0n, ...elements])[0]!)
      return out
    },
  }
}
