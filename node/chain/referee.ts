import { encodeFunctionData, type Hex, type PublicClient } from 'viem'
import { readVerifyingKey } from '../../circuits/artifacts.ts'
import { toHex } from '../../protocol/bytes.ts'
import { type AttestationParts, attestationParts, CIRCUIT_NUMBERS, type Claim } from '../../protocol/claims.ts'
import { refereeAbi } from '../../protocol/contracts/abi.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Refutation } from '../attestation/refutation.ts'
import { chainError } from './errors.ts'
import { keyWords } from './keys.ts'
import type { Done } from './steps.ts'
import type { Transactor } from './transact.ts'

/** What the chain decides of an attestation without a committee (settlement.md §5.7). All throw `CHAIN_…` errors (see errors.ts). */
export type Referee = {
  /** Whether somebody has shown that a claim of the batch's attestation does not hold. */
  refuted(batchId: Hex): Promise<boolean>
  /**
   * Shows that a claim of an attestation does not hold. Throws `CHAIN_NoFault` where it does, `CHAIN_FaultProvenBefore`. `payload` is the
   * attestation's canonical encoding.
   * @param urgent the batch can still be slashed for it. @default false
   */
  refute(
    batchId: Hex,
    payload: Uint8Array,
    networkId: Uint8Array,
    refutation: Refutation,
    urgent?: boolean,
  ): Promise<Done>
  /** Burns seats of the voters who paid a refuted batch, 48 a call; `CHAIN_NothingLeft` when all are gone. */
  unseat(batchId: Hex, voters: Address[]): Promise<Done>
}

/** The parts of an attestation's digest as contracts take them. */
export const partsInput = ({ length, chunks, claims, tree }: AttestationParts) => ({
  length,
  chunks: toHex(chunks.root),
  claimCount: claims.length,
  claims: toHex(tree.root),
})

/** The call that refutes a claim: its name, and what stands behind batch, parts and leaf. */
async function callOf(claim: Claim, refutation: Refutation) {
  switch (claim.kind) {
    case 'place':
      return { functionName: 'provePlace', rest: [hexed(claim)] } as const
    case 'trace':
      return { functionName: 'proveTrace', rest: [hexed(claim)] } as const
    case 'proof': {
      if (refutation.fault !== 'proof') throw new SinterError('REFUTATION', 'a proof is refuted by its signals')
      const { kind, signals } = refutation
      const key = keyWords(await readVerifyingKey(kind))
      return { functionName: 'proveProof', rest: [hexed(claim), CIRCUIT_NUMBERS[kind], signals, key] } as const
    }
  }
}

const hexed = <C extends Claim>(claim: C) =>
  Object.fromEntries(
    Object.entries(claim).map(([name, value]) => [name, value instanceof Uint8Array ? toHex(value) : value]),
  )

export function openReferee(client: PublicClient, network: NetworkFile, transactor: Transactor | null): Referee {
  const referee = { address: network.contracts.referee, abi: refereeAbi } as const

  async function send(functionName: string, args: unknown[], urgent: boolean): Promise<Done> {
    if (transactor === null) throw new SinterError('CHAIN_READ_ONLY', 'this chain was opened without a key')
    const data = encodeFunctionData({ abi: refereeAbi, functionName, args } as never)
    const receipt = await transactor.send({ to: referee.address, data, action: functionName, urgent })
    return { tx: receipt.transactionHash, block: receipt.blockNumber, gasUsed: receipt.gasUsed }
  }

  return {
    async refuted(batchId) {
      const fault = client.readContract({ ...referee, functionName: 'faultOf', args: [batchId] })
      return fault.then(
        (found) => found !== 0,
        (error: unknown) => {
          throw chainError(error, 'faultOf')
        },
      )
    },
    async refute(batchId, payload, networkId, refutation, urgent = false) {
      const parts = attestationParts(payload, networkId)
      const index = refutation.claim
      const { functionName, rest } = await callOf(parts.claims[index]!, refutation)
      const leaf = { index: BigInt(index), path: parts.tree.path(index).map(toHex) }
      return send(functionName, [batchId, partsInput(parts), leaf, ...rest], urgent)
    },
    unseat: (batchId, voters) => send('unseat', [batchId, voters], false),
  }
}
