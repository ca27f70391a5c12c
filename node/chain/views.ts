import { decodeFunctionData, type Hex, type PublicClient } from 'viem'
import {
  batchesAbi,
  beaconAbi,
  escrowAbi,
  registryAbi,
  seatsAbi,
  strikesAbi,
  tokenAbi,
} from '../../protocol/contracts/abi.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import type { BeaconClock, Head } from './beacon.ts'
import { chainError } from './errors.ts'
import { lowerAddresses } from './values.ts'

export type BatchStatus =
  | 'none'
  | 'anchored'
  | 'traced'
  | 'committed'
  | 'slashPending'
  | 'paid'
  | 'untraced'
  | 'slashed'
  | 'abandoned'

/** Order of `IBatches.Status`. */
export const BATCH_STATUSES: readonly BatchStatus[] = [
  'none',
  'anchored',
  'traced',
  'committed',
  'slashPending',
  'paid',
  'untraced',
  'slashed',
  'abandoned',
]

/** `IBatches.Batch`; hashes that are not set yet are zero words, slots 0. `slashAt` in seconds. */
export type Batch = {
  provider: Address
  status: BatchStatus
  attempt: number
  anchorBlock: number
  root: Hex
  total: bigint
  providerPart: bigint
  burnPart: bigint
  slashAt: bigint
  sampleSlot: bigint
  challengeSlot: bigint
  committeeSlot: bigint
  /** Last second in which audits are named. */
  auditUntil: bigint
  /** Some vote of the verdict `forged` says that there was no attestation. */
  silent: boolean
  /** Such a verdict was voided by posting it. */
  rebutted: boolean
  traceRoot: Hex
  attestation: Hex
  verdicts: Hex
}

/** `IBatches.RangeRecord`: its receipts own the points [start, start + fee) of the sum tree. */
export type RangeRecord = { consumer: Address; collected: boolean; start: bigint; fee: bigint; refund: bigint }

/** `IEscrow.Session`; the reserve is ceiling − anchored, `signer` the voucher key. `expiry` and `closesAt` in seconds. */
export type Session = {
  consumer: Address
  provider: Address
  signer: Address
  ceiling: bigint
  anchored: bigint
  cursor: bigint
  expiry: bigint
  closesAt: bigint
  closed: boolean
}

/** `INodeRegistry.Node`; `publicKey` is X ‖ Y, 64 bytes. */
export type RegisteredNode = {
  payout: Address
  stake: bigint
  locked: bigint
  registeredAt: bigint
  publicKey: Hex
  hardwareClass: string
}

/**
 * `IStrikes.Record`: how far a provider is from its exclusion (`strikeThreshold`, millionths of a nat), and until when it may still anchor, and
 * not serve (seconds, 0n or past where it may).
 */
export type StrikeRecord = { score: bigint; graceUntil: bigint; excludedUntil: bigint; strikes: bigint }

/** A vote as a settling transaction carries it. */
export type Settlement = {
  committed: { voter: Address; commitment: Hex }[]
  votes: { place: bigint; verdicts: Hex; digest: Hex; salt: Hex }[]
}

