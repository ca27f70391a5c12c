import { type Address, type PublicClient, parseAbi } from 'viem'
import { SinterError } from '../../protocol/errors.ts'
import { openClient } from './client.ts'
import { chainError } from './errors.ts'

/** 10^-18 US dollars for one whole token or ether. */
export type Price = bigint

/** Where a price in US dollars comes from. Throws `ORACLE_…`, `CHAIN_…`; a price that is doubtful is never given. */
export type UsdFeed = { price(): Promise<Price> }

const USD = 10n ** 18n
const WEI = 10n ** 18n

/** Chainlink's AggregatorV3Interface, as far as it is read here. */
const AGGREGATOR = parseAbi([
  'function decimals() view returns (uint8)',
  'function latestRoundData() view returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)',
])

export type Round = { roundId: bigint; answer: bigint; updatedAt: bigint; answeredInRound: bigint; decimals: number }

/**
 * The price that a round states. Throws `ORACLE_ANSWER` when it is none, `ORACLE_STALE` when it is older than `maxAgeS`, from an
 * earlier round, or of a time that has not come (by more than a minute).
 * @param now seconds
 */
export function priceOfRound(round: Round, now: bigint, maxAgeS: number): Price {
  const { answer, roundId, answeredInRound, updatedAt, decimals } = round
  if (answer <= 0n || decimals > 36) throw new SinterError('ORACLE_ANSWER', 'the feed states no price')
  const age = now - updatedAt
  if (updatedAt === 0n || answeredInRound < roundId || age > BigInt(maxAgeS) || age < -60n)
    throw new SinterError('ORACLE_STALE', `the feed's price is ${age} s old`, { detail: { age, maxAgeS } })
  const price = decimals <= 18 ? answer * 10n ** BigInt(18 - decimals) : answer / 10n ** BigInt(decimals - 18)
  if (price === 0n) throw new SinterError('ORACLE_ANSWER', 'the feed states no price')
  return price
}

/** A feed on chain. @param maxAgeS oldest price that is taken; Chainlink's feeds have a heartbeat of up to a day. @default 90_000 */
export function chainlinkFeed(
  rpcUrl: string | readonly string[] | PublicClient,
  address: Address,
  { maxAgeS = 90_000 }: { maxAgeS?: number } = {},
): UsdFeed {
  const client = typeof rpcUrl === 'string' || Array.isArray(rpcUrl) ? openClient(rpcUrl) : (rpcUrl as PublicClient)
  return {
    async price() {
      const feed = { address, abi: AGGREGATOR } as const
      const [decimals, round, { timestamp }] = await Promise.all([
        client.readContract({ ...feed, functionName: 'decimals' }),
        client.readContract({ ...feed, functionName: 'latestRoundData' }),
        client.getBlock(),
      ]).catch((error: unknown) => {
        throw chainError(error, 'price feed')
      })
      const [roundId, answer, , updatedAt, answeredInRound] = round
      return priceOfRound({ roundId, answer, updatedAt, answeredInRound, decimals }, timestamp, maxAgeS)
    },
  }
}

/** A price that never changes, for networks where nothing has one. @param usd such as `0.25`. Throws `OPTION`. */
export function fixedFeed(usd: string): UsdFeed {
  const match = /^(\d{1,12})(?:\.(\d{1,18}))?$/.exec(usd)
  const price = match === null ? 0n : BigInt(match[1]!) * USD + BigInt((match[2] ?? '').padEnd(18, '0'))
  if (price === 0n) throw new SinterError('OPTION', `not a price in US dollars: ${usd}`)
  return { price: async () => price }
}

/** An address of a feed, or a price in US dollars. Throws `OPTION`. */
export function parseFeed(text: string, rpcUrl: string | readonly string[]): UsdFeed {
  return /^0x[0-9a-fA-F]{40}$/.test(text) ? chainlinkFeed(rpcUrl, text as Address) : fixedFeed(text)
}

/** Converts between gas, tokens and dollars, with prices that are looked up once in a while. */
export type Quoter = {
  /** Base units of the token that are worth so much gas. @param feePerGas wei */
  gasInTokens(gas: bigint, feePerGas: bigint): Promise<bigint>
  /** 10^-18 US dollars. */
  usdOfTokens(amount: bigint): Promise<bigint>
  usdOfGas(gas: bigint, feePerGas: bigint): Promise<bigint>
}

/** @param cacheMs how long a price is kept. @default 60_000 */
export function createQuoter(
  { ether, token, now }: { ether: UsdFeed; token: UsdFeed; now(): number },
  { cacheMs = 60_000 }: { cacheMs?: number } = {},
): Quoter {
  const cached = (feed: UsdFeed): (() => Promise<Price>) => {
    let held: { price: Price; at: number } | null = null
    return async () => {
      if (held === null || now() - held.at >= cacheMs) held = { price: await feed.price(), at: now() }
      return held.price
    }
  }
  const etherUsd = cached(ether)
  const tokenUsd = cached(token)
  const usdOfGas = async (gas: bigint, feePerGas: bigint): Promise<bigint> =>
    (gas * feePerGas * (await etherUsd()) + WEI - 1n) / WEI
  return {
    usdOfGas,
    usdOfTokens: async (amount) => (amount * (await tokenUsd())) / WEI,
    async gasInTokens(gas, feePerGas) {
      const price = await tokenUsd()
      return ((await usdOfGas(gas, feePerGas)) * WEI + price - 1n) / price
    },
  }
}

/** Dollars and cents for people: `$12.34`, or more digits below a cent. */
export function formatUsd(amount: bigint): string {
  const digits = amount.toString().padStart(19, '0')
  const fraction = digits.slice(-18)
  const shown = amount >= USD / 100n ? fraction.slice(0, 2) : fraction.replace(/0+$/, '').slice(0, 8)
  return `$${digits.slice(0, -18)}.${shown.padEnd(2, '0')}`
}
