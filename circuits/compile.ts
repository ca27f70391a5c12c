import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { assetPath, PACKAGE_ROOT } from '../protocol/assets.ts'
import { SinterError } from '../protocol/errors.ts'
import type { CircuitKind } from './signals.ts'

/** Output of the circom compiler for one circuit, as file paths. */
export type Compiled = { r1cs: string; wasm: string; sym: string }

/**
 * Compiles a circom file into `folder` with full simplification (--O2), which the committed keys assume. Needs the
 * development dependencies and takes a few seconds. Throws `COMPILE_FAILED`.
 */
export async function compileSource(source: string, folder: string): Promise<Compiled> {
  const name = basename(source, '.circom')
  try {
    const command = join(createRequire(import.meta.url).resolve('circom2/package.json'), '..', 'cli.js')
    // The WebAssembly build of circom resolves paths against the working directory only.
    const [from, to] = [source, folder].map((path) => relative(PACKAGE_ROOT, path)) as [string, string]
    const args = [command, from, '--O2', '--r1cs', '--wasm', '--sym', '-l', 'node_modules', '-o', to]
    await promisify(execFile)(process.execPath, args, { cwd: PACKAGE_ROOT })
  } catch (cause) {
    throw new SinterError('COMPILE_FAILED', `circom could not compile ${name}.circom`, { cause })
  }
  return {
    r1cs: join(folder, `${name}.r1cs`),
    wasm: join(folder, `${name}_js`, `${name}.wasm`),
    sym: join(folder, `${name}.sym`),
  }
}

/** Compiles one of our circuits. Throws as `compileSource`. */
export const compileCircuit = (kind: CircuitKind, folder: string): Promise<Compiled> =>
  compileSource(assetPath(`circuits/${kind}.circom`), folder)

/** Number of constraints and wires stated in the header of an r1cs file. Throws `COMPILE_FAILED`. */
export async function r1csHeader(path: string): Promise<{ constraints: number; wires: number }> {
  const file = await readFile(path)
  if (file.toString('latin1', 0, 4) !== 'r1cs') throw new SinterError('COMPILE_FAILED', 'not an r1cs file')
  let at = 12
  for (let i = 0; i < file.readUInt32LE(8); i++) {
    const size = Number(file.readBigUInt64LE(at + 4))
    // Header: field size 32, prime, wires, outputs, public inputs, private inputs, labels (64 bits), constraints.
    if (file.readUInt32LE(at) === 1)
      return { wires: file.readUInt32LE(at + 12 + 36), constraints: file.readUInt32LE(at + 12 + 60) }
    at += 12 + size
  }
  throw new SinterError('COMPILE_FAILED', 'the r1cs file has no header')
}