/** Reads of the chain. All throw `CHAIN_…` errors (see errors.ts). */
export type Views = {
  /** Height and timestamp (seconds) of the newest block. */
  head(): Promise<{ block: bigint; timestamp: bigint }>
  etherOf(account: Address): Promise<bigint>
  /** What gas costs now, wei. */
  gasPrice(): Promise<bigint>
  /** Tokens outside the escrow. */
  tokensOf(account: Address): Promise<bigint>
  tokenSupply(): Promise<bigint>
  /** Free balance in the escrow. */
  balanceOf(account: Address): Promise<bigint>
  session(session: Hex): Promise<Session>
  /** Sessions a consumer has opened: the nonce of the next. */
  sessionNonce(consumer: Address): Promise<bigint>
  /** Id of a consumer's session number `nonce`. */
  sessionId(consumer: Address, nonce: bigint): Promise<Hex>
  /** Every session a consumer has opened, oldest first. */
  sessionsOf(consumer: Address): Promise<{ id: Hex; session: Session }[]>
  /** Money held for a batch. */
  pot(batchId: Hex): Promise<bigint>
  /** null when not registered. */
  node(operator: Address): Promise<RegisteredNode | null>
  /** All operators in order of registration. */
  operators(): Promise<Address[]>
  freeStake(operator: Address): Promise<bigint>
  /** Stake at the end of a past block. */
  stakeAt(operator: Address, block: bigint): Promise<bigint>
  /** What is left of a batch's lock. */
  lock(batchId: Hex): Promise<bigint>
  lockFor(total: bigint): Promise<bigint>
  batchId(provider: Address, root: Hex): Promise<Hex>
  batch(batchId: Hex): Promise<Batch>
  ranges(batchId: Hex): Promise<RangeRecord[]>
  samplePoints(batchId: Hex): Promise<bigint[]>
  /** Jobs that consumers named as draws, in the order of naming; `point` lies in [start, start + fee) of the range. */
  audits(batchId: Hex): Promise<{ range: number; point: bigint }[]>
  committee(batchId: Hex): Promise<Address[]>
  /** Whether agreeing votes of these members of the current committee settle. */
  quorate(batchId: Hex, voters: Address[]): Promise<boolean>
  /** What these votes weigh and what settles: members, or stake once the committee was redrawn. */
  standing(batchId: Hex, voters: Address[]): Promise<{ given: bigint; needed: bigint }>
  /** The commitments and votes that a transaction settled with; null when it did not call the contract itself. */
  settlement(transaction: Hex): Promise<Settlement | null>
  /** Timestamp (seconds) from which the seats of a bench can be released, and whether they are still held. */
  bench(bench: Hex): Promise<{ until: bigint; held: boolean }>
  strikes(provider: Address): Promise<StrikeRecord>
  /** Timestamp (seconds) at which the batch's current window ends; 0n while its slot is not recorded or when final. */
  deadline(batchId: Hex): Promise<bigint>
  /** Position at which a slot's value exists: height of its block, or with the drand beacon the time of its round. */
  slotHeight(slot: bigint): bigint
  /** Where the beacon is at a block: the block's height, or with the drand beacon its time. */
  beaconPosition(head: Head): bigint
  /** Value of a slot, null while it is not recorded. */
  beaconValue(slot: bigint): Promise<Hex | null>
  /** Timestamp (seconds) at which a slot was recorded, 0n while it is not. */
  slotRecordedAt(slot: bigint): Promise<bigint>
}

const PAGE = 500n

