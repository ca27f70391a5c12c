import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { openChain } from '../../node/chain/chain.ts'
import type { LocalNode } from '../../node/devnet/localnet.ts'
import { unlockKeystore } from '../../node/identity/keystore.ts'
import { toHex } from '../../protocol/bytes.ts'
import { errorCode } from '../../protocol/errors.ts'
import type { World } from './world.ts'

/** With a provider's own key, offers the chain receipts of its session that no consumer acknowledged, and a range for the second time. */
export async function refusesForeignReceipts(world: World, { address, account }: LocalNode): Promise<void> {
  const { net } = world
  const password = readFileSync(join(net.folder, 'password'), 'utf8').trim()
  const identity = await unlockKeystore(join(account.folder, 'key.json'), password)
  const chain = await openChain({ network: net.network, rpcUrl: net.anvil.rpcUrl, key: toHex(identity.privateKey) })
  const own = world.chainEvents.flatMap((event) =>
    event.name === 'BatchAnchored' && event.args.provider === address ? [event.args.batchId] : [],
  )
  const session = world.chainEvents.flatMap((event) =>
    event.name === 'RangeAnchored' && own.includes(event.args.batchId) ? [event.args.session] : [],
  )[0]!
  const { anchored, cursor } = await chain.session(session)
  const receiptHash = `0x${'11'.repeat(32)}` as const
  const signature = `0x${'22'.repeat(64)}1b` as const
  const anchor = async (toSeq: bigint, cumulative: bigint) =>
    errorCode(
      await chain
        .anchorBatch(`0x${'33'.repeat(32)}`, [{ session, toSeq, cumulative, receiptHash, signature }])
        .catch((error: unknown) => error),
    )
  assert.is(await anchor(cursor + 1n, anchored + 1n), 'CHAIN_BadVoucher')
  assert.is(await anchor(cursor, anchored), 'CHAIN_RangeNotContiguous')
  chain.close()
}
