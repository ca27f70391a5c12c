import { existsSync, writeFileSync } from 'node:fs'
import { toHex } from '../../protocol/bytes.ts'
import { type DrandNetwork, EVMNET } from '../../protocol/drand.ts'
import { SinterError } from '../../protocol/errors.ts'
import { networkId, networkTag } from '../../protocol/network.ts'
import { drandOf } from '../chain/beacon.ts'
import { checkDeployment } from '../chain/check.ts'
import { deployNetwork } from '../chain/deploy.ts'
import {
  devnetParams,
  firstDrandParams,
  firstParams,
  type NetworkParams,
  paramsFromJson,
  paramsToJson,
} from '../chain/params.ts'
import { checkCircuits, installedCircuits } from '../circuits.ts'
import { type JoinOptions, openIdentity, parseCount, parseRpc, readInput, readNetworkFile } from './options.ts'

export type DeployCommand = Pick<JoinOptions, 'rpc' | 'data' | 'passwordFile' | 'devnet'> & {
  name: string
  params?: string
  tiles: string
  out: string
  faucet: boolean
  drand?: string
}

type Say = (line: string) => void
const print: Say = (line) => console.log(line)

/**
 * Parameters from a JSON file that names those that differ from the first values (on a devnet, from the devnet's), which are other numbers
 * for another beacon. Throws `NETWORK_PARAMS` when a name is unknown or a value malformed.
 */
export function readParams(
  file: string | undefined,
  devnet: boolean,
  drand: Pick<DrandNetwork, 'period'> | null = null,
): NetworkParams {
  const first = drand === null ? firstParams : firstDrandParams(drand.period)
  const base = paramsToJson(devnet ? devnetParams : first)
  if (file === undefined) return paramsFromJson(base)
  let changes: unknown
  try {
    changes = JSON.parse(new TextDecoder().decode(readInput(file)))
  } catch (cause) {
    if (cause instanceof SinterError) throw cause
    throw new SinterError('NETWORK_PARAMS', `${file} is not JSON`, { cause })
  }
  if (typeof changes !== 'object' || changes === null || Array.isArray(changes))
    throw new SinterError('NETWORK_PARAMS', `${file} is not an object of parameters`)
  const unknown = Object.keys(changes).find((name) => !(name in base))
  if (unknown !== undefined) throw new SinterError('NETWORK_PARAMS', `there is no parameter ${unknown}`)
  return paramsFromJson({ ...base, ...(changes as typeof base) })
}

/** `evmnet`, or a JSON file with `publicKey` (hex), `genesis` and `period` (seconds). Throws `NETWORK_PARAMS`. */
export function readDrand(text: string | undefined): DrandNetwork | null {
  if (text === undefined) return null
  if (text === 'evmnet') return EVMNET
  let json: Record<string, string | number>
  try {
    json = JSON.parse(new TextDecoder().decode(readInput(text))) as typeof json
  } catch (cause) {
    if (cause instanceof SinterError) throw cause
    throw new SinterError('NETWORK_PARAMS', `${text} is not JSON`, { cause })
  }
  const drandKey = `0x${String(json?.publicKey ?? '').replace(/^0x/, '')}`
  return drandOf({ params: { drandKey, drandGenesis: json?.genesis ?? 0, drandPeriod: json?.period ?? 0 } })
}

/**
 * Puts all contracts on a chain, with the key of a data folder paying, and writes the network file. Nobody owns what was deployed, and
 * nothing of it can be changed. A file that exists is not overwritten. Throws `FILE_EXISTS`, `NETWORK_…`, `CHAIN_…`.
 */
export async function chainDeploy(options: DeployCommand, say = print): Promise<void> {
  if (existsSync(options.out)) throw new SinterError('FILE_EXISTS', `${options.out} exists: choose another --out`)
  const rpcUrl = parseRpc(options.rpc)
  const drand = readDrand(options.drand)
  const params = readParams(options.params, options.devnet, drand)
  const identity = await openIdentity(options)
  say(`deploying network ${options.name}; ${identity.address} pays the gas and holds the genesis tokens`)
  const network = await deployNetwork({
    rpcUrl,
    key: toHex(identity.privateKey),
    name: options.name,
    params,
    tileDraws: parseCount(options.tiles),
    circuits: await installedCircuits(),
    faucet: options.faucet,
    drand,
  })
  writeFileSync(options.out, `${JSON.stringify(network, null, 2)}\n`, { flag: 'wx' })
  for (const [name, address] of Object.entries(network.contracts)) say(`${name.padEnd(9)} ${address}`)
  say(`${await checkDeployment(network, rpcUrl)} facts on chain agree with ${options.out}`)
  say(`network ${networkTag(network)}, id ${toHex(networkId(network))}: nodes that have this file meet, others do not`)
}

/** Says whether a network file is true of its chain, and whether this installation has its circuits' keys. */
export async function chainCheck(options: { network: string; rpc: string[] }, say = print): Promise<void> {
  const network = readNetworkFile(options.network)
  say(`${await checkDeployment(network, parseRpc(options.rpc))} facts on chain agree with ${options.network}`)
  await checkCircuits(network)
  say('the circuits’ keys are those of this installation')
  say(`network ${networkTag(network)}, id ${toHex(networkId(network))}`)
}
