/**
 * `npm run bench:serve`: the same models on this machine in one run, called directly in a child process, through the SDK and through the
 * gateway of a local network. `--quick` takes fewer requests, `--only=serve-1k` one model. The last line is one JSON object.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { CID } from 'multiformats/cid'
import { createCommitter } from '../../circuits/commit.ts'
import { loadDigits } from '../../models/digits.ts'
import { commitSide } from '../../node/attestation/commit.ts'
import { devnetParams } from '../../node/chain/params.ts'
import { type ActorEvent, startActor } from '../../node/devnet/actor.ts'
import { startLocalnet } from '../../node/devnet/localnet.ts'
import { cpuPerRun, percentile, usage } from './measure.ts'
import type { Measured, ServeClientInit, Way } from './serve-client.ts'
import { type ServeModel, serveModels, writeModel } from './serve-models.ts'

const quick = process.argv.includes('--quick')
const only = process.argv.find((word) => word.startsWith('--only='))?.slice('--only='.length)
const began = performance.now()
const say = (line: string): void =>
  console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${line}`)
const round = (value: number | null, digits = 2): number | null =>
  value === null || !Number.isFinite(value) ? null : Number(value.toFixed(digits))
const LIMIT_MS = 600_000

/** Requests per size and concurrency; 0 is one at a time with a pause after each answer, in which what is off the latency path is done. */
const COUNTS: Record<string, Record<string, number>> = quick
  ? {
      'serve-1k': { 0: 80, 1: 160, 8: 160, 64: 64 },
      'serve-1k-long': { 8: 32 },
      'serve-150k': { 1: 6, 8: 8 },
      'serve-4m': { 1: 2 },
    }
  : {
      'serve-1k': { 0: 200, 1: 400, 8: 800, 64: 800 },
      'serve-1k-long': { 1: 40, 8: 160 },
      'serve-150k': { 1: 60, 8: 120, 64: 128 },
      'serve-4m': { 1: 8, 8: 16, 64: 64 },
    }
const SOAK = quick ? 200 : 10_000
/** What the whole run may take is a quarter of an hour. */
const SOAK_MS = 330_000

/** Processor time of both roots of one job, in this process (ms). */
async function commitMs({ shape, outputs }: ServeModel): Promise<number> {
  const committer = await createCommitter()
  const { manifest, weights } = loadDigits()
  // What is committed depends on the number of values alone.
  const sized = structuredClone(manifest)
  for (const [ends, size] of [
    [sized.inputs, shape],
    [sized.outputs, [outputs]],
  ] as const)
    for (const end of ends) sized.tensors[end.tensor] = { ...sized.tensors[end.tensor]!, shape: [...size] }
  const model = { cid: CID.parse(sized.model.cid), manifest: sized, weights }
  const count = shape.reduce((product, dim) => product * dim, 1)
  const sides = (): void => {
    commitSide(committer, model, 'input', new Uint8Array(32), [new Int16Array(count).fill(77)])
    commitSide(committer, model, 'output', new Uint8Array(32), [new Int16Array(outputs).fill(77)])
  }
  // The compiler has done its best after some.
  if (count < 2 ** 17) cpuPerRun(20, sides)
  return cpuPerRun(count < 2 ** 12 ? 100 : count < 2 ** 17 ? 5 : 1, sides)
}

