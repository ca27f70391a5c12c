import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { reclaimSessions, releaseSession } from '../../node/client/reserves.ts'
import { openWorld, type World } from './chain-world.ts'

const SNTR = 10n ** 18n
let world: World

test.before(async () => {
  world = await openWorld()
})
test.after(() => world?.anvil.stop())

test('an account knows the sessions it opened, in order', async () => {
  const { chain } = world.consumer
  const { timestamp } = await chain.head()
  const second = await chain.openSession(world.nodes[1]!.chain.address!, 5n * SNTR, timestamp + 60n)
  const sessions = await chain.sessionsOf(chain.address!)
  assert.equal(
    sessions.map(({ id }) => id),
    [world.session, second.session],
  )
  assert.is(sessions[1]!.session.ceiling, 5n * SNTR)
  assert.equal(await chain.sessionsOf(world.provider.chain.address!), [])
})

test('nothing comes back before its time', async () => {
  assert.is(await reclaimSessions(world.consumer.chain), 0n)
})

test('a released session gives its provider the close window, and then the ceiling comes back; so does an expired one', async () => {
  const { chain } = world.consumer
  const before = await chain.balanceOf(chain.address!)
  await releaseSession(chain, world.session)
  assert.is.not((await chain.session(world.session)).closesAt, 0n)
  // Asking twice changes nothing.
  await releaseSession(chain, world.session)
  assert.is(await reclaimSessions(chain), 0n)
  await world.anvil.skip(world.params.closeWindow + 61)
  assert.is(await reclaimSessions(chain), 65n * SNTR)
  assert.is(await chain.balanceOf(chain.address!), before + 65n * SNTR)
  assert.is(await reclaimSessions(chain), 0n)
  assert.ok((await chain.sessionsOf(chain.address!)).every(({ session }) => session.closed))
})

test.run()
