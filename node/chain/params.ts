import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'

/** Whole numbers of seconds, blocks, basis points and counts; see IBatches.Params, IEmissions.Params, IConsumerStakes.StakeParams and ICapacity.Params. */
const COUNTS = [
  'slotLength',
  'minDelay',
  'unbondingDelay',
  'closeWindow',
  'draws',
  'committeeSize',
  'quorum',
  'maxRanges',
  'lockBps',
  'nuBps',
  'betaMaxBps',
  'forfeitBps',
  'untracedSlashBps',
  'slashBurnBps',
  'auditWindow',
  'traceWindow',
  'attestWindow',
  'voteWindow',
  'commitWindow',
  'pokeGrace',
  'slashPending',
  'abandonWindow',
  'appealWindow',
  'appealBondBps',
  'seatWindow',
  'canaryWindow',
  'canaryPeriod',
  'canaryRewardBps',
  'strikeGain',
  'strikeLoss',
  'strikeThreshold',
  'strikeGrace',
  'strikeExclusion',
  'epochLength',
  'lambdaPpm',
  'workBps',
  'availabilityBps',
  'gammaBps',
  'alphaBps',
  'smoothingEpochs',
  'releaseEpochs',
  'betaBps',
  'betaMinBps',
  'kappaBps',
  'betaStepBps',
  'betaReturnEpochs',
  'targetPpm',
  'deltaBps',
  'tierBps1',
  'tierBps2',
  'tierBps3',
  'consumerLock',
  'stakeActivation',
  'discountBps1',
  'discountBps2',
  'discountBps3',
  'pulseRarity',
  'pulseWindow',
  'pulseClaimWindow',
  'pulseFreshSlots',
  'pulseDrawMargin',
  'pulseReporters',
] as const
/** Base units of the token, and wei for `faucetEther`. */
const AMOUNTS = [
  'genesis',
  'cap',
  'minStake',
  'minLock',
  'verificationFloor',
  'auditFee',
  'seatStake',
  'faucetTokens',
  'faucetEther',
  'emission0',
  'tierStake2',
  'tierStake3',
  'discountStake1',
  'discountStake2',
  'discountStake3',
] as const
/** `name:price:floor`, comma-separated: base units per 10^12 multiply-adds of each hardware class. */
const CLASSES = /^([a-z0-9-]{1,64}:\d{1,29}:\d{1,29}(,(?!$)|$))*$/

/** `name:n:steps:entries:units:share:stake per lane`, comma-separated: see ICapacity.Class. */
const CAPACITY_CLASSES = /^([a-z0-9-]{1,64}:\d{3,4}:\d{1,5}:\d{1,3}:\d{1,15}:\d{1,6}:\d{1,29}(,(?!$)|$))*$/

/** Constructor arguments of all contracts, flat. Times in seconds, `slotLength` and `minDelay` in blocks. */
export type NetworkParams = Record<(typeof COUNTS)[number], number> &
  Record<(typeof AMOUNTS)[number], bigint> & {
    classes: string
    capacityClasses: string
  }

const SNTR = 10n ** 18n

/** A network that lives for minutes on one machine with blocks of one second: every window is tens of seconds. */
export const devnetParams: NetworkParams = {
  slotLength: 2,
  minDelay: 1,
  unbondingDelay: 1_200,
  closeWindow: 120,
  draws: 4,
  committeeSize: 3,
  quorum: 2,
  maxRanges: 24,
  // Lock per batch ≥ 1.5·F/(k·d1): 3·F covers d1 down to 1/8 at k = 4.
  lockBps: 30_000,
  nuBps: 300,
  betaMaxBps: 2_000,
  forfeitBps: 15_000,
  untracedSlashBps: 1_000,
  slashBurnBps: 9_000,
  auditWindow: 3,
  traceWindow: 60,
  attestWindow: 300,
  voteWindow: 60,
  commitWindow: 40,
  pokeGrace: 10,
  slashPending: 20,
  abandonWindow: 30,
  appealWindow: 15,
  appealBondBps: 1_000,
  seatWindow: 30,
  canaryWindow: 900,
  canaryPeriod: 60,
  canaryRewardBps: 5_000,
  // Millionths of a nat: ln(p1/p0) and ln((1 − p0)/(1 − p1)) for p0 = 0.5%, p1 = 5%; ln(10^6).
  strikeGain: 2_302_585,
  strikeLoss: 46_300,
  strikeThreshold: 13_815_510,
  strikeGrace: 120,
  strikeExclusion: 600,
  genesis: 100_000_000n * SNTR,
  cap: 1_000_000_000n * SNTR,
  minStake: 1_000n * SNTR,
  minLock: 10n * SNTR,
  verificationFloor: SNTR / 10n,
  auditFee: SNTR / 100n,
  seatStake: 10n * SNTR,
  faucetTokens: 10_000n * SNTR,
  faucetEther: SNTR,
  // The economy of protocol/spec/economics.md, with an epoch of a minute.
  epochLength: 60,
  emission0: 400_000n * SNTR,
  lambdaPpm: 999_500,
  workBps: 7_500,
  availabilityBps: 1_000,
  gammaBps: 8_000,
  alphaBps: 1_000,
  smoothingEpochs: 7,
  releaseEpochs: 30,
  betaBps: 500,
  betaMinBps: 200,
  kappaBps: 200,
  betaStepBps: 50,
  betaReturnEpochs: 30,
  targetPpm: 600_000,
  deltaBps: 200,
  tierStake2: 5_000n * SNTR,
  tierStake3: 25_000n * SNTR,
  tierBps1: 7_000,
  tierBps2: 8_500,
  tierBps3: 10_000,
  consumerLock: 180,
  stakeActivation: 30,
  discountStake1: 1_000n * SNTR,
  discountStake2: 10_000n * SNTR,
  discountStake3: 50_000n * SNTR,
  discountBps1: 1_000,
  discountBps2: 2_000,
  discountBps3: 3_000,
  classes: `cpu:${SNTR / 1_000n}:${SNTR / 2_000n}`,
  // A pulse every two minutes, so that a process a node for it is no weight on the one machine, and 12 s for it.
  pulseRarity: 60,
  pulseWindow: 12,
  pulseClaimWindow: 60,
  pulseFreshSlots: 6,
  pulseDrawMargin: 7,
  pulseReporters: 5,
  // What a lane stands for is nominal: the products are small, so that many nodes fit on one machine.
  capacityClasses: `cpu:256:16:4:25:2:${1_000n * SNTR}`,
}

