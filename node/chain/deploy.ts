import { readFileSync } from 'node:fs'
import { type Abi, type Address, encodeDeployData, getContractAddress, type Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
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
  feedAbi,
  pricesAbi,
  refereeAbi,
  registryAbi,
  seatsAbi,
  strikesAbi,
  tokenAbi,
  votesAbi,
} from '../../protocol/contracts/abi.ts'
import type { DrandNetwork } from '../../protocol/drand.ts'
import { SinterError } from '../../protocol/errors.ts'
import { type NetworkFile, parseNetwork } from '../../protocol/network.ts'
import { drandToJson } from './beacon.ts'
import { openClient } from './client.ts'
import {
  capacityClass,
  capacityClasses,
  classPrices,
  emissionParams,
  pulseParams,
  scheduleBound,
  stakeParams,
  strikeParams,
} from './economy.ts'
import { pinnedKeys } from './keys.ts'
import { type NetworkParams, paramsToJson } from './params.ts'
import { openTransactor } from './transact.ts'

/**
 * @param key pays the gas; it owns nothing afterwards (no contract has an owner).
 * @param faucet deploys the devnet faucet, which then holds the genesis tokens; without it `key`'s account does.
 * @param faucetFund wei handed to the faucet.
 * @param drand deploys the drand beacon: `slotLength` then counts rounds and `minDelay` seconds. @default null, the header beacon
 * @param circuits SHA-256 (64 hex digits) of the verification keys, for the network file.
 */
export type DeployOptions = {
  rpcUrl: string | readonly string[]
  key: Hex
  name: string
  params: NetworkParams
  tileDraws: number
  circuits: NetworkFile['circuits']
  faucet?: boolean
  faucetFund?: bigint
  drand?: DrandNetwork | null
}

const DEFAULT_FAUCET_FUND = 10n ** 21n
/** The registry's own `MAX_DRAWN`: members of the largest committee. */
const MAX_DRAWN = 127

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

/**
 * Deploys all contracts and returns the network's file. Addresses are computed before anything is sent, so the contracts
 * know each other from birth and need no owner to introduce them. Throws `CHAIN_…`, `NETWORK_PARAMS`, and `DEPLOY_NONCE` if
 * the account sent something else in between.
 */
