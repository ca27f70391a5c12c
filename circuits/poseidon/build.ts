/** `node node/build/run.js circuits/poseidon/build.ts` writes the module that the repository keeps, from circomlibjs's constants. */
import { writeFileSync } from 'node:fs'
import { assetPath } from '../../protocol/assets.ts'
import { buildPoseidonModule, type PoseidonConstants } from './module.ts'

/** circomlibjs exports the function alone; its constants are the module beside it. */
export async function poseidonConstants(): Promise<PoseidonConstants> {
  const file = new URL('./src/poseidon_constants_opt.js', import.meta.resolve('circomlibjs'))
  return ((await import(file.href)) as { default: PoseidonConstants }).default
}

if (import.meta.main)
  writeFileSync(assetPath('circuits/artifacts/poseidon.wasm'), buildPoseidonModule(await poseidonConstants()))
