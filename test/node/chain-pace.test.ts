/** How often the chain is looked at, counted at a real endpoint. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Anvil, startAnvil } from '../../node/chain/anvil.ts'
import { openChain } from '../../node/chain/chain.ts'
import { deployNetwork } from '../../node/chain/deploy.ts'
import { devnetParams, firstParams, type NetworkParams, paramsToJson, pollMsOf } from '../../node/chain/params.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { type FaultyEndpoint, startProxy } from './chain-proxy.ts'

const none = '00'.repeat(32)
const circuits = { relation: none, pointwise: none, product: none, extremum: none }
let anvil: Anvil
let network: NetworkFile
let proxy: FaultyEndpoint

test.before(async () => {
  anvil = await startAnvil({ blockTime: 0 })
  const at = { rpcUrl: anvil.rpcUrl, key: anvil.key }
  network = await deployNetwork({ ...at, name: 'pace', params: devnetParams, tileDraws: 4, circuits, faucet: true })
  proxy = await startProxy(anvil.rpcUrl)
})
test.after(async () => {
  await Promise.all([proxy?.stop(), anvil?.stop()])
})

test('a look takes little of the shortest window, from a quarter of a second to four', () => {
  assert.equal([pollMsOf(devnetParams), pollMsOf(firstParams)], [250, 4_000])
  const windows = ['auditWindow', 'traceWindow', 'attestWindow', 'commitWindow', 'voteWindow', 'appealWindow'] as const
  for (const window of windows) assert.is(pollMsOf({ ...firstParams, [window]: 60 }), 500, window)
})

async function looks(params: NetworkParams): Promise<number> {
  const chain = await openChain({ network: { ...network, params: paramsToJson(params) }, rpcUrl: proxy.url })
  const watcher = chain.watchBatches(() => {})
  try {
    // The first look reads what there is.
    await sleep(1_000)
    proxy.seen.length = 0
    await sleep(2_000)
    return proxy.seen.length
  } finally {
    await watcher.stop()
    chain.close()
  }
}

test('where windows are long the chain is looked at less often', async () => {
  const often = await looks(devnetParams)
  assert.ok(often >= 3, `${often} looks in two seconds`)
  assert.is(await looks({ ...firstParams, slotLength: devnetParams.slotLength, minDelay: devnetParams.minDelay }), 0)
})

test.run()
