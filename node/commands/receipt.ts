import { join } from 'node:path'
import { toHex } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { openChain } from '../chain/chain.ts'
import { parseReceiptId, type ReceiptBook } from '../client/receipts.ts'
import { openMemory } from '../client/stored-memory.ts'
import { sleep } from '../timers.ts'
import { formatAmount, type JoinOptions } from './joined.ts'
import { createLog, openIdentity, parseRpc, readNetworkFile } from './options.ts'

export type ReceiptOptions = JoinOptions & { json: boolean; logLevel: string }

/** A receipt in the words of one line. Throws `RECEIPT_UNKNOWN`. */
export function describeReceipt(book: ReceiptBook, id: string): { facts: object; line: string } {
  const parts = parseReceiptId(id)
  const terms = parts === null ? null : book.find(parts.session, parts.seq)
  if (parts === null || terms === null)
    throw new SinterError(
      'RECEIPT_UNKNOWN',
      `no receipt ${id.slice(0, 100)} of this account is known in this data folder`,
    )
  const status = book.status(parts.session, parts.seq)
  const batch = status.batch === null ? 'in no batch yet' : `batch ${status.batch.id} is ${status.batch.status}`
  const signed = status.acknowledged ? 'signed by both' : 'not acknowledged'
  const { provider } = terms
  const price = formatAmount(terms.price)
  return {
    facts: { id, provider, price, ...status },
    line: `${id}: ${status.state}, ${signed}, ${batch}; ${price} SNTR to ${provider}`,
  }
}

/** Where receipts stand that this account got earlier, with what the chain has said since. Joins no network. */
export async function receipt(ids: string[], options: ReceiptOptions): Promise<void> {
  const { address, privateKey } = await openIdentity(options)
  const log = createLog(options.logLevel, 'stderr')
  const network = readNetworkFile(options.network)
  const chain = await openChain({ network, rpcUrl: parseRpc(options.rpc), key: toHex(privateKey) })
  try {
    const memory = await openMemory(join(options.data, 'consumer'), address, Date.now).catch((error: unknown) => {
      if (errorCode(error) !== 'STORE_LOCKED') throw error
      throw new SinterError(
        'STORE_LOCKED',
        'a client or gateway runs with this data folder: ask it (GET /v2/receipts/ID)',
      )
    })
    try {
      const { block } = await chain.head()
      let failure: unknown = null
      const watcher = chain.watchBatches((event) => memory.receipts.apply(event), {
        from: memory.cursor() ?? { next: block + 1n, marks: [] },
        onCursor: memory.reached,
        onError: (error) => {
          failure = error
          log.warn({ event: 'receipts.watch', code: errorCode(error) }, 'the chain did not answer')
        },
      })
      try {
        for (let tries = 0; watcher.cursor() <= block; tries++) {
          if (failure !== null && tries > 40) throw failure
          await sleep(250)
        }
      } finally {
        await watcher.stop()
      }
      for (const id of ids) {
        const { facts, line } = describeReceipt(memory.receipts, id)
        console.log(options.json ? JSON.stringify({ event: 'receipt', ...facts }) : line)
      }
    } finally {
      await memory.close()
    }
  } finally {
    chain.close()
  }
}
