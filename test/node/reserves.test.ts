import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createPurse, reclaimSessions, releaseSession } from '../../node/client/reserves.ts'
import { errorCode } from '../../protocol/errors.ts'
import { fastAnvil, openWorld, type World } from './chain-world.ts'

const SNTR = 10n ** 18n
let world: World

test.before(async () => {
  world = await openWorld(undefined, {}, () => fastAnvil(200))
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

test('steps that spend at the same time do not count on the same units', async () => {
  const { chain } = world.consumer
  const other = world.nodes[1]!.chain.address!
  await chain.withdraw(await chain.balanceOf(chain.address!))
  const { timestamp } = await chain.head()
  const purse = createPurse(chain)
  const set = purse.setAside(2n * SNTR)
  const unused = purse.setAside(3n * SNTR)
  const open = () => chain.openSession(other, SNTR, timestamp + 86_400n)
  const opened = await Promise.all([purse.spend(SNTR, open), purse.spend(SNTR, open), set.spend(open)])
  assert.is(new Set(opened.map(({ session }) => session)).size, 3)
  // What was set aside and taken by one unit less, and what was not taken at all.
  assert.is(await chain.balanceOf(chain.address!), 4n * SNTR)
  unused.release()
  unused.release()
  await purse.spend(4n * SNTR, async () => chain.withdraw(4n * SNTR))
  assert.is(await chain.balanceOf(chain.address!), 0n)
  // A step that fails does not stop the next, and what cannot be had is refused.
  const failed = await purse.spend(1n, () => Promise.reject(new Error('lost'))).catch(({ message }: Error) => message)
  assert.is(failed, 'lost')
  const code = await purse.spend(10n ** 40n, async () => 'taken').catch(errorCode)
  assert.is(code, 'BALANCE_TOO_LOW')
  for (const { session } of opened) await releaseSession(chain, session)
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
  assert.is(await reclaimSessions(chain), 68n * SNTR)
  assert.is(await chain.balanceOf(chain.address!), before + 68n * SNTR)
  assert.is(await reclaimSessions(chain), 0n)
  assert.ok((await chain.sessionsOf(chain.address!)).every(({ session }) => session.closed))
})

test.run()
