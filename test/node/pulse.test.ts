/** Who opens pulses, and when. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { turnS } from '../../node/stages/pulse-plan.ts'
import type { Hex } from '../../protocol/bytes.ts'
import { errorCode } from '../../protocol/errors.ts'
import { CLASS, createWorld, OPERATOR, type World, word } from './pulse-world.ts'

const made: World[] = []
/** A network without an open pulse; every slot is one. */
async function world(): Promise<World> {
  const w = await createWorld()
  made.push(w)
  w.state.opened = false
  return w
}
test.after.each(async () => {
  for (const each of made.splice(0)) await each.stop()
})
/** A value at which this node has the turn that begins so many tenths of the window later, of 40 nodes. */
function valueOfTurn(turn: number): Hex {
  for (let i = 0; ; i++) if (turnS(word(`value ${i}`), OPERATOR, 40, 100) === 10 * turn) return word(`value ${i}`)
}

test('the youngest pulse is opened, once, by whoever’s turn it is', async () => {
  const w = await world()
  w.state.nodes = 40
  w.state.newest = 30n
  w.slots.set(29n, valueOfTurn(0)).set(30n, valueOfTurn(2))
  for (let slot = 24n; slot < 29n; slot++) w.slots.set(slot, valueOfTurn(0))
  await w.at(1_000)
  await w.at(1_019)
  assert.equal(w.calls, [])
  await w.at(1_020)
  assert.equal(w.calls, ['open 30'])
  assert.is((await w.status())!.counts.opened, 1)
})

test('a slot whose value is not out yet is looked for again', async () => {
  const w = await world()
  w.state.nodes = 1
  w.state.newest = 30n
  await w.at(1_000)
  for (let slot = 24n; slot < 31n; slot++) w.slots.set(slot, word(`slot ${slot}`))
  await w.at(1_001)
  assert.equal(w.calls, ['open 30'])
})

test('nobody opens a pulse while another runs, nor one that is not fresh any more', async () => {
  const w = await world()
  w.state.nodes = 1
  w.state.newest = 30n
  for (let slot = 24n; slot < 31n; slot++) w.slots.set(slot, word(`slot ${slot}`))
  w.state.opened = true
  w.state.reporters = []
  await w.at(1_100)
  assert.equal(w.calls, [])
  w.state.newest = 37n
  await w.at(1_101)
  assert.equal(w.calls, [])
  w.slots.set(31n, word('slot 31'))
  await w.at(1_102)
  assert.equal(w.calls, ['open 31'])
})

test('a pulse that somebody else has opened, that a fork has undone or that there is no ether for is let go; one that an endpoint does not see yet, or that got no answer, is not', async () => {
  for (const [code, calls] of [
    ['CHAIN_PulseOpen', 1],
    ['CHAIN_PulseStale', 1],
    ['CHAIN_NotAPulse', 1],
    ['CHAIN_GAS_FUNDS', 1],
    ['CHAIN_HashUnknown', 2],
    ['CHAIN_RPC', 2],
  ] as const) {
    const w = await world()
    w.state.nodes = 1
    w.state.newest = 40n
    for (let slot = 34n; slot < 40n; slot++) w.slots.set(slot, word(`slot ${slot}`))
    await w.at(1_000)
    w.calls.splice(0)
    w.slots.set(40n, word('slot 40'))
    w.refuse(code)
    const said = (error: unknown): void => assert.is(errorCode(error), code)
    await w.at(1_001).catch(said)
    w.slots.clear()
    await w.at(1_002).catch(said)
    assert.is(w.calls.filter((call) => call === 'open 40').length, calls, code)
  }
})

test('a node whose own claims would not be worth their gas pays for no opening', async () => {
  for (const [cost, calls] of [
    [CLASS.units, []],
    [CLASS.units - 1n, ['open 30']],
  ] as const) {
    const w = await world()
    w.state.nodes = 1
    w.state.newest = 30n
    for (let slot = 24n; slot < 31n; slot++) w.slots.set(slot, word(`slot ${slot}`))
    w.state.gasCost = cost
    await w.at(1_000)
    assert.equal(w.calls, calls)
  }
})

test.run()
