import { type Address, encodeDeployData, encodeFunctionData, type Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { bytesToBigint, toHex } from '../../protocol/bytes.ts'
import { drandBeaconAbi } from '../../protocol/contracts/abi.ts'
import { type DrandNetwork, verifyRound } from '../../protocol/drand.ts'
import { SinterError } from '../../protocol/errors.ts'
import { openClient } from './client.ts'
import { bytecodeOf } from './creations.ts'
import { chainError } from './errors.ts'
import type { Done } from './steps.ts'
import { openTransactor } from './transact.ts'

/**
 * @param roundsPerSlot rounds from one slot to the next
 * @param minDelay seconds between an anchor and the round it names
 */
export type DrandBeaconParams = DrandNetwork & { roundsPerSlot: number; minDelay: number }

export type DrandBeacon = {
  address: Address
  /** First slot whose round is not out yet at the end of the newest block. */
  nextSlot(): Promise<bigint>
  roundOf(slot: bigint): Promise<bigint>
  /** null while it is not recorded. */
  value(slot: bigint): Promise<Hex | null>
  /** Throws `DRAND_SIGNATURE` before anything is sent when the signature is not the round's, `CHAIN_…`. null when it was recorded already. */
  record(slot: bigint, signature: Uint8Array): Promise<Done | null>
  close(): void
}

/** Deploys a drand beacon. Throws `CHAIN_BadBeaconParams` when the key is none. */
export async function deployDrandBeacon(rpcUrl: string, key: Hex, params: DrandBeaconParams): Promise<Address> {
  const client = openClient(rpcUrl)
  const transactor = openTransactor(client, await client.getChainId(), privateKeyToAccount(key))
  const word = (i: number): bigint => bytesToBigint(params.publicKey.subarray(32 * i, 32 * i + 32))
  const { genesis, period, roundsPerSlot, minDelay } = params
  const args = [
    [word(0), word(1), word(2), word(3)],
    BigInt(genesis),
    BigInt(period),
    BigInt(roundsPerSlot),
    BigInt(minDelay),
  ] as const
  try {
    const data = encodeDeployData({ abi: drandBeaconAbi, bytecode: bytecodeOf('DrandBeacon'), args })
    const { contractAddress } = await transactor.send({ data, action: 'deploy DrandBeacon' })
    return contractAddress!
  } finally {
    transactor.close()
  }
}

/** A deployed drand beacon and its network's key, with an account that pays for records. */
export async function openDrandBeacon(
  rpcUrl: string | readonly string[],
  key: Hex,
  address: Address,
  drand: Pick<DrandNetwork, 'publicKey'>,
): Promise<DrandBeacon> {
  const client = openClient(rpcUrl)
  const transactor = openTransactor(client, await client.getChainId(), privateKeyToAccount(key))
  const at = { address, abi: drandBeaconAbi } as const
  const ask = async <T>(answer: Promise<T>): Promise<T> =>
    answer.catch((error: unknown) => {
      throw chainError(error, 'drand beacon')
    })
  const value: DrandBeacon['value'] = async (slot) => {
    const since = await ask(client.readContract({ ...at, functionName: 'recordedAt', args: [slot] }))
    return since === 0n ? null : ask(client.readContract({ ...at, functionName: 'value', args: [slot] }))
  }
  const roundOf = (slot: bigint) => ask(client.readContract({ ...at, functionName: 'roundOf', args: [slot] }))
  return {
    address,
    roundOf,
    value,
    async nextSlot() {
      const blockNumber = await ask(client.getBlockNumber())
      return ask(client.readContract({ ...at, functionName: 'slotAfter', args: [blockNumber], blockNumber }))
    },
    async record(slot, signature) {
      if ((await value(slot)) !== null) return null
      const round = await roundOf(slot)
      if (!verifyRound(drand, round, signature))
        throw new SinterError('DRAND_SIGNATURE', `not the signature of round ${round}`)
      const data = encodeFunctionData({ ...at, functionName: 'recordWithSignature', args: [slot, toHex(signature)] })
      const receipt = await transactor.send({ to: address, data, action: 'recordWithSignature' })
      return { tx: receipt.transactionHash, block: receipt.blockNumber, gasUsed: receipt.gasUsed }
    },
    close: () => transactor.close(),
  }
}
