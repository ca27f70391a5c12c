import type { Abi, Address } from 'viem'
import { bytesToBigint } from '../../protocol/bytes.ts'
import {
  batchesAbi,
  beaconAbi,
  drandBeaconAbi,
  escrowAbi,
  registryAbi,
  tokenAbi,
} from '../../protocol/contracts/abi.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { drandOf } from './beacon.ts'
import { openClient } from './client.ts'
import { chainError } from './errors.ts'
import { paramsFromJson } from './params.ts'

type Fact = [what: string, found: unknown, stated: unknown]

/**
 * Compares a network file with what its contracts say of themselves: their parameters, and that they know each other. Returns the
 * number of facts that agree. Throws `NETWORK_MISMATCH` naming the first that does not, `NETWORK_PARAMS`, `CHAIN_…`.
 */
export async function checkDeployment(network: NetworkFile, rpcUrl: string | readonly string[]): Promise<number> {
  const client = openClient(rpcUrl, 250, { chainId: network.chainId })
  const { token, registry, escrow, beacon, batches } = network.contracts
  const stated = paramsFromJson(network.params)
  const ask = (address: Address, abi: Abi, functionName: string): Promise<unknown> =>
    client.readContract({ address, abi, functionName }).catch((error: unknown) => {
      throw chainError(error, functionName)
    })
  const facts: Fact[] = []
  const compare = async (address: Address, abi: unknown, names: Record<string, unknown>, of: string): Promise<void> => {
    for (const [name, value] of Object.entries(names))
      facts.push([`${of}.${name}`, await ask(address, abi as Abi, name), value])
  }
  const { unbondingDelay, minStake, closeWindow, slotLength, minDelay, cap } = stated
  await compare(token, tokenAbi, { cap }, 'token')
  await compare(registry, registryAbi, { token, escrow, batches, unbondingDelay, minStake }, 'registry')
  await compare(escrow, escrowAbi, { token, registry, batches, closeWindow }, 'escrow')
  const drand = drandOf(network)
  if (drand === null) await compare(beacon, beaconAbi, { slotLength, minDelay }, 'beacon')
  else {
    const { genesis, period, publicKey } = drand
    const key = [0, 32, 64, 96].map((at) => bytesToBigint(publicKey.subarray(at, at + 32)))
    const facts = { genesis, period, roundsPerSlot: slotLength, minDelay, publicKey: key }
    await compare(beacon, drandBeaconAbi, facts, 'beacon')
  }
  await compare(batches, batchesAbi, { registry, escrow, beacon }, 'batches')
  const params = (await ask(batches, batchesAbi as Abi, 'params')) as Record<string, unknown>
  for (const [name, value] of Object.entries(params))
    facts.push([`batches.params.${name}`, value, stated[name as keyof typeof stated]])
  for (const [what, found, value] of facts)
    if (String(found).toLowerCase() !== String(value).toLowerCase())
      throw new SinterError('NETWORK_MISMATCH', `${what} is ${found} on chain, the network file says ${value}`)
  return facts.length
}
