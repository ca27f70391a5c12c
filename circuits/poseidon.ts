import { SCALAR_BYTES } from './scalars.ts'

/** Elements that one call takes at most. */
const MAX_INPUTS = 16
/** Pages of memory that circomlibjs instantiates its module with. */
const PAGES = 25

type Exports = {
  poseidon(initialState: number, inputs: number, count: number, out: number, outputs: number): void
  frm_toMontgomery(from: number, to: number): void
  frm_fromMontgomery(from: number, to: number): void
}

export type Poseidon = {
  /** Where the elements to hash are written: little-endian integers below r, 32 bytes each, sixteen at most. Used up by `hash`. */
  inputs: Uint8Array
  /** The hash of the first `count` elements as a little-endian integer below r, 32 bytes. */
  hash(count: number): Uint8Array
}

/**
 * circomlibjs's Poseidon over BN254's scalars, compiled. A module can be sent to worker threads, which its package cannot be loaded
 * in: its curve library takes every thread for one of its own. So this module can, and loads the package only here.
 */
export async function compilePoseidon(): Promise<WebAssembly.Module> {
  const { buildPoseidon } = await import('circomlibjs')
  const { F } = await buildPoseidon()
  return WebAssembly.compile(F.tm.code)
}

/** An instance with memory of its own; synchronous, and for one thread. */
export function openPoseidon(module: WebAssembly.Module): Poseidon {
  const memory = new WebAssembly.Memory({ initial: PAGES })
  const instance = new WebAssembly.Instance(module, { env: { memory } })
  const { poseidon, frm_toMontgomery, frm_fromMontgomery } = instance.exports as unknown as Exports
  // The first word of the memory says where what the module does not use itself begins.
  const [free] = new Uint32Array(memory.buffer, 0, 1)
  const state = Math.ceil(free! / 8) * 8
  const inputsAt = state + SCALAR_BYTES
  const outAt = inputsAt + SCALAR_BYTES * MAX_INPUTS
  const at = (offset: number, length: number): Uint8Array => new Uint8Array(memory.buffer, offset, length)
  return {
    inputs: at(inputsAt, SCALAR_BYTES * MAX_INPUTS),
    hash(count) {
      for (let i = 0; i < count; i++) frm_toMontgomery(inputsAt + SCALAR_BYTES * i, inputsAt + SCALAR_BYTES * i)
      poseidon(state, inputsAt, count, outAt, 1)
      frm_fromMontgomery(outAt, outAt)
      return at(outAt, SCALAR_BYTES).slice()
    },
  }
}
