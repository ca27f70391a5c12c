/** A real chain that fails in every way a chain fails: no claim is lost, and nothing is paid twice. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Anvil, startAnvil } from '../../node/chain/anvil.ts'
import { type Chain, type ChainOptions, openChain } from '../../node/chain/chain.ts'
import { deployNetwork } from '../../node/chain/deploy.ts'
import type { LaneEvent } from '../../node/chain/lane.ts'
import { devnetParams } from '../../node/chain/params.ts'
import { storedJournal } from '../../node/chain/stored-journal.ts'
import type { EscrowEvent } from '../../node/chain/watch.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { type FaultyEndpoint, startProxy } from './chain-proxy.ts'
import { code, generatePrivateKey, type Hex } from './chain-world.ts'
import { memoryStore } from './session-world.ts'

const folder = mkdtempSync(join(tmpdir(), 'sinter-faults-'))
const none = '00'.repeat(32)
const circuits = { relation: none, pointwise: none, product: none, extremum: none }
/** What a test leaves to be closed. */
const left: (() => unknown)[] = []
let anvil: Anvil
let network: NetworkFile
let funder: Chain
let proxy: FaultyEndpoint
let proxyB: FaultyEndpoint

test.before(async () => {
  anvil = await startAnvil({ blockTime: 0 })
  const at = { rpcUrl: anvil.rpcUrl, key: anvil.key }
  network = await deployNetwork({ ...at, name: 'faults', params: devnetParams, tileDraws: 4, circuits, faucet: true })
  funder = await openChain({ network, ...at, pollMs: 20 })
  proxy = await startProxy(anvil.rpcUrl)
  proxyB = await startProxy(anvil.rpcUrl)
})
test.after(async () => {
  await Promise.all([proxy?.stop(), proxyB?.stop(), anvil?.stop()])
  rmSync(folder, { recursive: true, force: true })
})
test.after.each(async () => {
  for (const each of [proxy, proxyB]) {
    each.rule = () => 'pass'
    each.seen.length = 0
  }
  // Also after a failure, or what is left would look on for ever.
  for (const close of left.splice(0)) await close()
  await anvil.request('evm_setAutomine', [true])
})

type Opened = { chain: Chain; key: Hex; events: LaneEvent[]; nonce(): Promise<number> }

const nonceOf = async (address: Hex): Promise<number> =>
  Number((await anvil.request('eth_getTransactionCount', [address, 'latest'])) as Hex)

/** A funded account that has approved the escrow and holds one unit there, behind the proxy. */
async function open(options: Partial<ChainOptions> = {}): Promise<Opened> {
  const key = options.key ?? generatePrivateKey()
  const events: LaneEvent[] = []
  const chain = await openChain({
    network,
    rpcUrl: proxy.url,
    key,
    pollMs: 20,
    report: (event) => void events.push(event),
    ...options,
  })
  left.push(() => chain.close())
  const nonce = () => nonceOf(chain.address!)
  if (options.key === undefined) {
    await funder.drip(chain.address!)
    await chain.deposit(1n)
  }
  return { chain, key, events, nonce }
}

const balance = (chain: Chain): Promise<bigint> => funder.balanceOf(chain.address!)
async function until(condition: () => Promise<boolean> | boolean, ms = 20_000): Promise<void> {
  for (const end = Date.now() + ms; !(await condition()); await sleep(20))
    if (Date.now() > end) throw new Error('did not happen in time')
}

test('without an endpoint nothing is signed; with a second one nothing is noticed', async () => {
  const { chain, nonce } = await open()
  proxy.rule = () => 'refuse'
  const before = await nonce()
  assert.is(await code(chain.deposit(10n)), 'CHAIN_RPC')
  proxy.rule = () => 'pass'
  await chain.deposit(10n)
  assert.equal([await balance(chain), await nonce()], [11n, before + 1])
  chain.close()

  const two = await open({ rpcUrl: [proxy.url, proxyB.url] })
  proxy.rule = () => 'refuse'
  await two.chain.deposit(10n)
  assert.is(await balance(two.chain), 11n)
  two.chain.close()
})

