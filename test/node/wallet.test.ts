/** Accounts that pay without being the client's key, on a real chain: a contract wallet by ERC-1271; and deposits by permit. */

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Abi } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { openChain } from '../../node/chain/chain.ts'
import { openingToSign, type Payer } from '../../node/chain/opening.ts'
import { createPayment } from '../../node/client/payment.ts'
import { createPurse, reclaimSessions, releaseSession } from '../../node/client/reserves.ts'
import { escrowAbi, tokenAbi } from '../../protocol/contracts/abi.ts'
import { type ContractWallet, deployWallet } from '../contracts/wallet.ts'
import {
  type Actor,
  anchored,
  code,
  committed,
  fastAnvil,
  generatePrivateKey,
  openWorld,
  type World,
} from './chain-world.ts'

const SNTR = 10n ** 18n
const ownerKey = generatePrivateKey()
const owner = privateKeyToAccount(ownerKey)
let world: World
let wallet: ContractWallet
/** The client's key: it signs vouchers and pays gas, and has no more tokens than it came with. */
let client: Actor

test.before(async () => {
  world = await openWorld(
    undefined,
    { traceWindow: 600, voteWindow: 600, unbondingDelay: 10_000, canaryWindow: 10_000 },
    () => fastAnvil(200),
  )
  const { network, anvil, funder, consumer } = world
  await funder.drip(owner.address)
  wallet = await deployWallet(anvil.rpcUrl, network.chainId, ownerKey)
  await consumer.chain.transferTokens(wallet.address, 50n * SNTR)
  const key = generatePrivateKey()
  client = { key, chain: await openChain({ network, rpcUrl: anvil.rpcUrl, key }) }
  await funder.drip(client.chain.address!)
})
test.after(() => world?.anvil.stop())

const payer = (): Payer => ({ address: wallet.address, sign: (opening) => owner.signTypedData(opening) })
const onWallet = (to: `0x${string}`, abi: unknown, name: string, ...args: unknown[]) =>
  wallet.call(to, abi as Abi, name, args)

test('a contract wallet deposits, consents to a session by ERC-1271, pays by its client’s vouchers and withdraws the rest', async () => {
  const { token, escrow } = world.network.contracts
  const provider = world.provider.chain.address!
  const { chain } = client
  await onWallet(token, tokenAbi, 'approve', escrow, 50n * SNTR)
  await onWallet(escrow, escrowAbi, 'deposit', 50n * SNTR)
  const before = await chain.tokensOf(chain.address!)
  const payment = createPayment(chain, createPurse(chain), payer())
  assert.is(payment.account, wallet.address)
  // Two at once: each consent is for the wallet's next session.
  const [id, other] = await Promise.all([
    payment.open(provider, 20n * SNTR, 3_600),
    payment.open(provider, SNTR, 3_600),
  ])
  const session = await chain.session(id)
  assert.equal([session.consumer, session.signer, session.ceiling], [wallet.address, chain.address, 20n * SNTR])
  assert.is(await chain.balanceOf(wallet.address), 29n * SNTR)
  assert.is(await chain.tokensOf(chain.address!), before)

  // Once it is open, the wallet can say what it likes of its signatures.
  await wallet.fallSilent()
  const paid = { ...world, session: id, consumer: client }
  const { batchId } = await anchored(paid, [3n, 5n])
  const { sampleSlot, total } = await chain.batch(batchId)
  await world.provider.chain.awaitSlot(sampleSlot)
  await world.provider.chain.settle(batchId, await committed(paid, batchId, '01010101'), [])
  await world.nodes[1]!.chain.collect(batchId, 0)
  const { providerPart } = await chain.batch(batchId)
  assert.is(await chain.balanceOf(world.payouts[0]!), providerPart)
  assert.ok(providerPart > (total * 9n) / 10n)
  assert.is(await code(payment.open(provider, SNTR, 3_600)), 'CHAIN_BadOpening')

  // The client's key ends what it does not need; what comes back is the wallet's.
  for (const each of [id, other]) await releaseSession(chain, each)
  await world.anvil.skip(world.params.closeWindow + 1)
  const left = 21n * SNTR - total
  assert.is(await reclaimSessions(chain, wallet.address), left)
  assert.is(await chain.balanceOf(wallet.address), 29n * SNTR + left)
  await onWallet(escrow, escrowAbi, 'withdraw', 29n * SNTR + left)
  assert.is(await chain.tokensOf(wallet.address), 50n * SNTR - total)
})

test('a session that somebody else has opened with the consent is the same session; one that cannot be paid is not asked for', async () => {
  const { chain } = client
  const provider = world.provider.chain.address!
  const account = privateKeyToAccount(generatePrivateKey())
  let asked = 0
  const absent: Payer = {
    address: account.address,
    async sign(opening) {
      asked++
      const signature = await account.signTypedData(opening)
      // Seen on its way, and sent by somebody else.
      const { session } = await world.funder.openSessionFor(opening.message, signature)
      assert.is((await chain.session(session)).consumer, account.address.toLowerCase())
      return signature
    },
  }
  const payment = createPayment(chain, createPurse(chain), absent)
  assert.is(await code(payment.open(provider, SNTR, 3_600)), 'BALANCE_TOO_LOW')
  assert.is(asked, 0)
  const { escrow, token } = world.network.contracts
  await world.consumer.chain.deposit(SNTR)
  await wallet.call(token, tokenAbi as Abi, 'approve', [escrow, SNTR])
  await wallet.call(escrow, escrowAbi as Abi, 'depositFor', [account.address, SNTR])
  const id = await payment.open(provider, SNTR, 3_600)
  assert.is((await chain.session(id)).signer, chain.address)
  assert.is(await chain.balanceOf(payment.account), 0n)
  // What was consented to once opens nothing again.
  const { timestamp } = await chain.head()
  const terms = { provider, ceiling: 1n, expiry: timestamp + 60n, signer: chain.address!, deadline: timestamp + 60n }
  const opening = { consumer: payment.account, nonce: 0n, ...terms }
  const signature = await account.signTypedData(openingToSign(world.network, opening))
  assert.is(await code(chain.openSessionFor(opening, signature)), 'CHAIN_BadNonce')
})

test('a deposit is one transaction by a permit, several at once too, and leaves no allowance', async () => {
  const { chain, key } = client
  const sent = async () => Number(await world.anvil.request('eth_getTransactionCount', [chain.address, 'latest']))
  const [balance, count] = [await chain.balanceOf(chain.address!), await sent()]
  await Promise.all([chain.deposit(SNTR), chain.deposit(2n * SNTR)])
  assert.is(await chain.balanceOf(chain.address!), balance + 3n * SNTR)
  assert.is(await sent(), count + 2)
  // A permit that somebody else has used is passed over, as long as the allowance is there.
  const second = await openChain({ network: world.network, rpcUrl: world.anvil.rpcUrl, key })
  await second.deposit(SNTR)
  second.close()
  assert.is(await chain.balanceOf(chain.address!), balance + 4n * SNTR)
  assert.is(await code(chain.deposit(10n ** 30n)), 'CHAIN_ERC20InsufficientBalance')
})

test.run()
