import { type Abi, encodeFunctionData, type Hex, type PublicClient } from 'viem'
import { canariesAbi, tokenAbi } from '../../protocol/contracts/abi.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { chainError } from './errors.ts'
import type { Done } from './steps.ts'
import type { Transactor } from './transact.ts'

/** What is buried of a maker: `seal` is zero where nothing is. Times in seconds. */
export type Buried = { seal: Hex; bond: bigint; buriedBlock: number; revealBy: bigint; nextAt: bigint }

/** Batches that are known to be forged (settlement.md §5.5). All throw `CHAIN_…` errors (see errors.ts). */
export type Canaries = {
  canaryOf(maker: Address): Promise<Buried>
  /** Trace root of a canary, and what is buried of it. `salt`: 32 bytes. */
  canary(batchId: Hex, salt: Hex): Promise<{ trap: Hex; seal: Hex }>
  /** Approves what is missing, then buries; the bond comes back at the reveal. */
  buryCanary(seal: Hex, bond: bigint): Promise<Done>
  /** @param consents one for each range, by its consumer; needed where the batch was paid. */
  revealCanary(batchId: Hex, salt: Hex, voters: Address[], consents: Hex[]): Promise<Done>
  /** The next 48 seats of a bench that paid a revealed canary. Throws `CHAIN_NothingLeft`. */
  takeRest(batchId: Hex, voters: Address[]): Promise<Done>
  /** Burns the bond of a canary that was not revealed in time, after which its maker may bury again. */
  forfeitCanary(maker: Address): Promise<Done>
}

export function openCanaries(client: PublicClient, network: NetworkFile, transactor: Transactor | null): Canaries {
  const { token, canaries: address } = network.contracts
  const canaries = { address, abi: canariesAbi } as const

  async function ask<T>(name: string, answer: Promise<T>): Promise<T> {
    return answer.catch((error: unknown) => {
      throw chainError(error, name)
    })
  }
  async function send(to: Address, abi: Abi, functionName: string, args: unknown[], urgent = false): Promise<Done> {
    const data = encodeFunctionData({ abi, functionName, args })
    const receipt = await writer().send({ to, data, action: functionName, urgent })
    return { tx: receipt.transactionHash, block: receipt.blockNumber, gasUsed: receipt.gasUsed }
  }
  function writer(): Transactor {
    if (transactor === null) throw new SinterError('CHAIN_READ_ONLY', 'this chain was opened without a key')
    return transactor
  }

  return {
    async canaryOf(maker) {
      const found = client.readContract({ ...canaries, functionName: 'canaryOf', args: [maker] })
      return ask('canaryOf', found)
    },
    async canary(batchId, salt) {
      const args = [batchId, salt] as const
      const [trap, seal] = await Promise.all([
        ask('trapOf', client.readContract({ ...canaries, functionName: 'trapOf', args })),
        ask('sealOf', client.readContract({ ...canaries, functionName: 'sealOf', args })),
      ])
      return { trap, seal }
    },
    async buryCanary(seal, bond) {
      const args = [writer().address, address] as const
      const allowed = client.readContract({ address: token, abi: tokenAbi, functionName: 'allowance', args })
      if ((await ask('allowance', allowed)) < bond) await send(token, tokenAbi as Abi, 'approve', [address, bond])
      return send(address, canariesAbi as Abi, 'bury', [seal, bond])
    },
    revealCanary: (batchId, salt, voters, consents) =>
      // Late, it costs the bond.
      send(address, canariesAbi as Abi, 'reveal', [batchId, salt, voters, consents], true),
    takeRest: (batchId, voters) => send(address, canariesAbi as Abi, 'takeRest', [batchId, voters]),
    forfeitCanary: (maker) => send(address, canariesAbi as Abi, 'forfeit', [maker]),
  }
}
