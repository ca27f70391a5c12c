/**
 * `npm run bench`: what a request costs beside calling ONNX Runtime directly, and what the attestation costs, on this machine
 * in one run. Lines and a table, and as the last line one JSON object with the same figures.
 */
import { cpus, loadavg, totalmem } from 'node:os'
import { percentile } from './measure.ts'
import { measureNetwork } from './network.ts'
import { measureProofs } from './proofs.ts'

const started = performance.now()
const say = (line: string): void =>
  console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}`)
const round = (value: number | null, digits = 2): number | null =>
  value === null || !Number.isFinite(value) ? null : Number(value.toFixed(digits))

const [load] = loadavg()
const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`
say(`${machine}, load ${load!.toFixed(1)}`)
if (load! > cpus().length / 2) say('the machine is busy with other things: these figures are worse than its own')
say('commitments, proofs and verification, one at a time')
const proofs = await measureProofs()
say('a local network of real processes')
const network = await measureNetwork(say)
const { requests } = network

const rps = (latencies: number[]): number => (1000 * latencies.length) / latencies.reduce((sum, ms) => sum + ms, 0)
const p = (samples: number[], q: number): number => percentile(samples, q)
const figures = {
  direct_ms_p50: round(p(requests.child, 0.5), 3),
  direct_ms_p99: round(p(requests.child, 0.99), 3),
  in_process_ms_p50: round(p(requests.inProcess, 0.5), 3),
  in_process_ms_p99: round(p(requests.inProcess, 0.99), 3),
  warm_ms_p50: round(p(requests.warm, 0.5)),
  warm_ms_p99: round(p(requests.warm, 0.99)),
  warm_execution_ms_p50: round(p(requests.execution, 0.5), 3),
  burst_ms_p50: round(p(requests.burst, 0.5)),
  burst_ms_p99: round(p(requests.burst, 0.99)),
  warm_rps: round((1000 * requests.burst.length) / requests.burstMs, 1),
  direct_rps: round(rps(requests.child), 1),
  in_process_rps: round(rps(requests.inProcess), 1),
  commit_ms: round(proofs.commitMs, 3),
  provider_cpu_ms: round(network.providerCpuMs),
  client_cpu_ms: round(network.clientCpuMs),
  trace_ms: round(proofs.traceMs, 1),
  prove_ms: round(proofs.proveStatementMs, 0),
  prove_relation_ms: round(proofs.prove.relation, 0),
  prove_pointwise_ms: round(proofs.prove.pointwise, 0),
  prove_cold_ms: round(proofs.coldProofMs, 0),
  verify_ms: round(proofs.verifyStatementMs, 1),
  verify_relation_ms: round(proofs.verify.relation, 1),
  verify_pointwise_ms: round(proofs.verify.pointwise, 1),
  settle_s: round(network.settleS, 1),
  collect_s: round(network.collectS, 1),
  node_rss_mb: round(network.nodeTreeMb, 0),
  node_process_rss_mb: round(network.nodeRssMb, 0),
  proving_rss_mb: round(network.provingMb, 0),
  batch: network.status,
  machine,
  load: round(load!, 1),
}

const ms = (value: number | null): string => (value === null ? '–' : `${value} ms`)
const times = (a: number | null, b: number | null): string => (a === null || b === null ? '' : `${(a / b).toFixed(1)}×`)
const f = figures
const rows: [what: string, value: string, note: string][] = [
  [
    'direct ONNX Runtime, in this process',
    `${ms(f.in_process_ms_p50)} / ${ms(f.in_process_ms_p99)}`,
    `${f.in_process_rps} requests/s`,
  ],
  [
    'direct ONNX Runtime, in a child process',
    `${ms(f.direct_ms_p50)} / ${ms(f.direct_ms_p99)}`,
    `${f.direct_rps} requests/s`,
  ],
  [
    'warm request through the network',
    `${ms(f.warm_ms_p50)} / ${ms(f.warm_ms_p99)}`,
    `${times(f.warm_ms_p50, f.direct_ms_p50)} the child process at p50; ${ms(f.warm_execution_ms_p50)} of it in the model’s process`,
  ],
  [
    'the same, one right after the other',
    `${ms(f.burst_ms_p50)} / ${ms(f.burst_ms_p99)}`,
    `${f.warm_rps} requests/s with receipts and vouchers, ${times(f.direct_rps, f.warm_rps)} below the child process`,
  ],
  ['commitments per request, processor', ms(f.commit_ms), 'input and output root; consumer and provider each'],
  [
    'all work per request, processor',
    `${ms(f.provider_cpu_ms)} + ${ms(f.client_cpu_ms)}`,
    'provider’s and consumer’s own process',
  ],
  ['canonical trace of a drawn job', ms(f.trace_ms), 'evaluated and committed'],
  [
    'proof, relation / pointwise',
    `${ms(f.prove_relation_ms)} / ${ms(f.prove_pointwise_ms)}`,
    `${ms(f.prove_ms)} a statement, ${round(proofs.statements, 1)} statements a job; first one ${ms(f.prove_cold_ms)}`,
  ],
  [
    'verification, relation / pointwise',
    `${ms(f.verify_relation_ms)} / ${ms(f.verify_pointwise_ms)}`,
    `${ms(f.verify_ms)} a statement`,
  ],
  [
    'last receipt to settlement',
    `${f.settle_s} s`,
    `batch ${network.status}, ${network.jobs} jobs proven; collected after ${f.collect_s} s`,
  ],
  [
    'resident memory per node',
    f.node_rss_mb === null ? '–' : `${f.node_rss_mb} MiB`,
    `${f.node_process_rss_mb} in its own process, the rest in children; provider while proving ${f.proving_rss_mb}`,
  ],
]
console.log('')
console.log(`${'digits model, one image a request'.padEnd(42)} ${'p50 / p99'.padEnd(24)}`)
for (const [what, value, note] of rows) console.log(`${what.padEnd(42)} ${value.padEnd(24)} ${note}`)
console.log('')
console.log('from the last receipt to settlement')
for (const [name, seconds] of network.stages) console.log(`  ${name.padEnd(40)} ${seconds.toFixed(1)} s`)
console.log(`  ${'batch.settled'.padEnd(40)} ${network.settleS.toFixed(1)} s`)
console.log('')
if (network.status !== 'paid') process.exitCode = 1
console.log(JSON.stringify(figures))
