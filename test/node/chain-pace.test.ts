/** How often the chain is looked at, counted at a real endpoint. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openChain } from '../../node/chain/chain.ts'
import { devnetParams, firstParams, type NetworkParams, paramsToJson, pollMsOf } from '../../node/chain/params.ts'
import { type FaultyEndpoint, startProxy } from './chain-proxy.ts'
import { fastAnvil, openWorld, type World } from './chain-world.ts'

let world: World
let proxy: FaultyEndpoint

test.before(async () => {
  world = await openWorld(undefined, {}, () => fastAnvil(100))
  proxy = await startProxy(world.anvil.rpcUrl)
})
test.after(async () => {
  await Promise.all([proxy?.stop(), world?.anvil.stop()])
})

test('a look takes little of the shortest window, from a quarter of a second to four', () => {
  assert.equal([pollMsOf(devnetParams), pollMsOf(firstParams)], [250, 4_000])
  const windows = ['auditWindow', 'traceWindow', 'attestWindow', 'commitWindow', 'voteWindow', 'appealWindow'] as const
  for (const window of windows) assert.is(pollMsOf({ ...firstParams, [window]: 60 }), 500, window)
})

async function looks(params: NetworkParams): Promise<number> {
  const chain = await openChain({ network: { ...world.network, params: paramsToJson(params) }, rpcUrl: proxy.url })
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
