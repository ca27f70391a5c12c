import { readFile } from 'node:fs/promises'
import { assetPath } from '../protocol/assets.ts'
import { checkArtifact } from './artifacts.ts'
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

/** SHA-256 of the module, which a test compares with what circomlibjs builds. */
const MODULE_SHA256 = '0x75f1722456f06b5e8d7de0d3432f8705a0a35e9a7f988a4d911628f67fdc85ed'

/**
 * circomlibjs's Poseidon over BN254's scalars, compiled. The module is kept as a file: building it anew takes each process a hundred
 * megabytes that it keeps for minutes, and worker threads cannot load the package, whose curve library takes every thread for one of its
 * own. Throws `ARTIFACT_HASH`.
 */
export async function compilePoseidon(): Promise<WebAssembly.Module> {
  const module = new Uint8Array(await readFile(assetPath('circuits/artifacts/poseidon.wasm')))
  checkArtifact('poseidon.wasm', module, MODULE_SHA256)
  return WebAssembly.compile(module)
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
