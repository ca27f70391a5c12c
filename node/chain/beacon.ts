import { encodeAbiParameters, type Hex, keccak256 } from 'viem'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import type { DrandNetwork } from '../../protocol/drand.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'

/** Height and timestamp (seconds) of a block. */
export type Head = { block: bigint; timestamp: bigint }

/**
 * A network's beacon, as far as nodes have to know which it is. Positions are block heights with the header beacon, seconds with the drand
 * beacon; there `slotLength` counts rounds and `minDelay` seconds.
 */
export type BeaconClock = {
  drand: DrandNetwork | null
  /** Position at which the slot's value exists. */
  opensAt(slot: bigint): bigint
  position(head: Head): bigint
  /** Last slot whose value exists at a position. */
  slotAt(position: bigint): bigint
  /** Round whose signature the slot takes. Only with drand. */
  roundOf(slot: bigint): bigint
}

/** The drand network that a network file names, null for the header beacon. Throws `NETWORK_PARAMS`. */
export function drandOf({ params }: Pick<NetworkFile, 'params'>): DrandNetwork | null {
  const { drandKey, drandGenesis, drandPeriod } = params
  if (drandKey === undefined && drandGenesis === undefined && drandPeriod === undefined) return null
  const positive = (value: unknown): value is number =>
    typeof value === 'number' && Number.isSafeInteger(value) && value > 0
  if (!/^0x[0-9a-f]{256}$/.test(String(drandKey)) || !positive(drandGenesis) || !positive(drandPeriod))
    throw new SinterError('NETWORK_PARAMS', 'the network file’s drand parameters are incomplete or malformed')
  return { publicKey: fromHex(String(drandKey)), genesis: drandGenesis, period: drandPeriod }
}

/** The form a network file carries. */
export const drandToJson = ({ publicKey, genesis, period }: DrandNetwork): NetworkFile['params'] => ({
  drandKey: toHex(publicKey),
  drandGenesis: genesis,
  drandPeriod: period,
})

export function beaconClock(network: Pick<NetworkFile, 'params'>, slotLength: number): BeaconClock {
  const drand = drandOf(network)
  const length = BigInt(slotLength)
  const roundOf = (slot: bigint): bigint => slot * length
  if (drand === null)
    return {
      drand,
      opensAt: roundOf,
      position: ({ block }) => block,
      slotAt: (position) => position / length,
      roundOf,
    }
  const { genesis, period } = drand
  return {
    drand,
    roundOf,
    opensAt: (slot) => BigInt(genesis) + (roundOf(slot) - 1n) * BigInt(period),
    position: ({ timestamp }) => timestamp,
    slotAt: (position) =>
      position < BigInt(genesis) ? 0n : ((position - BigInt(genesis)) / BigInt(period) + 1n) / length,
  }
}

const VALUE = [
  { type: 'string' },
  { type: 'uint256' },
  { type: 'address' },
  { type: 'uint256' },
  { type: 'bytes32' },
] as const

/** Value of a slot before anybody has recorded it. @param source hash of its block, or with the drand beacon of its round's signature */
export const slotValue = ({ chainId, contracts }: NetworkFile, slot: bigint, source: Hex): Hex =>
  keccak256(encodeAbiParameters(VALUE, ['sinter/beacon/1', BigInt(chainId), contracts.beacon, slot, source]))
