/**
 * `npm run bench:gas`: what every step costs on a real chain (anvil), and what settlement costs a job, in batches and one by one. A table,
 * and as the last line one JSON object. Prices are stated and can be set: ETH_USD, L2_GWEI, BLOB_GWEI, L1_GWEI.
 */
import { startAnvil } from '../../node/chain/anvil.ts'
import { deployDrandBeacon, openDrandBeacon } from '../../node/chain/drand.ts'
import { devnetParams } from '../../node/chain/params.ts'
import { localRounds } from '../../protocol/drand.ts'
import { measurePulse } from './gas-pulse.ts'
import { type Costs, measureSettlement } from './gas-world.ts'

const price = (name: string, normal: number): number => {
  const value = Number(process.env[name] ?? normal)
  if (!Number.isFinite(value) || value <= 0) throw new Error(`${name} is not a price`)
  return value
}
const PRICES = {
  etherUsd: price('ETH_USD', 3_000),
  /** Execution on an optimistic rollup. */
  l2Gwei: price('L2_GWEI', 0.01),
  /** Its data on L1: one blob gas per byte. */
  blobGwei: price('BLOB_GWEI', 1),
  l1Gwei: price('L1_GWEI', 2),
}
/** Jobs that one session brings into a batch, at most. */
const JOBS_PER_RANGE = 100
const MAX_RANGES = devnetParams.maxRanges

const cents = (gwei: number): number => gwei * 1e-9 * PRICES.etherUsd * 100
const l2Cents = ({ gas, bytes }: Costs): number => cents(gas * PRICES.l2Gwei + bytes * PRICES.blobGwei)
const l1Cents = ({ gas }: Costs): number => cents(gas * PRICES.l1Gwei)
const sum = (...all: Costs[]): Costs => ({
  gas: all.reduce((total, { gas }) => total + gas, 0),
  bytes: all.reduce((total, { bytes }) => total + bytes, 0),
})
const times = ({ gas, bytes }: Costs, n: number): Costs => ({ gas: gas * n, bytes: bytes * n })

