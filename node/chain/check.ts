import type { Abi, Address } from 'viem'
import { bytesToBigint } from '../../protocol/bytes.ts'
import {
  batchesAbi,
  beaconAbi,
  canariesAbi,
  capacityAbi,
  drandBeaconAbi,
  emissionsAbi,
  escrowAbi,
  pricesAbi,
  refereeAbi,
  registryAbi,
  seatsAbi,
  strikesAbi,
  tokenAbi,
  votesAbi,
} from '../../protocol/contracts/abi.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { drandOf } from './beacon.ts'
import { openClient } from './client.ts'
import {
  capacityClass,
  capacityClasses,
  classPrices,
  emissionParams,
  pulseParams,
  stakeParams,
  strikeParams,
} from './economy.ts'
import { chainError } from './errors.ts'
import { pinnedKeys } from './keys.ts'
import { paramsFromJson } from './params.ts'

type Fact = [what: string, found: unknown, stated: unknown]

/**
 * Compares a network file with what its contracts say of themselves: their parameters, and that they know each other. Returns the
 * number of facts that agree. Throws `NETWORK_MISMATCH` naming the first that does not, `NETWORK_PARAMS`, `CHAIN_…`.
 */
export async function checkDeployment(network: NetworkFile, rpcUrl: string | readonly string[]): Promise<number> {
  const client = openClient(rpcUrl, 250, { chainId: network.chainId })
  const {
    token,
    registry,
    escrow,
    beacon,
    batches,
    seats,
    votes,
    canaries,
    strikes,
    prices,
    emissions,
    referee,
    capacity,
  } = network.contracts
  const stated = paramsFromJson(network.params)
  const ask = (address: Address, abi: Abi, functionName: string, args: unknown[] = []): Promise<unknown> =>
    client.readContract({ address, abi, functionName, args }).catch((error: unknown) => {
      throw chainError(error, functionName)
    })
  const facts: Fact[] = []
  const compare = async (address: Address, abi: unknown, names: Record<string, unknown>, of: string): Promise<void> => {
    for (const [name, value] of Object.entries(names))
      facts.push([`${of}.${name}`, await ask(address, abi as Abi, name), value])
  }
  const { unbondingDelay, minStake, closeWindow, slotLength, minDelay, cap } = stated
  await compare(token, tokenAbi, { cap, minter: emissions }, 'token')
  await compare(registry, registryAbi, { token, escrow, batches, seats, unbondingDelay, minStake }, 'registry')
  await compare(escrow, escrowAbi, { token, registry, batches, closeWindow }, 'escrow')
  const drand = drandOf(network)
  if (drand === null) await compare(beacon, beaconAbi, { slotLength, minDelay }, 'beacon')
  else {
    const { genesis, period, publicKey } = drand
    const key = [0, 32, 64, 96].map((at) => bytesToBigint(publicKey.subarray(at, at + 32)))
    const facts = { genesis, period, roundsPerSlot: slotLength, minDelay, publicKey: key }
    await compare(beacon, drandBeaconAbi, facts, 'beacon')
  }
  await compare(batches, batchesAbi, { registry, escrow, beacon, emissions, seats, referee, strikes, votes }, 'batches')
  await compare(referee, refereeAbi, { batches, beacon, seats }, 'referee')
  await compare(strikes, strikesAbi, { batches }, 'strikes')
  const { seatStake, seatWindow, commitWindow } = stated
  await compare(votes, votesAbi, { batches, seats, commitWindow }, 'votes')
  await compare(seats, seatsAbi, { registry, batches, seatStake, seatWindow }, 'seats')
  const { canaryWindow: revealWindow, canaryPeriod: period, canaryRewardBps: rewardBps } = stated
  const knows = { token, registry, batches, seats, revealWindow, period, rewardBps }
  await compare(canaries, canariesAbi, knows, 'canaries')
  for (const [name, judge] of Object.entries({ canaries, referee, votes }))
    facts.push([`seats.isJudge(${name})`, await ask(seats, seatsAbi as Abi, 'isJudge', [judge]), true])
  await compare(emissions, emissionsAbi, { token, registry, prices, batches, capacity }, 'emissions')
  await compare(capacity, capacityAbi, { registry, beacon, strikes, emissions }, 'capacity')
  const { targetPpm, deltaBps } = stated
  await compare(prices, pricesAbi, { emissions, targetPpm, deltaBps }, 'prices')
  const params = async (address: Address, abi: unknown, name: string, values: unknown, of: string): Promise<void> => {
    const found = (await ask(address, abi as Abi, name)) as Record<string, unknown>
    for (const [field, value] of Object.entries(found))
      facts.push([`${of}.${name}.${field}`, value, (values as Record<string, unknown>)[field]])
  }
  const keys = await pinnedKeys()
  for (const [i, key] of keys.entries())
    facts.push([`referee.keyOf(${i})`, await ask(referee, refereeAbi as Abi, 'keyOf', [BigInt(i)]), key])
  await params(batches, batchesAbi, 'params', stated, 'batches')
  await params(escrow, escrowAbi, 'stakeParams', stakeParams(stated), 'escrow')
  await params(strikes, strikesAbi, 'strikeParams', strikeParams(stated), 'strikes')
  await params(emissions, emissionsAbi, 'params', emissionParams(stated), 'emissions')
  await params(capacity, capacityAbi, 'params', pulseParams(stated), 'capacity')
  const measured = (await ask(capacity, capacityAbi as Abi, 'classes')) as Record<string, unknown>[]
  const lanes = capacityClasses(stated).map(capacityClass)
  facts.push(['capacity.classes.length', measured.length, lanes.length])
  for (const [i, each] of lanes.slice(0, measured.length).entries())
    for (const [field, value] of Object.entries(each))
      facts.push([`capacity.classes[${i}].${field}`, measured[i]![field], value])
  const classes = classPrices(stated)
  const count = Number(await ask(prices, pricesAbi as Abi, 'classCount'))
  facts.push(['prices.classCount', count, classes.length])
  for (const [i, each] of classes.slice(0, count).entries()) {
    // The price moves from where it began; class and floor stay.
    const found = (await ask(prices, pricesAbi as Abi, 'classAt', [BigInt(i)])) as typeof each
    facts.push([`prices.classAt(${i}).class`, found.class, each.class])
    facts.push([`prices.classAt(${i}).floor`, found.floor, each.floor])
  }
  for (const [what, found, value] of facts)
    if (String(found).toLowerCase() !== String(value).toLowerCase())
      throw new SinterError('NETWORK_MISMATCH', `${what} is ${found} on chain, the network file says ${value}`)
  return facts.length
}