export function openViews(client: PublicClient, network: NetworkFile, clock: BeaconClock): Views {
  const { contracts } = network
  const token = { address: contracts.token, abi: tokenAbi } as const
  const registry = { address: contracts.registry, abi: registryAbi } as const
  const escrow = { address: contracts.escrow, abi: escrowAbi } as const
  const beacon = { address: contracts.beacon, abi: beaconAbi } as const
  const batches = { address: contracts.batches, abi: batchesAbi } as const
  const strikes = { address: contracts.strikes, abi: strikesAbi } as const
  const seats = { address: contracts.seats, abi: seatsAbi } as const

  async function ask<T>(name: string, answer: Promise<T>): Promise<T> {
    try {
      return lowerAddresses(await answer)
    } catch (error) {
      throw chainError(error, name)
    }
  }
  const read = client.readContract
  const sessionOf: Views['session'] = (session) =>
    ask('session', read({ ...escrow, functionName: 'sessionOf', args: [session] }))
  const sessionNonce: Views['sessionNonce'] = (consumer) =>
    ask('sessionNonce', read({ ...escrow, functionName: 'sessionNonce', args: [consumer] }))
  const sessionId: Views['sessionId'] = (consumer, nonce) =>
    ask('sessionId', read({ ...escrow, functionName: 'sessionId', args: [consumer, nonce] }))

  const slotRecordedAt: Views['slotRecordedAt'] = (slot) =>
    ask('slotRecordedAt', read({ ...beacon, functionName: 'recordedAt', args: [slot] }))

  const standing: Views['standing'] = async (batchId, voters) => {
    const args = [batchId, voters] as const
    const [given, needed] = await ask('standing', read({ ...batches, functionName: 'standing', args }))
    return { given, needed }
  }

  return {
    async head() {
      const block = await ask('head', client.getBlock())
      return { block: block.number, timestamp: block.timestamp }
    },
    etherOf: (account) => ask('etherOf', client.getBalance({ address: account })),
    gasPrice: () => ask('gasPrice', client.getGasPrice()),
    tokensOf: (account) => ask('tokensOf', read({ ...token, functionName: 'balanceOf', args: [account] })),
    tokenSupply: () => ask('tokenSupply', read({ ...token, functionName: 'totalSupply' })),
    balanceOf: (account) => ask('balanceOf', read({ ...escrow, functionName: 'balanceOf', args: [account] })),
    session: sessionOf,
    sessionNonce,
    sessionId,
    async sessionsOf(consumer) {
      const nonces = Array.from({ length: Number(await sessionNonce(consumer)) }, (_, nonce) => BigInt(nonce))
      return Promise.all(
        nonces.map(async (nonce) => {
          const id = await sessionId(consumer, nonce)
          return { id, session: await sessionOf(id) }
        }),
      )
    },
    pot: (batchId) => ask('pot', read({ ...escrow, functionName: 'potOf', args: [batchId] })),
    async node(operator) {
      const node = await ask('node', read({ ...registry, functionName: 'nodeOf', args: [operator] }))
      return node.registeredAt === 0n ? null : node
    },
    async operators() {
      const all: Address[] = []
      for (;;) {
        const args = [BigInt(all.length), PAGE] as const
        const page = await ask('operators', read({ ...registry, functionName: 'operators', args }))
        all.push(...page)
        if (BigInt(page.length) < PAGE) return all
      }
    },
    freeStake: (operator) => ask('freeStake', read({ ...registry, functionName: 'freeStake', args: [operator] })),
    stakeAt: (operator, block) =>
      ask('stakeAt', read({ ...registry, functionName: 'stakeAt', args: [operator, block] })),
    async lock(batchId) {
      return (await ask('lock', read({ ...registry, functionName: 'lockOf', args: [batchId] }))).amount
    },
    lockFor: (total) => ask('lockFor', read({ ...batches, functionName: 'lockFor', args: [total] })),
    batchId: (provider, root) =>
      ask('batchId', read({ ...batches, functionName: 'batchIdOf', args: [provider, root] })),
    async batch(batchId) {
      const batch = await ask('batch', read({ ...batches, functionName: 'batchOf', args: [batchId] }))
      return { ...batch, status: BATCH_STATUSES[batch.status]! }
    },
    async ranges(batchId) {
      const count = await ask('ranges', read({ ...batches, functionName: 'rangeCount', args: [batchId] }))
      const indices = Array.from({ length: Number(count) }, (_, i) => BigInt(i))
      return Promise.all(
        indices.map((i) => ask('ranges', read({ ...batches, functionName: 'rangeOf', args: [batchId, i] }))),
      )
    },
    async samplePoints(batchId) {
      return [...(await ask('samplePoints', read({ ...batches, functionName: 'samplePoints', args: [batchId] })))]
    },
    async audits(batchId) {
      return [...(await ask('audits', read({ ...batches, functionName: 'auditsOf', args: [batchId] })))]
    },
    async committee(batchId) {
      return [...(await ask('committee', read({ ...batches, functionName: 'committee', args: [batchId] })))]
    },
    async quorate(batchId, voters) {
      const { given, needed } = await standing(batchId, voters)
      return given >= needed
    },
    standing,
    async settlement(transaction) {
      const { to, input } = await ask('settlement', client.getTransaction({ hash: transaction }))
      if (to?.toLowerCase() !== contracts.batches.toLowerCase()) return null
      const { functionName, args } = decodeFunctionData({ abi: batchesAbi, data: input })
      return functionName === 'settle' ? lowerAddresses({ committed: [...args[1]], votes: [...args[2]] }) : null
    },
    deadline: (batchId) => ask('deadline', read({ ...batches, functionName: 'deadlineOf', args: [batchId] })),
    strikes: (provider) => ask('strikes', read({ ...strikes, functionName: 'recordOf', args: [provider] })),
    async bench(bench) {
      const { until, voters } = await ask('bench', read({ ...seats, functionName: 'benchOf', args: [bench] }))
      return { until, held: voters !== 0n }
    },
    slotHeight: clock.opensAt,
    beaconPosition: clock.position,
    slotRecordedAt,
    async beaconValue(slot) {
      return (await slotRecordedAt(slot)) === 0n
        ? null
        : ask('beaconValue', read({ ...beacon, functionName: 'value', args: [slot] }))
    },
  }
}
