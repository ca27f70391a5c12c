// Development ceremony, run by hand: node circuits/setup.ts WORK_FOLDER
// Phase 1 takes several minutes; WORK_FOLDER/phase1.ptau and prepared.ptau are reused when they exist. See
// circuits/README.md for what the resulting keys are worth.
import { existsSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { assetPath } from '../protocol/assets.ts'
import { utf8 } from '../protocol/bytes.ts'
import { sha256 } from '../protocol/hash.ts'
import {
  applyBeacon,
  type CircuitFiles,
  contribute,
  makePhase1,
  PHASE1_POWER,
  pinArtifacts,
  preparePhase1,
  startKey,
  verifyKey,
} from './ceremony.ts'
import { compileCircuit } from './compile.ts'
import { CIRCUIT_KINDS, type CircuitKind } from './signals.ts'

const BEACON = Buffer.from(sha256(utf8('sinter development ceremony 2'))).toString('hex')

const say = (line: string) => console.log(`${new Date().toISOString()} ${line}`)

/** Makes a file once: a run that was cut off leaves none that looks finished. */
async function once(path: string, make: (to: string) => Promise<void>): Promise<string> {
  if (!existsSync(path)) {
    await make(`${path}.part`)
    await rename(`${path}.part`, path)
  }
  return path
}

async function phase2(kind: CircuitKind, prepared: string, work: string): Promise<CircuitFiles> {
  const { r1cs, wasm } = await compileCircuit(kind, work)
  const steps = [0, 1, 2].map((i) => join(work, `${kind}.${i}.zkey`)) as [string, string, string]
  await startKey(r1cs, prepared, steps[0])
  await contribute(steps[0], steps[1], 'sinter development')
  await applyBeacon(steps[1], steps[2], 'sinter development beacon', BEACON)
  for (const { name, hash } of await verifyKey(r1cs, prepared, steps[2])) say(`${kind}: ${name} ${hash}`)
  return { r1cs, wasm, zkey: steps[2] }
}

const folder = process.argv[2]
if (folder === undefined) {
  console.error('usage: node circuits/setup.ts WORK_FOLDER')
  process.exit(2)
}
const work = resolve(folder)
await mkdir(work, { recursive: true })
const phase1 = await once(join(work, 'phase1.ptau'), (to) => makePhase1(to, join(work, 'powers'), PHASE1_POWER, BEACON))
say('powers of tau contributed, preparing phase 2 (minutes)')
const prepared = await once(join(work, 'prepared.ptau'), (to) => preparePhase1(phase1, to))
const circuits = {} as Record<CircuitKind, CircuitFiles>
for (const kind of CIRCUIT_KINDS) circuits[kind] = await phase2(kind, prepared, work)
await pinArtifacts(assetPath('circuits/artifacts'), phase1, circuits)
say('artifacts written; the toxic waste of this ceremony existed on this machine only, in memory')
// snarkjs leaves its worker threads running.
process.exit(0)