const HOUR = 3_600
const DAY = 24 * HOUR

/**
 * First values for a network of strangers on a chain with independent proposers and blocks of 12 s (DESIGN §6): a slot is ten minutes,
 * an anchor is beyond any fork (64 blocks) before its sample exists.
 */
export const firstParams: NetworkParams = {
  ...devnetParams,
  slotLength: 50,
  minDelay: 64,
  unbondingDelay: 21 * DAY,
  closeWindow: DAY,
  draws: 8,
  committeeSize: 13,
  quorum: 9,
  // A hundred blocks to see one's receipts on chain and to name one; the sample's slot is due after 64 to 114.
  auditWindow: 20 * 60,
  traceWindow: 2 * HOUR,
  attestWindow: 30 * HOUR,
  voteWindow: HOUR,
  commitWindow: 40 * 60,
  pokeGrace: 600,
  slashPending: 7 * DAY,
  abandonWindow: HOUR,
  appealWindow: 30 * HOUR,
  seatWindow: 48 * HOUR,
  canaryWindow: 14 * DAY,
  canaryPeriod: 2 * DAY,
  strikeGrace: DAY,
  strikeExclusion: 30 * DAY,
  // protocol/spec/economics.md §4: S_0 is what a day mints.
  epochLength: DAY,
  stakeActivation: 7 * DAY,
  consumerLock: 30 * DAY,
  pulseRarity: 12,
  pulseWindow: 180,
  pulseClaimWindow: 6 * HOUR,
  pulseFreshSlots: 2,
  pulseDrawMargin: 1,
  capacityClasses: `cpu:1024:4096:4:176:8:${1_000n * SNTR}`,
}

/** Seconds between its blocks. */
const BLOCK = 12

/** The same times with a beacon of drand's, whose slots are rounds, `period` seconds apart, and whose delay is seconds. */
export const firstDrandParams = (period: number): NetworkParams => ({
  ...firstParams,
  slotLength: Math.ceil((firstParams.slotLength * BLOCK) / period),
  minDelay: firstParams.minDelay * BLOCK,
})

/** The form a network file carries: amounts as decimal strings. */
export function paramsToJson(params: NetworkParams): NetworkFile['params'] {
  const counts = COUNTS.map((name) => [name, params[name]] as const)
  const amounts = AMOUNTS.map((name) => [name, params[name].toString()] as const)
  return {
    ...Object.fromEntries([...counts, ...amounts]),
    classes: params.classes,
    capacityClasses: params.capacityClasses,
  }
}

/** Inverse of `paramsToJson`. Throws `NETWORK_PARAMS` naming the first parameter that is missing or malformed. */
export function paramsFromJson(json: NetworkFile['params']): NetworkParams {
  const refuse = (name: string): never => {
    throw new SinterError('NETWORK_PARAMS', `parameter ${name} of the network file is missing or malformed`)
  }
  const count = (name: string): number => {
    const value = json[name]
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : refuse(name)
  }
  const amount = (name: string): bigint => {
    const text = String(json[name])
    return /^\d{1,39}$/.test(text) ? BigInt(text) : refuse(name)
  }
  const list = (name: string, form: RegExp): string => {
    const text = json[name]
    return typeof text === 'string' && form.test(text) ? text : refuse(name)
  }
  return {
    ...Object.fromEntries([
      ...COUNTS.map((name) => [name, count(name)]),
      ...AMOUNTS.map((name) => [name, amount(name)]),
    ]),
    classes: list('classes', CLASSES),
    capacityClasses: list('capacityClasses', CAPACITY_CLASSES),
  } as NetworkParams
}

const POLL = { leastMs: 250, mostMs: 4_000, looks: 120 }

/**
 * Milliseconds from one look at the chain to the next: little is lost of the shortest window in which a node has to act, and an endpoint that
 * counts requests is not asked for nothing. Capacity pulses have looks of their own.
 */
export function pollMsOf(params: NetworkParams): number {
  const { auditWindow, traceWindow, attestWindow, commitWindow, voteWindow, appealWindow } = params
  const shortest = Math.min(auditWindow, traceWindow, attestWindow, commitWindow, voteWindow, appealWindow)
  return Math.min(POLL.mostMs, Math.max(POLL.leastMs, (1_000 * shortest) / POLL.looks))
}
