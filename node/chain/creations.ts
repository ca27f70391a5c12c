import { readFileSync } from 'node:fs'
import { type Abi, type Address, getContractAddress, type Hex } from 'viem'
import { assetPath } from '../../protocol/assets.ts'
import { bytesToBigint } from '../../protocol/bytes.ts'
import {
  batchesAbi,
  beaconAbi,
  canariesAbi,
  capacityAbi,
  drandBeaconAbi,
  emissionsAbi,
  escrowAbi,
  faucetAbi,
  pricesAbi,
  refereeAbi,
  registryAbi,
  seatsAbi,
  strikesAbi,
  tokenAbi,
  votesAbi,
} from '../../protocol/contracts/abi.ts'
import type { DrandNetwork } from '../../protocol/drand.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import {
  capacityClass,
  capacityClasses,
  classPrices,
  emissionParams,
  pulseParams,
  stakeParams,
  strikeParams,
} from './economy.ts'
import { pinnedKeys } from './keys.ts'
import type { NetworkParams } from './params.ts'

/** What `Batches` calls. */
const LIBRARIES = ['Audits', 'Forfeits', 'Payouts', 'Ranges']

/** Bytecode of a contract in protocol/contracts/artifacts, with the addresses of the libraries that it calls. */
export function bytecodeOf(name: string, libraries: Record<string, Address> = {}): Hex {
  const text = readFileSync(assetPath(`protocol/contracts/artifacts/${name}.json`), 'utf8')
  const { bytecode, links } = JSON.parse(text) as { bytecode: Hex; links: Record<string, string> }
  return Object.entries(links).reduce<string>(
    (code, [library, placeholder]) => code.replaceAll(placeholder, libraries[library]!.slice(2).toLowerCase()),
    bytecode,
  ) as Hex
}

/** One contract of a network: `bytecode` and `args` are what its deployer sends. */
export type Creation = { contract: string; address: Address; abi: Abi; bytecode: Hex; args: unknown[] }

/**
 * @param from deployer
 * @param first nonce of its first creation
 * @param faucet with the devnet's faucet, which then holds the genesis tokens; without it `from` does
 */
export type CreationInput = {
  from: Address
  first: number
  params: NetworkParams
  faucet: boolean
  drand: DrandNetwork | null
}

/** All creations of a network, in the order of their nonces: parameters and deployer determine every byte of them. */
export async function creationsOf(
  input: CreationInput,
): Promise<{ creations: Creation[]; contracts: NetworkFile['contracts'] }> {
  const { from, first, params: p, faucet, drand } = input
  const at = (offset: number): Address =>
    getContractAddress({ from, nonce: BigInt(first + offset) }).toLowerCase() as Address
  const [token, beacon, registry, escrow] = [at(0), at(1), at(2), at(3)]
  const libraries = Object.fromEntries(LIBRARIES.map((library, i) => [library, at(4 + i)]))
  const [batches, prices, emissions, seats, canaries, referee, strikes, votes, capacity, drip] = Array.from(
    { length: 10 },
    (_, i) => at(4 + LIBRARIES.length + i),
  ) as [Address, Address, Address, Address, Address, Address, Address, Address, Address, Address]
  const create = (contract: string, address: Address, abi: unknown, args: unknown[]): Creation => ({
    contract,
    address,
    abi: abi as Abi,
    bytecode: bytecodeOf(contract, libraries),
    args,
  })
  const batchParams = {
    ...p,
    auditWindow: BigInt(p.auditWindow),
    traceWindow: BigInt(p.traceWindow),
    attestWindow: BigInt(p.attestWindow),
    voteWindow: BigInt(p.voteWindow),
    pokeGrace: BigInt(p.pokeGrace),
    slashPending: BigInt(p.slashPending),
    abandonWindow: BigInt(p.abandonWindow),
    appealWindow: BigInt(p.appealWindow),
  }
  const creations = [
    create('SinterToken', token, tokenAbi, [faucet ? drip : from, p.genesis, p.cap, emissions]),
    drand === null
      ? create('HeaderBeacon', beacon, beaconAbi, [BigInt(p.slotLength), BigInt(p.minDelay)])
      : create('DrandBeacon', beacon, drandBeaconAbi, drandArguments(drand, p)),
    create('NodeRegistry', registry, registryAbi, [
      token,
      escrow,
      batches,
      seats,
      BigInt(p.unbondingDelay),
      p.minStake,
    ]),
    create('Escrow', escrow, escrowAbi, [token, registry, batches, BigInt(p.closeWindow), stakeParams(p)]),
    ...LIBRARIES.map((library) => create(library, libraries[library]!, [], [])),
    create('Batches', batches, batchesAbi, [
      registry,
      escrow,
      beacon,
      emissions,
      seats,
      referee,
      strikes,
      votes,
      batchParams,
    ]),
    create('PriceIndex', prices, pricesAbi, [emissions, p.targetPpm, p.deltaBps, classPrices(p)]),
    create('Emissions', emissions, emissionsAbi, [token, registry, prices, batches, capacity, emissionParams(p)]),
    // Whoever else was a judge could take every seat.
    create('Seats', seats, seatsAbi, [
      registry,
      batches,
      p.seatStake,
      BigInt(p.seatWindow),
      [canaries, referee, votes],
    ]),
    create('Canaries', canaries, canariesAbi, [
      token,
      registry,
      batches,
      seats,
      BigInt(p.canaryWindow),
      BigInt(p.canaryPeriod),
      p.canaryRewardBps,
    ]),
    create('Referee', referee, refereeAbi, [batches, beacon, seats, await pinnedKeys()]),
    create('Strikes', strikes, strikesAbi, [batches, strikeParams(p)]),
    create('Votes', votes, votesAbi, [batches, seats, BigInt(p.commitWindow)]),
    create('Capacity', capacity, capacityAbi, [
      registry,
      beacon,
      strikes,
      emissions,
      pulseParams(p),
      capacityClasses(p).map(capacityClass),
    ]),
    ...(faucet ? [create('DevnetFaucet', drip, faucetAbi, [token, p.faucetTokens, p.faucetEther])] : []),
  ]
  const contracts = {
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
    ...(faucet ? { faucet: drip } : {}),
  }
  return { creations, contracts }
}

const drandArguments = ({ publicKey, genesis, period }: DrandNetwork, p: NetworkParams): unknown[] => [
  [0, 32, 64, 96].map((at) => bytesToBigint(publicKey.subarray(at, at + 32))),
  ...[genesis, period, p.slotLength, p.minDelay].map(BigInt),
]