export async function deployNetwork(options: DeployOptions): Promise<NetworkFile> {
  const {
    rpcUrl,
    key,
    name,
    params,
    tileDraws,
    circuits,
    faucet = false,
    faucetFund = DEFAULT_FAUCET_FUND,
    drand = null,
  } = options
  checkParams(params)
  const client = openClient(rpcUrl)
  const chainId = await client.getChainId()
  const transactor = openTransactor(client, chainId, privateKeyToAccount(key))
  const from = transactor.address
  const first = await client.getTransactionCount({ address: from, blockTag: 'pending' })
  const at = (offset: number): Address => getContractAddress({ from, nonce: BigInt(first + offset) })
  const [token, beacon, registry, escrow] = [at(0), at(1), at(2), at(3)]
  const libraries = Object.fromEntries(LIBRARIES.map((library, i) => [library, at(4 + i)]))
  const [batches, prices, emissions, seats, canaries, referee, strikes, votes, capacity, drip] = Array.from(
    { length: 10 },
    (_, i) => at(4 + LIBRARIES.length + i),
  ) as [Address, Address, Address, Address, Address, Address, Address, Address, Address, Address]
  const p = params
  const keys = await pinnedKeys()

  const deploy = async (
    contract: string,
    expected: Address,
    abi: Abi,
    args: unknown[],
    value?: bigint,
  ): Promise<bigint> => {
    const data = encodeDeployData({ abi, bytecode: bytecodeOf(contract, libraries), args })
    const receipt = await transactor.send({
      data,
      action: `deploy ${contract}`,
      ...(value === undefined ? {} : { value }),
    })
    if (receipt.contractAddress?.toLowerCase() !== expected.toLowerCase()) {
      throw new SinterError('DEPLOY_NONCE', `${contract} did not land where its peers expect it`)
    }
    return receipt.blockNumber
  }
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
  // Sent in the order of their nonces, mined together.
  const blocks = await Promise.all([
    deploy('SinterToken', token, tokenAbi as Abi, [faucet ? drip : from, p.genesis, p.cap, emissions]),
    drand === null
      ? deploy('HeaderBeacon', beacon, beaconAbi as Abi, [BigInt(p.slotLength), BigInt(p.minDelay)])
      : deploy('DrandBeacon', beacon, drandBeaconAbi as Abi, drandArguments(drand, p)),
    deploy('NodeRegistry', registry, registryAbi as Abi, [
      token,
      escrow,
      batches,
      seats,
      BigInt(p.unbondingDelay),
      p.minStake,
    ]),
    deploy('Escrow', escrow, escrowAbi as Abi, [token, registry, batches, BigInt(p.closeWindow), stakeParams(p)]),
    ...LIBRARIES.map((library) => deploy(library, libraries[library]!, [], [])),
    deploy('Batches', batches, batchesAbi as Abi, [
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
    deploy('PriceIndex', prices, pricesAbi as Abi, [emissions, p.targetPpm, p.deltaBps, classPrices(p)]),
    deploy('Emissions', emissions, emissionsAbi as Abi, [
      token,
      registry,
      prices,
      batches,
      capacity,
      emissionParams(p),
    ]),
    deploy('Seats', seats, seatsAbi as Abi, [
      registry,
      batches,
      p.seatStake,
      BigInt(p.seatWindow),
      [canaries, referee, votes],
    ]),
    deploy('Canaries', canaries, canariesAbi as Abi, [
      token,
      registry,
      batches,
      seats,
      BigInt(p.canaryWindow),
      BigInt(p.canaryPeriod),
      p.canaryRewardBps,
    ]),
    deploy('Referee', referee, refereeAbi as Abi, [batches, beacon, seats, keys]),
    deploy('Strikes', strikes, strikesAbi as Abi, [batches, strikeParams(p)]),
    deploy('Votes', votes, votesAbi as Abi, [batches, seats, BigInt(p.commitWindow)]),
    deploy('Capacity', capacity, capacityAbi as Abi, [
      registry,
      beacon,
      strikes,
      emissions,
      pulseParams(p),
      capacityClasses(p).map(capacityClass),
    ]),
    ...(faucet
      ? [deploy('DevnetFaucet', drip, faucetAbi as Abi, [token, p.faucetTokens, p.faucetEther], faucetFund)]
      : []),
  ])
  transactor.close()
  return parseNetwork({
    name,
    chainId,
    deployBlock: Math.min(...blocks.map(Number)),
    contracts: {
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
    },
    params: { ...paramsToJson(params), ...(drand === null ? {} : drandToJson(drand)) },
    tileDraws,
    circuits,
  })
}

const drandArguments = ({ publicKey, genesis, period }: DrandNetwork, p: NetworkParams): unknown[] => [
  [0, 32, 64, 96].map((at) => bytesToBigint(publicKey.subarray(at, at + 32))),
  ...[genesis, period, p.slotLength, p.minDelay].map(BigInt),
]

/** Deploys a price feed with a fixed answer of 8 decimals, in the shape of Chainlink's, for development networks. */
export async function deployFeed(rpcUrl: string, key: Hex, description: string, answer: bigint): Promise<Address> {
  const client = openClient(rpcUrl)
  const transactor = openTransactor(client, await client.getChainId(), privateKeyToAccount(key))
  const args = [description, 8, answer] as const
  const data = encodeDeployData({ abi: feedAbi, bytecode: bytecodeOf('DevnetFeed'), args })
  const { contractAddress } = await transactor.send({ data, action: 'deploy DevnetFeed' })
  transactor.close()
  return contractAddress!
}

/** What no single contract can check. Throws `NETWORK_PARAMS`. */
function checkParams(p: NetworkParams): void {
  const longest = p.traceWindow + p.attestWindow + p.voteWindow + p.slashPending + p.abandonWindow + p.seatWindow
  if (p.unbondingDelay <= longest) {
    throw new SinterError('NETWORK_PARAMS', `unbondingDelay must exceed all windows of a batch together (${longest} s)`)
  }
  if (p.seatStake > p.minStake) {
    throw new SinterError(
      'NETWORK_PARAMS',
      'seatStake must be at most minStake: whoever is drawn has to be able to sit',
    )
  }
  if (p.canaryWindow <= longest) {
    throw new SinterError('NETWORK_PARAMS', `canaryWindow must exceed all windows of a batch together (${longest} s)`)
  }
  if (p.genesis + scheduleBound(p) > p.cap) {
    throw new SinterError('NETWORK_PARAMS', 'genesis and everything the schedule may mint must stay under the cap')
  }
  if (p.committeeSize > MAX_DRAWN) {
    throw new SinterError('NETWORK_PARAMS', `committeeSize is at most ${MAX_DRAWN}, what one draw takes`)
  }
  if (p.pulseReporters > MAX_DRAWN) {
    throw new SinterError('NETWORK_PARAMS', `pulseReporters is at most ${MAX_DRAWN}, what one draw takes`)
  }
  if (p.cap >= p.minStake << 20n) {
    throw new SinterError(
      'NETWORK_PARAMS',
      'cap must be below 2^20 times minStake: the tree of stakes counts no further',
    )
  }
}
