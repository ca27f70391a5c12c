/**
 * `npm run bench:attest`: what attesting costs on this machine, circuit by circuit and model by model, in one run. Tables, and as
 * the last line one JSON object with the same figures. `--small` measures less of everything. Names of models limit it to those;
 * `large` stands for the two large architectures, of which one job each is committed, proven and verified whole.
 */
import { cpus, loadavg, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { ARCHITECTURES } from './architectures.ts'
import { COMMITTEE, DRAWS, openTools, TILE_DRAWS } from './attestation.ts'
import { measureCircuits } from './circuits.ts'
import { type LargeCost, measureLarge } from './large.ts'
import { usage } from './measure.ts'
import { BATCHES, type ModelCost, measureModel } from './models.ts'
import { referenceNames } from './reference.ts'
import { circuitTable, largeTable, modelTable, round } from './tables.ts'

const { values, positionals } = parseArgs({ options: { small: { type: 'boolean' } }, allowPositionals: true })
const small = values.small === true
const started = performance.now()
const say = (line: string): void =>
  console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}`)

const [load] = loadavg()
const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`
say(`${machine}, load ${load!.toFixed(1)}`)
if (load! > cpus().length / 2) say('the machine is busy with other things: these figures are worse than its own')
say('the four circuits')
const costs = await measureCircuits(small ? 2 : 8)
const wanted = (name: string): boolean => positionals.length === 0 || positionals.includes(name)
const tools = await openTools()
const models: ModelCost[] = []
let childPeakMb = 0
try {
  for (const name of referenceNames().filter(wanted)) {
    say(`${name}: published, served, traced, proven, verified`)
    models.push(await measureModel(name, tools, small))
    childPeakMb = Math.max(childPeakMb, usage(process.pid)?.childPeakMb ?? 0)
  }
} finally {
  await tools.close()
}
const large: LargeCost[] = []
for (const name of Object.keys(ARCHITECTURES))
  if (wanted(name) || positionals.includes('large')) {
    say(`${name}${small ? ', a small one of its making' : ''}`)
    const cost = await measureLarge(name, small, say)
    large.push(cost)
    childPeakMb = Math.max(childPeakMb, ...Object.values(cost.peaks).map((peak) => peak ?? 0))
  }

const circuits = Object.values(costs.circuits)
const most = (of: (each: (typeof circuits)[number]) => number): number => Math.max(...circuits.map(of))
const figures = {
  constraints_per_limb: round(
    most(({ constraints, limbs }) => constraints / limbs),
    1,
  ),
  commit_limbs_per_s: round(costs.commitLimbsPerS, 0),
  prove_ms_per_limb: round(
    most(({ proveMs, limbs }) => proveMs / limbs),
    2,
  ),
  verify_ms: round(
    most(({ verifyMs }) => verifyMs),
    1,
  ),
  verify_ratio: round(most(({ verifyMs }) => verifyMs) / costs.smallestMs, 2),
  verify_together_ms: round(
    most(({ verifyTogetherMs }) => verifyTogetherMs),
    1,
  ),
  verify_together_ratio: round(most(({ verifyTogetherMs }) => verifyTogetherMs) / costs.smallestMs, 2),
  attest_verify_ms: round(Math.max(...[...models, ...large].map(({ attestation }) => attestation.ms)), 0),
  peak_rss_mb: round(
    Math.max(
      childPeakMb,
      most(({ peakMb }) => peakMb ?? 0),
    ),
    0,
  ),
  prove_cpu_ms_per_limb: round(
    most(({ proveCpuMs, limbs }) => proveCpuMs / limbs),
    2,
  ),
  zkey_mb: round(
    most(({ zkeyMb }) => zkeyMb),
    1,
  ),
  zkeys_mb: round(
    circuits.reduce((sum, { zkeyMb }) => sum + zkeyMb, 0),
    1,
  ),
  relation_constraints_per_limb: round(costs.circuits.relation.constraints / costs.circuits.relation.limbs, 1),
  smallest_verify_ms: round(costs.smallestMs, 1),
  models: Object.fromEntries(
    models.map((each) => [
      each.name,
      {
        coverage: each.coverage,
        agree: round(each.agree / each.samples, 4),
        samples: each.samples,
        statements: round(each.statements, 1),
        proofs: round(each.proofs, 1),
        trace_s: round(each.trace.ms / 1000, 3),
        prove_s: round(each.prove.ms / 1000, 2),
        trace_cpu_s: round(each.trace.cpuMs / 1000, 3),
        prove_cpu_s: round(each.prove.cpuMs / 1000, 2),
        verify_cpu_ms: round(each.verify.cpuMs, 0),
        verify_ms: round(each.verify.ms, 0),
        bytes: round(each.bytes, 0),
        cpu_ratio: Object.fromEntries(BATCHES.map((jobs) => [jobs, round(each.ratios[jobs].network, 2)])),
        provider_cpu_ratio: Object.fromEntries(BATCHES.map((jobs) => [jobs, round(each.ratios[jobs].provider, 2)])),
      },
    ]),
  ),
  large: Object.fromEntries(
    large.map((each) => [
      each.name,
      {
        parameters: each.published.parameters,
        units: each.units,
        coverage: each.coverage,
        publish_s: round(each.published.calibrateMs / 1000, 1),
        publish_rss_mb: round(each.published.peakMb ?? Number.NaN, 0),
        serve_cpu_s: round(each.serveCpuMs / 1000, 2),
        evaluate_s: round(each.evaluateMs / 1000, 1),
        trace_s: round(each.trace.ms / 1000, 1),
        trace_cpu_s: round(each.trace.cpuMs / 1000, 1),
        trace_rss_mb: round(each.peaks.tracer ?? Number.NaN, 0),
        statements: each.statements,
        proofs: each.proofs,
        prove_s: round(each.prove.ms / 1000, 1),
        prove_cpu_s: round(each.prove.cpuMs / 1000, 1),
        verify_ms: round(each.verify.ms, 0),
        bytes: each.bytes,
      },
    ]),
  ),
  machine,
  load: round(load!, 1),
}
console.log('')
console.log(circuitTable(costs))
console.log('')
console.log(
  `${DRAWS} jobs drawn from a batch, ${TILE_DRAWS} tiles of each beside those that are always checked, ${COMMITTEE} voters. Per drawn job:`,
)
if (models.length > 0) console.log(modelTable(models))
if (large.length > 0) console.log(`\n${largeTable(large)}`)
console.log('')
console.log(JSON.stringify(figures))
