import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { artifactPath, checkArtifact, readArtifactIndex } from '../../circuits/artifacts.ts'
import {
  applyBeacon,
  type CircuitFiles,
  contribute,
  pinArtifacts,
  preparePhase1,
  verifyingKeyFile,
  verifyKey,
  verifyPhase1,
} from '../../circuits/ceremony.ts'
import { compileCircuit } from '../../circuits/compile.ts'
import { CIRCUIT_KINDS, type CircuitKind } from '../../circuits/signals.ts'
import { toHex, utf8 } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { sha256 } from '../../protocol/hash.ts'
import { parseCount, readInput } from './options.ts'

const ARTIFACTS = dirname(artifactPath('relation', 'zkey'))

export type ContributeOptions = { name: string }
export type BeaconOptions = { name: string; value: string; exponent: string }
export type VerifyOptions = { keys?: string; phase1?: string; prepared?: string; r1cs?: string }
export type PinOptions = { phase1?: string; out?: string }

type Say = (line: string) => void
const print: Say = (line) => console.log(line)

/** Adds a contribution to a key and says what to publish. */
export async function ceremonyContribute(from: string, to: string, options: ContributeOptions, say = print) {
  readInput(from)
  say(`contribution hash ${await contribute(from, to, options.name)}`)
  say('publish this hash with your name; your randomness is forgotten')
}

/** Ends the contributions to a key with a public randomness. Throws `BEACON_FORMAT`. */
export async function ceremonyBeacon(from: string, to: string, options: BeaconOptions, say = print) {
  readInput(from)
  const value = options.value.replace(/^0x/, '')
  say(`contribution hash ${await applyBeacon(from, to, options.name, value, parseCount(options.exponent))}`)
}

/** Throws `CIRCUIT_UNKNOWN`. */
function kindsOf(names: string[]): CircuitKind[] {
  for (const name of names)
    if (!CIRCUIT_KINDS.includes(name as CircuitKind))
      throw new SinterError('CIRCUIT_UNKNOWN', `no circuit ${name}; there are ${CIRCUIT_KINDS.join(', ')}`)
  return names.length === 0 ? [...CIRCUIT_KINDS] : (names as CircuitKind[])
}

/** Runs with a temporary folder that is gone afterwards. */
async function withFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'sinter-ceremony-'))
  try {
    return await run(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Checks keys against phase 1 and the circuits, compiled anew unless `r1cs` names a folder, and the verification keys beside them
 * against the keys. Without options it checks what this installation has. Throws the codes of `checkArtifact`, `verifyPhase1` and `verifyKey`.
 */
export async function ceremonyVerify(circuits: string[], options: VerifyOptions, say = print): Promise<void> {
  const kinds = kindsOf(circuits)
  const keys = resolve(options.keys ?? ARTIFACTS)
  await withFolder(async (work) => {
    let prepared = options.prepared
    if (prepared === undefined) {
      const phase1 = resolve(options.phase1 ?? join(ARTIFACTS, 'phase1.ptau'))
      if (options.phase1 === undefined)
        checkArtifact('phase1.ptau', readInput(phase1), (await readArtifactIndex()).phase1.sha256)
      say('verifying phase 1')
      await verifyPhase1(phase1)
      say('preparing phase 1 (minutes)')
      prepared = join(work, 'prepared.ptau')
      await preparePhase1(phase1, prepared)
    }
    for (const kind of kinds) {
      const r1cs =
        options.r1cs === undefined
          ? (await compileCircuit(kind, work)).r1cs
          : join(resolve(options.r1cs), `${kind}.r1cs`)
      const zkey = join(keys, `${kind}.zkey`)
      const contributions = await verifyKey(r1cs, prepared, zkey)
      const vkey = await verifyingKeyFile(zkey)
      // Proofs are judged by the verification key. A transcript says nothing of one that is not this key's.
      const beside = join(keys, `${kind}.vkey.json`)
      if (existsSync(beside) && readFileSync(beside, 'utf8') !== vkey)
        throw new SinterError('CEREMONY_KEY', `${beside} is not the verification key of ${zkey}`)
      say(`${kind}: valid, ${contributions.length} contributions, verification key ${toHex(sha256(utf8(vkey)))}`)
      // A name is a stranger's: quoted, so that it cannot write lines of its own.
      for (const { name, hash } of contributions) say(`  ${JSON.stringify(name)} ${hash}`)
    }
  })
}

/** Takes finished keys, `KIND.zkey` in a folder, as this installation's: compiles the circuits and writes all artifacts and their hashes. */
export async function ceremonyPin(folder: string, options: PinOptions, say = print): Promise<void> {
  const out = resolve(options.out ?? ARTIFACTS)
  const phase1 = resolve(options.phase1 ?? join(folder, 'phase1.ptau'))
  await mkdir(out, { recursive: true })
  await withFolder(async (work) => {
    const files = {} as Record<CircuitKind, CircuitFiles>
    for (const kind of CIRCUIT_KINDS)
      files[kind] = { ...(await compileCircuit(kind, work)), zkey: join(resolve(folder), `${kind}.zkey`) }
    const index = await pinArtifacts(out, phase1, files)
    for (const kind of CIRCUIT_KINDS) say(`${kind}: verification key ${index[kind].sha256['vkey.json']}`)
  })
  say('a network file names these hashes; check the keys with `sinter ceremony verify`')
}