/** Bytes that a process has read and written with system calls, where /proc exists. */
function ioBytes(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/io`, 'utf8')
    return Number(/^rchar: (\d+)$/m.exec(text)![1]) + Number(/^wchar: (\d+)$/m.exec(text)![1])
  } catch {
    return Number.NaN
  }
}

const folder = mkdtempSync(join(tmpdir(), 'sinter-serve-'))
const [load] = loadavg()
say(`${cpus().length} × ${cpus()[0]?.model.trim()}, Node ${process.version}, load ${load!.toFixed(1)}`)
const loops: number[] = []
let underLoad = false
const onEvent = ({ event, facts }: ActorEvent): void => {
  if (event === 'loop' && underLoad) loops.push(Number(facts.p99))
}
// To commit and prove drawn jobs of 4 MB takes longer than the devnet's windows are, and a node promises only what a slow machine could.
const ENDS = { canaryWindow: 7_200, unbondingDelay: 28_800 }
// And sessions that are closed wait till the end, so that nothing is proven while it is measured: `npm run bench` has the proofs.
const WINDOWS = { closeWindow: 7_200, traceWindow: 600, attestWindow: 3_600, voteWindow: 600 }
const params = { ...devnetParams, draws: 2, ...WINDOWS, ...ENDS }
const net = await startLocalnet({ folder, params, tileDraws: 2, onEvent })
/** Of the node's own process and of the consumer's, in processor milliseconds, and bytes that the node moved with system calls. */
type Used = { provider: number; client: number; bytes: number }
type Row = Measured & { name: string; way: Way; concurrency: number; used: Used }

function lineOf({ name, way, concurrency, p50, p99, rps, requests, failed, cut, used }: Row): string {
  const each = (total: number): string => (total / requests).toFixed(1)
  const notes = `${failed > 0 ? `, ${failed} failed` : ''}${cut ? `, ended by the clock after ${requests}` : ''}`
  // Inputs up, outputs of 128 numbers down.
  const own = serveModels().find((model) => model.name === name)!.inputBytes + 512
  return (
    `${name} ${way} × ${concurrency === 0 ? '1 with pauses' : concurrency}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, ${rps.toFixed(1)}/s${notes}; ` +
    `node ${each(used.provider)} ms, consumer ${each(used.client)} ms of processor, ` +
    `node moves ${Math.round(used.bytes / requests)} bytes, ${(used.bytes / requests / own).toFixed(1)} times the tensors`
  )
}
const rows: Row[] = []
try {
  const models = serveModels().filter(({ name }) => only === undefined || name === only)
  const provider = await net.startNode('node-1', {
    program: join(import.meta.dirname, 'serve-node.ts'),
    args: ['--quiet', '3600', '--batch-age', '3600', '--max-models', '8'],
  })
  const published: ServeClientInit['models'] = []
  const commits = new Map<string, number>()
  for (const model of models) {
    const { file, samples } = writeModel(folder, model)
    const publisher = net.startCommand(
      `publisher-${model.name}`,
      await net.newAccount(`publisher-${model.name}`),
      ['model', 'publish', file],
      ['--samples', samples, '--json'],
    )
    const id = (await publisher.wait('published', LIMIT_MS)).facts.manifest as string
    published.push({ name: model.name, id, file, shape: model.shape, counts: COUNTS[model.name]! })
    commits.set(model.name, await commitMs(model))
    say(
      `${model.name} is published: ${(model.onnx.length / 2 ** 20).toFixed(1)} MiB, ${commits.get(model.name)!.toFixed(1)} ms of commitments a request on each side`,
    )
  }
  const account = await net.newAccount('client')
  const gatewayAccount = await net.newAccount('gateway')
  const gateway = net.startCommand(
    'gateway',
    gatewayAccount,
    ['gateway'],
    ['--model', ...published.map(({ name, id }) => `${name}=${id}`), '--port', '0', '--audit', '0', '--providers', '1'],
  )
  const listening = await gateway.wait('gateway.listening', LIMIT_MS)
  const init: ServeClientInit = {
    connect: {
      network: net.networkFile,
      rpcUrl: net.anvil.rpcUrl,
      dataDir: account.folder,
      password: readFileSync(join(folder, 'password'), 'utf8').trim(),
      bootstrap: [net.nodes[0]!.multiaddr],
      devnet: true,
      ceiling: 10n ** 17n,
      audit: 0,
      scheduler: { providers: 1, bids: 1, windowMs: 60_000, openMs: 120_000, sessionJobs: 256 },
    },
    gateway: listening.facts.url as string,
    models: published,
    soak: SOAK,
    soakMs: SOAK_MS,
  }
  const client = startActor({
    name: 'client',
    args: [JSON.stringify(init, (_, value) => (typeof value === 'bigint' ? `${value}n` : value))],
    env: {},
    logFile: join(folder, 'logs', 'client.log'),
    program: join(import.meta.dirname, 'serve-client.ts'),
    onEvent({ event, facts }) {
      if (event === 'load.failure') say(`a request failed: ${facts.error as string}`)
      const { way } = facts as unknown as Row
      const now = (): Used => ({
        provider: usage(provider.actor.pid)?.ownCpuMs ?? Number.NaN,
        client: consumerCpu(way),
        bytes: ioBytes(provider.actor.pid),
      })
      if (event === 'load.begin') {
        underLoad = way !== 'direct'
        mark = now()
      } else if (event === 'load.pause') {
        underLoad = false
        const [before, after, sum] = [mark, now(), used.get(way) ?? { provider: 0, client: 0, bytes: 0 }]
        for (const key of ['provider', 'client', 'bytes'] as const) sum[key] += after[key] - before[key]
        used.set(way, sum)
      } else if (event === 'load.end') {
        const row = { ...(facts as unknown as Row), used: used.get(way)! }
        used.delete(way)
        rows.push(row)
        say(lineOf(row))
      }
    },
  })
  const used = new Map<Way, Used>()
  let mark: Used = { provider: 0, client: 0, bytes: 0 }
  const consumerCpu = (way: Way): number => usage(way === 'gateway' ? gateway.pid : client.pid)?.ownCpuMs ?? Number.NaN
  const cold = (await client.wait('cold', LIMIT_MS)).facts.seconds as number
  const warm = (await client.wait('warm', LIMIT_MS)).facts.seconds as number
  say(
    `from nothing to the first answer: ${cold.toFixed(1)} s with a cold provider, ${warm.toFixed(1)} s with a warm one`,
  )
  await client.wait('soak.begin', LIMIT_MS)
  underLoad = true
  const soak = (await client.wait('soak.end', LIMIT_MS)).facts
  underLoad = false
  const nodeMb = usage(provider.actor.pid)?.ownMb ?? null
  say(
    `${SOAK} more requests: ${Number(soak.rps).toFixed(1)}/s; ${soak.cut ? `ended by the clock after ${soak.requests as number}; ` : ''}then the consumer has ${Number(soak.rssMb).toFixed(0)} MiB, the node's own process ${nodeMb?.toFixed(0)}`,
  )
  await client.stop()
  // Bulk transfer is measured by its own file, when it is there.
  const bulk = join(import.meta.dirname, 'bulk.ts')
  const transfer = existsSync(bulk)
    ? ((await (
        (await import(pathToFileURL(bulk).href)) as {
          measureBulk?(): Promise<Record<string, number>>
        }
      ).measureBulk?.()) ?? {})
    : {}
  const row = (way: Way, concurrency: number, name = 'serve-1k'): Row | undefined =>
    rows.find((each) => each.name === name && each.way === way && each.concurrency === concurrency)
  const p50 = (way: Way, concurrency = 8): number | null => round(row(way, concurrency)?.p50 ?? null)
  const rps = (way: Way, name?: string): number | null => round(row(way, 8, name)?.rps ?? null, 1)
  say(
    `commitments, processor of consumer and of provider per request: ${[...commits].map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`).join(', ')}`,
  )
  for (const [how, concurrency] of [
    ['one at a time with pauses', 0],
    ['one right after the other', 1],
  ] as const)
    say(
      `${how}, 1 KB: the SDK takes ${round(p50('sdk', concurrency)! - p50('direct', concurrency)!)} ms more than a direct call, the gateway ${round(p50('gateway', concurrency)! - p50('direct', concurrency)!)} (goal 3)`,
    )
  for (const { name } of models.filter(({ name }) => row('direct', 8, name) !== undefined))
    say(
      `${name}, eight at a time: the SDK reaches ${round((100 * rps('sdk', name)!) / rps('direct', name)!, 0)}% of the direct rate, the gateway ${round((100 * rps('gateway', name)!) / rps('direct', name)!, 0)}% (goal 90)`,
    )
  console.log(
    JSON.stringify({
      direct_ms_p50: p50('direct'),
      sdk_ms_p50: p50('sdk'),
      gateway_ms_p50: p50('gateway'),
      direct_rps: rps('direct'),
      sdk_rps: rps('sdk'),
      gateway_rps: rps('gateway'),
      loop_delay_ms_p99: round(percentile(loops, 0.99), 1),
      cold_s: round(cold, 1),
      bulk_mb_s: round(transfer.bulk_mb_s ?? null, 1),
      bitswap_mb_s: round(transfer.bitswap_mb_s ?? null, 1),
      raw_mb_s: round(transfer.raw_mb_s ?? null, 1),
      [quick ? `rss_mb_after_${SOAK}` : 'rss_mb_after_10000']: round(nodeMb, 0),
    }),
  )
} catch (error) {
  for (const name of ['client', 'gateway', 'node-1'])
    if (existsSync(join(folder, 'logs', `${name}.log`)))
      say(`${name}: ${readFileSync(join(folder, 'logs', `${name}.log`), 'utf8').slice(-2_000)}`)
  throw error
} finally {
  await net.stop()
  rmSync(folder, { recursive: true, force: true })
}
process.exit(0)
