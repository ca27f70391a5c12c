import {
  type Abi,
  type AbiParameter,
  type Address,
  decodeAbiParameters,
  getContractAddress,
  type Hex,
  type PublicClient,
} from 'viem'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { drandOf } from './beacon.ts'
import { openClient } from './client.ts'
import { type Creation, creationsOf } from './creations.ts'
import { chainError } from './errors.ts'
import { paramsFromJson } from './params.ts'

/** Blocks from a network's first within which all of it was created. */
const DEPLOY_BLOCKS = 1_000

type Fact = [what: string, found: unknown, stated: unknown]
type Sent = { from: Address; nonce: number; input: Hex }

/**
 * Compares a network file with the transactions that created its contracts: each has the code of this software and the arguments that the
 * file's parameters give, and no others, so there is no judge, minter or owner besides. Returns the number of facts that agree. Throws
 * `NETWORK_MISMATCH` naming the first that does not, `NETWORK_PARAMS`, `CHAIN_…`.
 */
export async function checkDeployment(network: NetworkFile, rpcUrl: string | readonly string[]): Promise<number> {
  const params = paramsFromJson(network.params)
  const drand = drandOf(network)
  const client = openClient(rpcUrl, 250, { chainId: network.chainId })
  const sent = await creationsSince(network, client).catch((error: unknown) => {
    throw chainError(error, 'getBlock')
  })
  const token = sent.get(network.contracts.token)
  if (token === undefined) throw missing('token', network)
  const { from, nonce: first } = token
  const faucet = network.contracts.faucet !== undefined
  const { creations, contracts } = await creationsOf({ from, first, params, faucet, drand })
  const facts: Fact[] = Object.entries(contracts).map(([name, address]) => [
    name,
    address,
    network.contracts[name as keyof typeof contracts],
  ])
  for (const creation of creations) {
    const found = sent.get(creation.address)
    if (found === undefined) throw missing(creation.contract, network)
    facts.push(...factsOf(creation, found.input))
  }
  for (const [what, found, stated] of facts)
    if (found !== stated)
      throw new SinterError('NETWORK_MISMATCH', `${what} is ${found} on chain, the network file says ${stated}`)
  return facts.length
}

const missing = (contract: string, { deployBlock }: NetworkFile): SinterError =>
  new SinterError(
    'NETWORK_MISMATCH',
    `${contract} was not created in the ${DEPLOY_BLOCKS} blocks from ${deployBlock} on`,
  )

/** Every contract that an account has created since the network's first block, until all of the network's are there. */
async function creationsSince(network: NetworkFile, client: PublicClient): Promise<Map<string, Sent>> {
  const sent = new Map<string, Sent>()
  const wanted = new Set(Object.values(network.contracts))
  const head = Number(await client.getBlockNumber())
  const end = Math.min(head + 1, network.deployBlock + DEPLOY_BLOCKS)
  for (let number = network.deployBlock; wanted.size > 0 && number < end; number++) {
    const { transactions } = await client.getBlock({ blockNumber: BigInt(number), includeTransactions: true })
    for (const { from, nonce, input, to, hash } of transactions) {
      if (to !== null || (await client.getTransactionReceipt({ hash })).status !== 'success') continue
      const address = getContractAddress({ from, nonce: BigInt(nonce) }).toLowerCase() as Address
      sent.set(address, { from, nonce, input })
      wanted.delete(address)
    }
  }
  return sent
}

/** What creates a contract, part by part: its code, then each argument. */
function factsOf({ contract, abi, bytecode, args }: Creation, input: Hex): Fact[] {
  if (!input.startsWith(bytecode)) return [[`the code of ${contract}`, 'another', 'that of this version']]
  const inputs = constructorOf(abi)
  const rest: Hex = `0x${input.slice(bytecode.length)}`
  let found: readonly unknown[]
  try {
    found = inputs.length === 0 ? [] : decodeAbiParameters(inputs, rest)
  } catch {
    return [[`${contract}'s arguments`, rest, 'others']]
  }
  const parts = inputs.flatMap((each, i) => partsOf(`${contract}.${each.name}`, each, found[i], args[i]))
  return [[`the code of ${contract}`, 'known', 'known'], ...parts]
}

const constructorOf = (abi: Abi): readonly AbiParameter[] =>
  abi.flatMap((item) => (item.type === 'constructor' ? item.inputs : []))

function partsOf(path: string, type: AbiParameter, found: unknown, stated: unknown): Fact[] {
  if (Array.isArray(found)) {
    const list = stated as unknown[]
    const each: AbiParameter = { ...type, type: type.type.replace(/\[\d*\]$/, '') }
    const parts = found.flatMap((value, i) => (i < list.length ? partsOf(`${path}[${i}]`, each, value, list[i]) : []))
    return [[`${path}.length`, found.length, list.length], ...parts]
  }
  if ('components' in type)
    return type.components.flatMap((field) =>
      partsOf(`${path}.${field.name}`, field, fieldOf(found, field), fieldOf(stated, field)),
    )
  return [[path, String(found).toLowerCase(), String(stated).toLowerCase()]]
}

const fieldOf = (tuple: unknown, { name }: AbiParameter): unknown => (tuple as Record<string, unknown>)[name!]
