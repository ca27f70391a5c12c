// Development ceremony, run by hand: node circuits/setup.ts WORK_FOLDER
// Phase 1 takes several minutes; WORK_FOLDER/phase1.ptau is reused when it exists. See circuits/README.md for what the
// resulting keys are worth.
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import * as snarkjs from 'snarkjs'
import { assetPath } from '../protocol/assets.ts'
import { toHex } from '../protocol/bytes.ts'
import { sha256 } from '../protocol/hash.ts'
import type { ArtifactIndex, ArtifactKind } from './artifacts.ts'
import { compileCircuit, r1csHeader } from './compile.ts'
import { prepareVerifier, type VerifyingKey } from './groth16.ts'
import { CIRCUIT_KINDS, type CircuitKind } from './signals.ts'
import { readProvingKey } from './zkey.ts'

/** log2 of the largest evaluation domain. */
const POWER = 14
const BEACON = createHash('sha256').update('sinter development ceremony 2').digest('hex')
/** The beacon is hashed 2^10 times. */
const BEACON_ITERATIONS = 10

const say = (line: string) => console.log(`${new Date().toISOString()} ${line}`)
const entropy = () => randomBytes(64).toString('hex')

async function fileHash(path: string): Promise<string> {
  return toHex(sha256(await readFile(path)))
}

async function phase1(work: string): Promise<string> {
  const done = join(work, 'phase1.ptau')
  if (existsSync(done)) return done
  const steps = [0, 1, 2, 3].map((i) => join(work, `phase1.${i}.ptau`)) as [string, string, string, string]
  const curve = await snarkjs.curves.getCurveFromName('bn128')
  await snarkjs.powersOfTau.newAccumulator(curve, POWER, steps[0])
  await snarkjs.powersOfTau.contribute(steps[0], steps[1], 'sinter development', entropy())
  await snarkjs.powersOfTau.beacon(steps[1], steps[2], 'sinter development beacon', BEACON, BEACON_ITERATIONS)
  say('powers of tau contributed, preparing phase 2 (minutes)')
  await snarkjs.powersOfTau.preparePhase2(steps[2], steps[3])
  // What the others took part in, from which anyone prepares the same file again.
  await copyFile(steps[2], assetPath('circuits/artifacts/phase1.ptau'))
  await rename(steps[3], done)
  await Promise.all(steps.map((step) => rm(step, { force: true })))
  return done
}

async function phase2(kind: CircuitKind, ptau: string, work: string): Promise<ArtifactIndex[CircuitKind]> {
  const { r1cs, wasm } = await compileCircuit(kind, work)
  const steps = [0, 1, 2].map((i) => join(work, `${kind}.${i}.zkey`)) as [string, string, string]
  await snarkjs.zKey.newZKey(r1cs, ptau, steps[0])
  await snarkjs.zKey.contribute(steps[0], steps[1], 'sinter development', entropy())
  await snarkjs.zKey.beacon(steps[1], steps[2], 'sinter development beacon', BEACON, BEACON_ITERATIONS)
  if (!(await snarkjs.zKey.verifyFromR1cs(r1cs, ptau, steps[2]))) throw new Error(`the key of ${kind} does not verify`)
  const vkey = join(work, `${kind}.vkey.json`)
  await writeFile(vkey, `${JSON.stringify(await snarkjs.zKey.exportVerificationKey(steps[2]))}\n`)

  // Both readers refuse an empty key and one whose second phase was skipped.
  readProvingKey(new Uint8Array(await readFile(steps[2])))
  const curve = await snarkjs.curves.getCurveFromName('bn128', { singleThread: true })
  prepareVerifier(curve, JSON.parse(await readFile(vkey, 'utf8')) as VerifyingKey)

  const sources: Record<ArtifactKind, string> = { wasm, zkey: steps[2], 'vkey.json': vkey }
  const hashes = { r1cs: await fileHash(r1cs) } as ArtifactIndex[CircuitKind]['sha256']
  for (const [artifact, source] of Object.entries(sources) as [ArtifactKind, string][]) {
    hashes[artifact] = await fileHash(source)
    await copyFile(source, assetPath(`circuits/artifacts/${kind}.${artifact}`))
  }
  const { constraints, wires } = await r1csHeader(r1cs)
  say(`${kind}: ${constraints} constraints, ${wires} wires`)
  return { constraints, wires, sha256: hashes }
}

const folder = process.argv[2]
if (folder === undefined) {
  console.error('usage: node circuits/setup.ts WORK_FOLDER')
  process.exit(2)
}
const work = resolve(folder)
await mkdir(work, { recursive: true })
await mkdir(assetPath('circuits/artifacts'), { recursive: true })
const ptau = await phase1(work)
const index = {} as ArtifactIndex
for (const kind of CIRCUIT_KINDS) index[kind] = await phase2(kind, ptau, work)
await writeFile(assetPath('circuits/artifacts/artifacts.json'), `${JSON.stringify(index, null, 2)}\n`)
say('artifacts written; the toxic waste of this ceremony existed on this machine only, in memory')
// snarkjs leaves its worker threads running.
process.exit(0)