const anvil = await startAnvil({ blockTime: 0 })
try {
  const small = await measureSettlement(anvil, { committeeSize: 5, quorum: 4 })
  const large = await measureSettlement(anvil, { committeeSize: 13, quorum: 9 })
  const sizes = [256, 1024, 4096]
  const pulse = await measurePulse(anvil, sizes)
  const source = localRounds(1n)
  const drand = { ...source, genesis: 1_000_000_000, period: 3, roundsPerSlot: 200, minDelay: 60 }
  const address = await deployDrandBeacon(anvil.rpcUrl, anvil.key, drand)
  const beacon = await openDrandBeacon(anvil.rpcUrl, anvil.key, address, source)
  const slot = await beacon.nextSlot()
  const round = await beacon.record(slot, source.sign(await beacon.roundOf(slot)))
  beacon.close()
  /** Two words of call data, the rest signature and envelope of the transaction. */
  const drandRecord: Costs = { gas: Number(round!.gasUsed), bytes: 280 }

  const rows: [string, Costs | null, string][] = [
    ['register', large.register, 'a node: key, payout consent, stake'],
    ['deposit', large.deposit, 'into the escrow'],
    ['deposit, by permit', large.depositWithPermit, 'one transaction, no allowance before or after'],
    ['approve', large.approve, 'what a deposit takes besides, the first time, without a permit'],
    ['open_session', large.openSession, ''],
    ['open_session, signed', large.openSessionFor, 'openSessionFor, by a key; a contract wallet adds its own check'],
    ['anchor', large.anchor, 'a batch with one range'],
    ['anchor, each further range', large.furtherRange, ''],
    ['anchor_trace', large.anchorTrace, ''],
    ['commit attestation', large.commit, ''],
    ['record a slot, header beacon', large.record, 'three per batch'],
    ['record a slot, drand beacon', drandRecord, 'three per batch, on chains without block randomness'],
    ['commit_votes_5', small.commitVotes, 'all commitments of a committee at once'],
    ['commit_votes_13', large.commitVotes, 'the same'],
    ['settle_5', small.settle, 'committee of 5, 4 votes'],
    ['settle_13', large.settle, 'committee of 13, 9 votes'],
    ['collect', large.collect, 'per range'],
    ['appeal', large.appeal, 'against a verdict of 13; its committee settles besides'],
    ['prove_proof', large.proveProof, 'the referee, of a real proof of `relation`: 653 signals and its key'],
    ['claim', large.withdraw, 'pay out of the escrow (withdraw)'],
    ['token transfer', large.transfer, 'for comparison'],
    ['open a pulse', pulse.open, 'and record its slot'],
    ['report', pulse.report, 'one of five'],
    ...sizes.map((n, i): [string, Costs, string] => [
      `claim capacity, n = ${n}`,
      pulse.claims[i]!,
      'a lane of 4,096 steps, 4 entries',
    ]),
  ]
  console.log(
    `ether ${PRICES.etherUsd} USD; L2: ${PRICES.l2Gwei} gwei and ${PRICES.blobGwei} gwei per byte of data; L1: ${PRICES.l1Gwei} gwei`,
  )
  console.log(
    `${'step'.padEnd(30)} ${'gas'.padStart(9)} ${'bytes'.padStart(6)} ${'L2 ¢'.padStart(9)} ${'L1 ¢'.padStart(9)}`,
  )
  for (const [name, costs, note] of rows) {
    const line =
      costs === null
        ? `${'–'.padStart(9)} ${''.padStart(6)} ${''.padStart(9)} ${''.padStart(9)}`
        : `${String(costs.gas).padStart(9)} ${String(costs.bytes).padStart(6)} ${l2Cents(costs).toFixed(4).padStart(9)} ${l1Cents(costs).toFixed(2).padStart(9)}`
    console.log(`${name.padEnd(30)} ${line}  ${note}`)
  }

  /** All transactions of a batch of so many jobs, committee of 13. */
  const batchOf = (jobs: number, record: Costs): { costs: Costs; ranges: number } => {
    const ranges = Math.min(MAX_RANGES, Math.ceil(jobs / JOBS_PER_RANGE))
    const steps = [
      large.anchor,
      times(large.furtherRange, ranges - 1),
      times(record, 3),
      large.anchorTrace,
      large.commit,
    ]
    return { costs: sum(...steps, large.commitVotes, large.settle, times(large.collect, ranges)), ranges }
  }
  console.log('')
  console.log(
    `per job, all transactions of a batch (committee of 13, a range per ${JOBS_PER_RANGE} jobs, ${MAX_RANGES} at most)`,
  )
  console.log(
    `${'design'.padEnd(44)} ${'ranges'.padStart(6)} ${'gas/job'.padStart(9)} ${'L2 ¢/job'.padStart(10)} ${'L1 ¢/job'.padStart(10)}`,
  )
  const perJob: Record<string, number> = {}
  const say = (name: string, ranges: number | '', costs: Costs, jobs: number): number => {
    const each = times(costs, 1 / jobs)
    console.log(
      `${name.padEnd(44)} ${String(ranges).padStart(6)} ${each.gas.toFixed(0).padStart(9)} ${l2Cents(each).toFixed(5).padStart(10)} ${l1Cents(each).toFixed(3).padStart(10)}`,
    )
    return l2Cents(each)
  }
  for (const jobs of [100, 1_000, 10_000]) {
    const { costs, ranges } = batchOf(jobs, large.record)
    perJob[jobs] = say(`a batch of ${jobs}`, ranges, costs, jobs)
    const other = batchOf(jobs, drandRecord)
    say(`a batch of ${jobs}, drand beacon`, other.ranges, other.costs, jobs)
  }
  const alone = say('each job settled by itself (a batch of one)', 1, batchOf(1, large.record).costs, 1)
  say('each job paid by a token transfer, unchecked', '', large.transfer, 1)
  console.log(
    `a batch of 1000 costs ${(alone / perJob[1_000]!).toFixed(0)} times less per job than jobs settled one by one`,
  )
  console.log('claim: pay out of the escrow')
  console.log(
    JSON.stringify({
      register: large.register.gas,
      deposit: large.deposit.gas,
      open_session: large.openSession.gas,
      anchor: large.anchor.gas,
      anchor_trace: large.anchorTrace.gas,
      settle_5: small.settle.gas,
      settle_13: large.settle.gas,
      appeal: large.appeal.gas,
      prove_proof: large.proveProof.gas,
      deposit_with_permit: large.depositWithPermit.gas,
      claim: large.withdraw.gas,
      per_job_1000_l2_cents: Number(perJob[1_000]!.toFixed(6)),
    }),
  )
} finally {
  await anvil.stop()
}
process.exit(0)
