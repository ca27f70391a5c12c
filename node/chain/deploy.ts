import { type Address, encodeDeployData, type Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { feedAbi } from '../../protocol/contracts/abi.ts'
import type { DrandNetwork } from '../../protocol/drand.ts'
import { SinterError } from '../../protocol/errors.ts'
import { type NetworkFile, parseNetwork } from '../../protocol/network.ts'
import { drandToJson } from './beacon.ts'
import { openClient } from './client.ts'
import { bytecodeOf, creationsOf } from './creations.ts'
import { scheduleBound } from './economy.ts'
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
  const { creations, contracts } = await creationsOf({ from, first, params, faucet, drand })
  // Sent in the order of their nonces, mined together.
  const blocks = await Promise.all(
    creations.map(async ({ contract, address, abi, bytecode, args }) => {
      const receipt = await transactor.send({
        data: encodeDeployData({ abi, bytecode, args }),
        action: `deploy ${contract}`,
        ...(contract === 'DevnetFaucet' ? { value: faucetFund } : {}),
      })
      if (receipt.contractAddress?.toLowerCase() !== address.toLowerCase())
        throw new SinterError('DEPLOY_NONCE', `${contract} did not land where its peers expect it`)
      return receipt.blockNumber
    }),
  )
  transactor.close()
  return parseNetwork({
    name,
    chainId,
    deployBlock: Math.min(...blocks.map(Number)),
    contracts,
    params: { ...paramsToJson(params), ...(drand === null ? {} : drandToJson(drand)) },
    tileDraws,
    circuits,
  })
}

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