test('an endpoint that dies with the answer to a transaction does not make it two', async () => {
  for (const rpcUrl of [[proxy.url], [proxy.url, proxyB.url]]) {
    const { chain, nonce } = await open({ rpcUrl })
    const before = await nonce()
    let lost = 0
    proxy.rule = (method) => (method === 'eth_sendRawTransaction' && lost++ < 5 ? 'swallow' : 'pass')
    await chain.deposit(10n)
    assert.ok(lost > 0)
    assert.equal([await balance(chain), await nonce()], [11n, before + 1])
    proxy.rule = () => 'pass'
    chain.close()
  }
})

test('what one endpoint refuses is not taken as refused while another may have it', async () => {
  // The second one is of a chain that has the number and nothing else: it says that the account cannot pay.
  const other = await startAnvil({ blockTime: 0 })
  try {
    const { chain, nonce } = await open({ rpcUrl: [proxy.url, proxyB.url] })
    proxyB.target = other.rpcUrl
    const before = await nonce()
    let lost = 0
    proxy.rule = (method) => (method === 'eth_sendRawTransaction' && lost++ === 0 ? 'swallow' : 'pass')
    await chain.transferEther(funder.address!, 1n)
    assert.is(lost > 0, true)
    assert.is(await nonce(), before + 1)
    chain.close()
  } finally {
    proxyB.target = anvil.rpcUrl
    await other.stop()
  }
})

test('a signed transaction goes out when the endpoint is back', async () => {
  const { chain, events, nonce } = await open({ resendMs: 300 })
  const before = await nonce()
  let down = true
  proxy.rule = (method) => (method === 'eth_sendRawTransaction' && down ? 'refuse' : 'pass')
  const sent = chain.deposit(10n)
  await until(() => events.some(({ event }) => event === 'tx.delayed'))
  assert.is(await nonce(), before)
  down = false
  await sent
  assert.equal([await balance(chain), await nonce()], [11n, before + 1])
  chain.close()
})

test('an endpoint of another chain is never asked for anything', async () => {
  const other = await startAnvil({ blockTime: 0, chainId: 99 })
  try {
    proxyB.target = other.rpcUrl
    const { chain } = await open({ rpcUrl: [proxyB.url, proxy.url] })
    await chain.deposit(10n)
    assert.is(await balance(chain), 11n)
    assert.equal(new Set(proxyB.seen), new Set(['eth_chainId']))
    chain.close()
  } finally {
    proxyB.target = anvil.rpcUrl
    await other.stop()
  }
})

test('a fork of three blocks: deposits and claims come back by themselves, and watchers see what is', async () => {
  const { chain, events, nonce } = await open({ confirmations: 5 })
  const seen: { event: EscrowEvent['name']; block: bigint }[] = []
  const forks: bigint[] = []
  const watcher = funder.watchEscrow(
    (event) => {
      const { account } = event.args as { account?: Hex }
      if (account === chain.address) seen.push({ event: event.name, block: event.block })
    },
    { pollMs: 20, onFork: (from) => void forks.push(from) },
  )
  left.push(() => watcher.stop())
  const start = await nonce()
  const wallet = await funder.tokensOf(chain.address!)
  await chain.deposit(20n)
  await chain.withdraw(5n)
  const { block } = await funder.head()
  await until(() => watcher.cursor() > block)
  assert.equal(
    seen.map(({ event }) => event),
    ['Deposited', 'Deposited', 'Withdrawn'],
  )
  await anvil.request('anvil_reorg', [3, []])
  await until(async () => (await balance(chain)) === 16n && forks.length > 0)
  await until(() => seen.length >= 6)
  assert.equal(
    seen.slice(3).map(({ event }) => event),
    ['Deposited', 'Deposited', 'Withdrawn'],
  )
  assert.ok(seen[3]!.block >= forks[0]!)
  assert.ok(events.some(({ event }) => event === 'tx.resent'))
  assert.is(await nonce(), start + 2)
  assert.is(await funder.tokensOf(chain.address!), wallet - 15n)
  await anvil.mine(6)
  await sleep(100)
  assert.equal([await balance(chain), await nonce()], [16n, start + 2])
  await watcher.stop()
  chain.close()
})

