import { type Abi, encodeAbiParameters, encodeFunctionData, type Hex, keccak256, type PublicClient } from 'viem'
import { concat, equalBytes, fromHex, toHex } from '../../protocol/bytes.ts'
import { attestationParts, chunkOf } from '../../protocol/claims.ts'
import { batchesAbi, refereeAbi, seatsAbi } from '../../protocol/contracts/abi.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { chainError } from './errors.ts'
import { partsInput } from './referee.ts'
import type { Done } from './steps.ts'
import type { Transactor } from './transact.ts'

/** What a provider does against a verdict, and what everybody can read of it. All throw `CHAIN_…` errors (see errors.ts). */
export type Appeals = {
  /** Base units that the next appeal of a batch lays down. */
  appealBond(batchId: Hex): Promise<bigint>
  /** Against a verdict `forged`: a larger committee, for a bond out of this account's escrow balance. */
  appeal(batchId: Hex): Promise<Done>
  /** Puts every chunk of an attestation on chain that is not there yet. `payload` is its canonical encoding. */
  postAttestation(batchId: Hex, payload: Uint8Array, networkId: Uint8Array): Promise<void>
  /** Voids a verdict that alleges silence, once the attestation was posted. */
  rebut(batchId: Hex): Promise<Done>
  posted(batchId: Hex): Promise<boolean>
  /** Bonds that lie there, oldest first. */
  appeals(batchId: Hex): Promise<{ appellant: Address; bond: bigint }[]>
  /** Voters of a batch's last verdict, and until when at least their seats answer for it (seconds); null when there is none. */
  verdictBench(
    batchId: Hex,
    batch: { attempt: number; anchorBlock: number },
  ): Promise<{ voters: Address[]; until: bigint } | null>
  /** The payload that was posted of a batch, from the chain's events; null while a chunk is missing. */
  postedAttestation(batchId: Hex, sinceBlock: number): Promise<Uint8Array | null>
}

export function openAppeals(client: PublicClient, network: NetworkFile, transactor: Transactor | null): Appeals {
  const batches = { address: network.contracts.batches, abi: batchesAbi } as const
  const seats = { address: network.contracts.seats, abi: seatsAbi } as const
  const referee = { address: network.contracts.referee, abi: refereeAbi } as const

  async function ask<T>(name: string, answer: Promise<T>): Promise<T> {
    return answer.catch((error: unknown) => {
      throw chainError(error, name)
    })
  }
  async function send(contract: { address: Hex; abi: Abi }, functionName: string, args: unknown[]): Promise<Done> {
    if (transactor === null) throw new SinterError('CHAIN_READ_ONLY', 'this chain was opened without a key')
    const data = encodeFunctionData({ abi: contract.abi, functionName, args })
    // Late, each of them costs a lock.
    const receipt = await transactor.send({ to: contract.address, data, action: functionName, urgent: true })
    return { tx: receipt.transactionHash, block: receipt.blockNumber, gasUsed: receipt.gasUsed }
  }
  const read = client.readContract
  const posted = (id: Hex): Promise<boolean> => ask('posted', read({ ...referee, functionName: 'posted', args: [id] }))

  return {
    appealBond: (id) => ask('appealBond', read({ ...batches, functionName: 'appealBond', args: [id] })),
    appeal: (id) => send(batches as never, 'appeal', [id]),
    async postAttestation(batchId, payload, networkId) {
      const attestation = attestationParts(payload, networkId)
      const { chunks } = attestation
      const parts = partsInput(attestation)
      for (let index = 0; index < chunks.count; index++) {
        const args = [batchId, BigInt(index)] as const
        if (await ask('chunkPosted', read({ ...referee, functionName: 'chunkPosted', args }))) continue
        const path = chunks.path(index).map(toHex)
        await send(referee as never, 'post', [batchId, parts, BigInt(index), toHex(chunkOf(payload, index)), path])
      }
    },
    rebut: (id) => send(batches as never, 'rebut', [id]),
    posted,
    async appeals(id) {
      const all = await ask('appeals', read({ ...batches, functionName: 'appealsOf', args: [id] }))
      return all.map(({ appellant, bond }) => ({ appellant: appellant.toLowerCase() as Address, bond }))
    },
    async verdictBench(id, { attempt, anchorBlock }) {
      // The first verdict's bench has the batch's id; a later one, on appeal or after a rebuttal, is named by its attempt.
      const later = keccak256(encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint8' }], [id, attempt]))
      const filter = { ...seats, eventName: 'SeatsTaken', fromBlock: BigInt(anchorBlock), strict: true } as const
      const events = await ask('verdictBench', client.getContractEvents({ ...filter, args: { bench: [later, id] } }))
      const last = events.at(-1)
      if (last === undefined) return null
      const { voters, until } = last.args
      return { voters: voters.map((each) => each.toLowerCase() as Address), until }
    },
    async postedAttestation(batchId, sinceBlock) {
      if (!(await posted(batchId))) return null
      const logs = await ask(
        'postedAttestation',
        client.getContractEvents({
          ...referee,
          eventName: 'ChunkPosted',
          args: { batchId },
          fromBlock: BigInt(sinceBlock),
          strict: true,
        }),
      )
      const sorted = logs.map(({ args }) => args).sort((a, b) => Number(a.index - b.index))
      return concat(...sorted.map(({ chunk }) => fromHex(chunk)))
    },
  }
}

/** Whether the parts of a payload are those of the digest that was committed. */
export const isCommitted = (payload: Uint8Array, networkId: Uint8Array, digest: Hex): boolean =>
  equalBytes(attestationParts(payload, networkId).digest, fromHex(digest))
