import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'

/** Whole numbers of seconds, blocks, basis points and counts; see IBatches.Params for what each does. */
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
  'betaBps',
  'forfeitBps',
  'untracedSlashBps',
  'slashBurnBps',
  'traceWindow',
  'attestWindow',
  'voteWindow',
  'pokeGrace',
  'slashPending',
  'abandonWindow',
] as const
/** Base units of the token, and wei for `faucetEther`. */
const AMOUNTS = ['genesis', 'cap', 'minStake', 'minLock', 'verificationFloor', 'faucetTokens', 'faucetEther'] as const

/** Constructor arguments of all contracts, flat. Times in seconds, `slotLength` and `minDelay` in blocks. */
export type NetworkParams = Record<(typeof COUNTS)[number], number> & Record<(typeof AMOUNTS)[number], bigint>

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
  maxRanges: 64,
  // Lock per batch ≥ 1.5·F/(k·d1): 3·F covers d1 down to 1/8 at k = 4.
  lockBps: 30_000,
  nuBps: 300,
  betaBps: 500,
  forfeitBps: 15_000,
  untracedSlashBps: 1_000,
  slashBurnBps: 9_000,
  traceWindow: 60,
  attestWindow: 300,
  voteWindow: 60,
  pokeGrace: 10,
  slashPending: 15,
  abandonWindow: 30,
  genesis: 100_000_000n * SNTR,
  cap: 1_000_000_000n * SNTR,
  minStake: 1_000n * SNTR,
  minLock: 10n * SNTR,
  verificationFloor: SNTR / 10n,
  faucetTokens: 10_000n * SNTR,
  faucetEther: SNTR,
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
  traceWindow: 2 * HOUR,
  attestWindow: 30 * HOUR,
  voteWindow: HOUR,
  pokeGrace: 600,
  slashPending: 7 * DAY,
  abandonWindow: HOUR,
}

/** The form a network file carries: amounts as decimal strings. */
export function paramsToJson(params: NetworkParams): NetworkFile['params'] {
  const counts = COUNTS.map((name) => [name, params[name]] as const)
  const amounts = AMOUNTS.map((name) => [name, params[name].toString()] as const)
  return Object.fromEntries([...counts, ...amounts])
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
  return Object.fromEntries([
    ...COUNTS.map((name) => [name, count(name)]),
    ...AMOUNTS.map((name) => [name, amount(name)]),
  ]) as NetworkParams
}