test('an answer to a beacon that a fork undid does not come back', async () => {
  const { chain, events, nonce } = await open({ confirmations: 5 })
  const before = await nonce()
  // Of the calls of a batch only those are volatile; the contract refuses this one, so it goes straight to the lane.
  const { openTransactor } = await import('../../node/chain/transact.ts')
  const { openClient } = await import('../../node/chain/client.ts')
  const { privateKeyToAccount } = await import('viem/accounts')
  const { encodeFunctionData, erc20Abi } = await import('viem')
  const key = generatePrivateKey()
  const account = privateKeyToAccount(key)
  await funder.drip(account.address)
  const lane = openTransactor(openClient(proxy.url, 20), network.chainId, account, {
    confirmations: 5,
    report: (event) => void events.push(event),
  })
  left.push(() => lane.close())
  const held = await funder.tokensOf(account.address)
  const data = encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args: [chain.address!, 7n] })
  await lane.send({ to: network.contracts.token, data, action: 'answer', volatile: true })
  assert.is(await funder.tokensOf(account.address), held - 7n)
  await anvil.request('anvil_reorg', [1, []])
  await until(() => events.some(({ event }) => event === 'tx.cancelled'))
  await until(async () => (await nonceOf(account.address)) === 1)
  await anvil.mine(6)
  assert.is(await funder.tokensOf(account.address), held)
  assert.is(await nonce(), before)
  lane.close()
  chain.close()
})

test('a spike of the gas price: nothing is signed above the ceiling, what is stuck is replaced and mined once', async () => {
  const { chain, events, nonce } = await open({ maxFeePerGas: 10n ** 10n, urgentFactor: 100n, stuckMs: 400 })
  const before = await nonce()
  await anvil.request('evm_setAutomine', [false])
  await anvil.request('anvil_setNextBlockBaseFeePerGas', ['0x2540be401'])
  await anvil.request('evm_mine')
  assert.is(await code(chain.deposit(10n)), 'CHAIN_GAS_CEILING')
  await anvil.request('anvil_setNextBlockBaseFeePerGas', ['0x3b9aca00'])
  await anvil.request('evm_mine')
  const sent = chain.deposit(10n)
  await until(async () => ((await anvil.request('txpool_status')) as { pending: Hex }).pending === '0x1')
  await anvil.request('anvil_setNextBlockBaseFeePerGas', ['0xb2d05e00'])
  await anvil.request('evm_mine')
  assert.is(await nonce(), before)
  await until(() => events.some(({ event }) => event === 'tx.raised'))
  await anvil.request('anvil_setNextBlockBaseFeePerGas', ['0x3b9aca00'])
  await until(async () => {
    await anvil.request('evm_mine')
    return (await nonce()) > before
  })
  await sent
  await anvil.request('evm_mine')
  assert.equal([await balance(chain), await nonce()], [11n, before + 1])
  chain.close()
})

test('a transaction that the pool forgot is sent again, and one nonce that another sender took is noticed', async () => {
  const store = memoryStore()
  const { chain, key, nonce } = await open({ journal: storedJournal(store), resendMs: 300, missingMs: 300 })
  await anvil.request('evm_setAutomine', [false])
  const before = await nonce()
  const sent = chain.deposit(10n)
  await until(async () => ((await anvil.request('txpool_status')) as { pending: Hex }).pending === '0x1')
  await anvil.request('anvil_dropAllTransactions')
  await until(async () => ((await anvil.request('txpool_status')) as { pending: Hex }).pending === '0x1')
  // The same key elsewhere, without this one's journal.
  await anvil.request('anvil_dropAllTransactions')
  const elsewhere = await openChain({ network, rpcUrl: anvil.rpcUrl, key, pollMs: 20 })
  await anvil.request('evm_setAutomine', [true])
  await elsewhere.transferEther(funder.address!, 1n).catch(() => undefined)
  await sent
  assert.is(await balance(chain), 11n)
  assert.ok((await nonce()) <= before + 2)
  elsewhere.close()
  chain.close()
})

