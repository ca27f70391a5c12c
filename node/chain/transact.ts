import { setTimeout as sleep } from 'node:timers/promises'
import { type Address, type Hex, keccak256, type PublicClient, type TransactionReceipt } from 'viem'
import type { PrivateKeyAccount } from 'viem/accounts'
import { SinterError } from '../../protocol/errors.ts'
import { chainError, describe } from './errors.ts'

/** A call to send; without `to` it creates a contract. `action` names it in errors. */
export type Call = { to?: Address; data: Hex; value?: bigint; action: string }

/** An account that can change the chain. */
export type Transactor = {
  address: Address
  /**
   * Sends a call and resolves with its receipt. Calls of one account are broadcast in the order they were made.
   * Throws a `CHAIN_…` error (see errors.ts); `CHAIN_RECEIPT` when sent but not mined in time.
   */
  send(call: Call): Promise<TransactionReceipt>
}

/** One lane per account in this process: two users of one key must not take the same nonce. */
type Lane = { tail: Promise<unknown>; nextNonce: number }
const lanes = new Map<string, Lane>()

const BROADCAST_ATTEMPTS = 6
const RECEIPT_TIMEOUT_MS = 120_000

export function openTransactor(client: PublicClient, chainId: number, account: PrivateKeyAccount): Transactor {
  const laneKey = `${chainId}:${client.transport.url}:${account.address}`
  const lane = lanes.get(laneKey) ?? { tail: Promise.resolve(), nextNonce: 0 }
  lanes.set(laneKey, lane)

  async function sign(call: Call): Promise<{ raw: Hex; nonce: number }> {
    const { to, data, value } = call
    const target = { ...(to === undefined ? {} : { to }), data, ...(value === undefined ? {} : { value }) }
    const [gas, fees, pending] = await Promise.all([
      client.estimateGas({ account: account.address, ...target }),
      client.estimateFeesPerGas(),
      client.getTransactionCount({ address: account.address, blockTag: 'pending' }),
    ])
    const nonce = Math.max(lane.nextNonce, pending)
    // The state may change between the estimate and the block: a third more.
    const raw = await account.signTransaction({
      type: 'eip1559',
      chainId,
      nonce,
      gas: (gas * 4n) / 3n,
      ...fees,
      ...target,
    })
    return { raw, nonce }
  }

  /** The same bytes again after a failure without an answer: the transaction can enter the chain only once. */
  async function broadcast(call: Call): Promise<Hex> {
    let signed = await sign(call)
    for (let attempt = 1; ; attempt++) {
      const hash = keccak256(signed.raw)
      try {
        await client.sendRawTransaction({ serializedTransaction: signed.raw })
        lane.nextNonce = signed.nonce + 1
        return hash
      } catch (error) {
        const text = describe(error)
        const isNonce = /nonce too low|nonce is too low|already known|already imported|replacement transaction/i.test(
          text,
        )
        if (isNonce && (await isKnown(hash))) {
          lane.nextNonce = signed.nonce + 1
          return hash
        }
        const fault = chainError(error, call.action)
        if (attempt === BROADCAST_ATTEMPTS || !(isNonce || fault.code === 'CHAIN_RPC')) throw fault
        await sleep(100 * 2 ** attempt)
        if (isNonce) {
          lane.nextNonce = 0
          signed = await sign(call)
        }
      }
    }
  }

  async function isKnown(hash: Hex): Promise<boolean> {
    return client.getTransaction({ hash }).then(
      () => true,
      () => false,
    )
  }

  return {
    address: account.address.toLowerCase() as Address,
    async send(call) {
      const turn = lane.tail.then(() => broadcast(call))
      lane.tail = turn.catch(() => undefined)
      const hash = await turn.catch((error: unknown) => {
        throw chainError(error, call.action)
      })
      const receipt = await client
        .waitForTransactionReceipt({ hash, timeout: RECEIPT_TIMEOUT_MS })
        .catch((cause: unknown) => {
          // It may have been dropped: whatever comes next takes the number that the chain expects, not one behind a gap.
          lane.nextNonce = 0
          throw new SinterError('CHAIN_RECEIPT', `${call.action}: sent but not mined in time`, {
            cause,
            detail: { hash },
          })
        })
      if (receipt.status === 'success') return receipt
      // The estimate passed but the block did not: ask again at that block for the reason.
      const { to, data } = call
      await client
        .call({ account: account.address, ...(to === undefined ? {} : { to }), data, blockNumber: receipt.blockNumber })
        .catch((error: unknown) => {
          throw chainError(error, call.action)
        })
      throw new SinterError('CHAIN_REVERT', `${call.action} was refused`, { detail: { hash } })
    },
  }
}
