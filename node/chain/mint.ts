import { encodeFunctionData, type Hex, type PublicClient } from 'viem'
import { emissionsAbi } from '../../protocol/contracts/abi.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { chainError } from './errors.ts'
import type { Done } from './steps.ts'
import type { Transactor } from './transact.ts'

/** What a node is minted for work and capacity (economics.md). All throw `CHAIN_…` errors (see errors.ts). */
export type Mints = {
  /** Base units that `claimMint` would bring the operator's payout address now, and the gas it would take; null when there are none. */
  claimable(operator: Address): Promise<{ amount: bigint; gas: bigint } | null>
  /** Mints them. Throws `CHAIN_NothingToClaim` when somebody else has done so. */
  claimMint(operator: Address): Promise<Done>
  /** Base units that were minted for the operator so far; null where the endpoint does not look back so far. */
  minted(operator: Address): Promise<bigint | null>
}

export function openMints(client: PublicClient, network: NetworkFile, transactor: Transactor | null): Mints {
  const emissions = { address: network.contracts.emissions, abi: emissionsAbi } as const

  return {
    async claimable(operator) {
      // The call itself ends epochs that are over, and so knows more than `creditOf`.
      const call = { ...emissions, functionName: 'claim', args: [operator] } as const
      const account = transactor?.address ?? operator
      try {
        const { result: amount } = await client.simulateContract({ ...call, account })
        return { amount, gas: await client.estimateContractGas({ ...call, account }) }
      } catch (error) {
        const known = chainError(error, 'claim')
        if (errorCode(known) === 'CHAIN_NothingToClaim') return null
        throw known
      }
    },
    async claimMint(operator) {
      if (transactor === null) throw new SinterError('CHAIN_READ_ONLY', 'this chain was opened without a key')
      const data = encodeFunctionData({ abi: emissionsAbi, functionName: 'claim', args: [operator as Hex] })
      const receipt = await transactor.send({ to: emissions.address, data, action: 'claim' })
      return { tx: receipt.transactionHash, block: receipt.blockNumber, gasUsed: receipt.gasUsed }
    },
    async minted(operator) {
      const fromBlock = BigInt(network.deployBlock)
      const events = await client
        .getContractEvents({ ...emissions, eventName: 'Claimed', args: { operator }, fromBlock, strict: true })
        .catch(() => null)
      return events?.reduce((sum, { args }) => sum + args.amount, 0n) ?? null
    },
  }
}
