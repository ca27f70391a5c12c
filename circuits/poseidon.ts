import { readFile } from 'node:fs/promises'
import { assetPath } from '../protocol/assets.ts'
import { checkArtifact } from './artifacts.ts'
import { compilePoseidon as compilePortable, openPoseidon as openPortable } from './poseidon.browser.ts'
import { SCALAR_BYTES, writeScalar } from './scalars.ts'

/** Elements that one hash takes at most. */
const MAX_INPUTS = 16

type Exports = { memory: WebAssembly.Memory; hash(table: number, t: number, partialRounds: number): void }

export type Poseidon = {
  /** Where the elements of each hash of a call are written: little-endian integers below r, 32 bytes each, sixteen at most. */
  lanes: readonly Uint8Array[]
  /**
   * In every lane the hash of its first `count` elements, 2, 6 or 16, as a little-endian integer below r: 32 bytes each, one lane after the
   * other, until the next call. All lanes cost what one does, used or not.
   */
  hash(count: number): Uint8Array
}

/** SHA-256 of the module, which a test compares with what poseidon/build.ts makes of circomlibjs's constants. */
const MODULE_SHA256 = '0xc4b040655bb843537ecfae15cf10a372018bde2f826008df5c1819c98a1cede7'

/** Poseidon(1, 2), as circomlibjs publishes it. */
const OF_ONE_AND_TWO = 7853200120776062878684798364095072458815029376092732009249414926327459813530n

/**
 * The module of poseidon/, compiled, where this machine can run it: its engine has the instructions, and a processor that multiplies and adds
 * with one rounding, which the instruction leaves open. Else what a page has. Throws `ARTIFACT_HASH`.
 */
export async function compilePoseidon(): Promise<WebAssembly.Module> {
  const code = new Uint8Array(await readFile(assetPath('circuits/artifacts/poseidon.wasm')))
  checkArtifact('poseidon.wasm', code, MODULE_SHA256)
  if (!WebAssembly.validate(code)) return compilePortable()
  const module = await WebAssembly.compile(code)
  return isFused(module) ? module : compilePortable()
}

/** Without fused arithmetic every hash is wrong, and this one too. */
function isFused(module: WebAssembly.Module): boolean {
  const { lanes, hash } = openModule(module)
  const expected = new Uint8Array(SCALAR_BYTES)
  writeScalar(new DataView(expected.buffer), 0, OF_ONE_AND_TWO)
  for (const inputs of lanes) inputs.set([1, ...new Array(SCALAR_BYTES - 1).fill(0), 2])
  const hashes = hash(2)
  return lanes.every((_, lane) => expected.every((byte, i) => byte === hashes[SCALAR_BYTES * lane + i]))
}

function openModule(module: WebAssembly.Module): Poseidon {
  const instance = new WebAssembly.Instance(module)
  const { memory, hash } = instance.exports as unknown as Exports
  // What the module says of itself (poseidon/numbers.ts, AT.head).
  const [lanes, inputs, out, ...tables] = new Uint32Array(memory.buffer, 0, 12) as unknown as [number, number, number]
  const at = (offset: number, length: number): Uint8Array => new Uint8Array(memory.buffer, offset, length)
  const byCount = new Map<number, [table: number, partialRounds: number]>()
  for (let i = 0; i < tables.length; i += 3) byCount.set(tables[i]!, [tables[i + 1]!, tables[i + 2]!])
  const hashes = at(out, SCALAR_BYTES * lanes)
  return {
    lanes: Array.from({ length: lanes }, (_, lane) =>
      at(inputs + SCALAR_BYTES * MAX_INPUTS * lane, SCALAR_BYTES * MAX_INPUTS),
    ),
    hash(count) {
      hash(byCount.get(count)![0], count + 1, byCount.get(count)![1])
      return hashes
    },
  }
}

/** An instance with memory of its own; synchronous, and for one thread. */
export const openPoseidon = (module: WebAssembly.Module): Poseidon =>
  WebAssembly.Module.exports(module).length === 0 ? openPortable() : openModule(module)
