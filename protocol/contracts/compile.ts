import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { assetPath } from '../assets.ts'
import { SinterError } from '../errors.ts'

/**
 * A contract as the node deploys it. `sourceHash` is SHA-256 over compiler version, settings and every source in hex. The address of each
 * library in `links` (20 bytes in hex) goes wherever its placeholder stands in the bytecode.
 */
export type Artifact = {
  abi: unknown[]
  bytecode: `0x${string}`
  links: Record<string, string>
  sourceHash: string
}

type Bytecode = { object: string; linkReferences: Record<string, Record<string, { start: number; length: number }[]>> }
type Solc = { version(): string; compile(input: string): string }
type CompilerOutput = {
  errors?: { severity: string; formattedMessage: string; sourceLocation?: { file: string } }[]
  contracts: Record<string, Record<string, { abi: unknown[]; evm: { bytecode: Bytecode } }>>
}

/** Libraries that are contracts of their own, called by the contracts that they are linked into. */
export const LIBRARIES = ['Audits', 'Forfeits', 'Payouts', 'Ranges'] as const

/** Contract name, and the name of its typed ABI in abi.ts. */
const DEPLOYED: Record<string, string> = {
  SinterToken: 'tokenAbi',
  NodeRegistry: 'registryAbi',
  Escrow: 'escrowAbi',
  HeaderBeacon: 'beaconAbi',
  DrandBeacon: 'drandBeaconAbi',
  Batches: 'batchesAbi',
  Seats: 'seatsAbi',
  Votes: 'votesAbi',
  Canaries: 'canariesAbi',
  Strikes: 'strikesAbi',
  PriceIndex: 'pricesAbi',
  Emissions: 'emissionsAbi',
  Capacity: 'capacityAbi',
  Referee: 'refereeAbi',
  DevnetFaucet: 'faucetAbi',
  DevnetFeed: 'feedAbi',
}

/** Also in test/contracts/foundry.toml: the tests must run what is deployed. */
export const SETTINGS = {
  optimizer: { enabled: true, runs: 200 },
  evmVersion: 'cancun',
  // No metadata: the same source gives the same bytes wherever it lies.
  metadata: { appendCBOR: false, bytecodeHash: 'none' },
}

const FOLDER = assetPath('protocol/contracts')

/** Text of every source a compilation needs: ours, and what they import from node_modules. */
function collectSources(): Record<string, string> {
  const ours = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.sol'))
  const sources: Record<string, string> = {}
  const queue = ours.map((name) => name.replaceAll('\\', '/')).sort()
  for (let unit = queue.shift(); unit !== undefined; unit = queue.shift()) {
    if (sources[unit] !== undefined) continue
    const text = readFileSync(unit.startsWith('@') ? assetPath(join('node_modules', unit)) : join(FOLDER, unit), 'utf8')
    sources[unit] = text
    for (const [, target] of text.matchAll(/^\s*import\s+(?:[^"']*from\s+)?["']([^"']+)["']/gm)) {
      queue.push(target!.startsWith('.') ? join(unit, '..', target!).replaceAll('\\', '/') : target!)
    }
  }
  return Object.fromEntries(Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Compiles all contracts with solc from npm. Throws `CONTRACTS_COMPILE` with the compiler's own text. */
export function compileContracts(): Record<string, Artifact> {
  const solc = createRequire(import.meta.url)('solc') as Solc
  const sources = collectSources()
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(Object.entries(sources).map(([unit, content]) => [unit, { content }])),
    settings: {
      ...SETTINGS,
      outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.bytecode.linkReferences'] } },
    },
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as CompilerOutput
  // Warnings of libraries are theirs; in our own sources every one stops the build.
  const problems = (output.errors ?? []).filter(
    ({ severity, sourceLocation }) =>
      severity === 'error' || (severity === 'warning' && !sourceLocation?.file.startsWith('@')),
  )
  if (problems.length > 0) {
    throw new SinterError('CONTRACTS_COMPILE', problems.map((problem) => problem.formattedMessage).join('\n'))
  }
  const sourceHash = createHash('sha256').update(solc.version()).update(JSON.stringify(input)).digest('hex')
  const units = Object.values(output.contracts)
  return Object.fromEntries(
    [...Object.keys(DEPLOYED), ...LIBRARIES].map((name) => {
      const contract = units.find((unit) => unit[name] !== undefined)![name]!
      const { object } = contract.evm.bytecode
      const links = placeholders(contract.evm.bytecode)
      return [name, { abi: contract.abi, bytecode: `0x${object}` as const, links, sourceHash }]
    }),
  )
}

/** What stands for each library's address in the bytecode. */
function placeholders({ object, linkReferences }: Bytecode): Record<string, string> {
  const units = Object.values(linkReferences).flatMap((unit) => Object.entries(unit))
  return Object.fromEntries(units.map(([name, [at]]) => [name, object.substr(2 * at!.start, 2 * at!.length)]))
}

/** Source of abi.ts: one `as const` array per contract, one line per entry. */
function abiModule(artifacts: Record<string, Artifact>): string {
  const parts = Object.entries(DEPLOYED).map(([name, constant]) => {
    const entries = artifacts[name]!.abi.map((entry) => `  ${JSON.stringify(entry)},`).join('\n')
    return `export const ${constant} = [\n${entries}\n] as const\n`
  })
  return ['// biome-ignore-all format: generated by protocol/contracts/compile.ts\n', ...parts].join('\n')
}

function main(): void {
  const artifacts = compileContracts()
  const folder = join(FOLDER, 'artifacts')
  if (!existsSync(folder)) mkdirSync(folder)
  for (const [name, artifact] of Object.entries(artifacts)) {
    const file = join(folder, `${name}.json`)
    writeFileSync(file, `${JSON.stringify(artifact)}\n`)
    console.log(`${relative(process.cwd(), file)}  ${(artifact.bytecode.length - 2) / 2} bytes`)
  }
  writeFileSync(join(FOLDER, 'abi.ts'), abiModule(artifacts))
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) main()