test('the clocks of chain and node may differ by a day', async () => {
  const { chain } = await open()
  await anvil.skip(86_400)
  await chain.deposit(10n)
  const { timestamp } = await chain.head()
  assert.ok(Number(timestamp) - Date.now() / 1000 > 80_000)
  const { session } = await chain.openSession(funder.address!, 5n, timestamp + 60n)
  const late = chain.awaitTime(timestamp + 60n).then(() => 'past')
  assert.is(await Promise.race([late, sleep(100, 'waiting')]), 'waiting')
  await anvil.skip(61)
  assert.is(await late, 'past')
  assert.is((await chain.session(session)).ceiling, 5n)
  assert.is(await code(chain.openSession(funder.address!, 1n, timestamp)), 'CHAIN_BadExpiry')
  chain.close()
})

/** Runs the node of chain-crash.ts; `kill` is called when its transaction is at the proxy. */
function child(key: Hex, target: bigint): { pid: number; done: Promise<string>; kill(): void } {
  const file = join(folder, 'network.json')
  writeFileSync(file, JSON.stringify(network))
  const script = join(import.meta.dirname, 'chain-crash.ts')
  const args = ['--no-warnings', script, file, proxy.url, join(folder, key.slice(2, 10)), key, String(target)]
  const process_ = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [process_.stdout, process_.stderr])
    stream.on('data', (chunk) => {
      output += chunk
    })
  const done = new Promise<string>((resolve) => process_.once('close', () => resolve(output.trim())))
  return { pid: process_.pid!, done, kill: () => void process_.kill('SIGKILL') }
}

/** Kills a node when its transaction is at the endpoint, and starts it again. Says how the second one ended. */
async function killed(key: Hex, target: bigint, fate: 'unsent' | 'mined' | 'pooled'): Promise<string> {
  await anvil.request('evm_setAutomine', [fate !== 'pooled'])
  const node = child(key, target)
  proxy.rule = (method) => {
    if (method !== 'eth_sendRawTransaction') return 'pass'
    node.kill()
    return fate === 'unsent' ? 'refuse' : 'swallow'
  }
  assert.is(await node.done, '')
  proxy.rule = () => 'pass'
  proxy.seen.length = 0
  const again = child(key, target)
  if (fate === 'pooled') {
    // The second one has looked at its balance long before the first one's transaction is mined.
    await until(
      () =>
        proxy.seen.filter((method) => method === 'eth_getTransactionReceipt' || method === 'eth_getTransactionCount')
          .length > 2,
    )
    await sleep(300)
    await anvil.request('evm_mine')
    await anvil.request('evm_setAutomine', [true])
  }
  const end = await again.done
  if (fate === 'unsent') assert.ok(proxy.seen.includes('eth_sendRawTransaction'))
  return end
}

for (const fate of ['unsent', 'pooled', 'mined'] as const)
  test(`a node is killed when what it signed is ${fate}: it pays once and its claim is not lost`, async () => {
    const { chain, key, nonce } = await open()
    chain.close()
    const before = await nonce()
    assert.is(await killed(key, 101n, fate), 'balance 101')
    assert.equal([await balance(chain), await nonce()], [101n, before + 1])
    const wallet = await funder.tokensOf(chain.address!)
    assert.is(await killed(key, 1n, fate), 'balance 1')
    assert.equal([await funder.tokensOf(chain.address!), await nonce()], [wallet + 100n, before + 2])
  })

test('a chain that is restarted without its pool gets what was on its way again', async () => {
  const state = join(folder, 'state.json')
  let own = await startAnvil({ blockTime: 0, state })
  const port = Number(new URL(own.rpcUrl).port)
  const at = { rpcUrl: own.rpcUrl, key: own.key }
  const file = await deployNetwork({
    ...at,
    name: 'restart',
    params: devnetParams,
    tileDraws: 4,
    circuits,
    faucet: true,
  })
  const store = memoryStore()
  const chain = await openChain({
    network: file,
    ...at,
    journal: storedJournal(store),
    pollMs: 20,
    resendMs: 400,
    confirmations: 2,
  })
  try {
    await chain.drip(chain.address!)
    await chain.deposit(1n)
    await own.request('evm_setAutomine', [false])
    const sent = chain.deposit(10n)
    await until(async () => ((await own.request('txpool_status')) as { pending: Hex }).pending === '0x1')
    await own.stop()
    own = await startAnvil({ blockTime: 0, state, port })
    await sent
    assert.is(await chain.balanceOf(chain.address!), 11n)
  } finally {
    chain.close()
    await own.stop()
  }
})

test.run()
