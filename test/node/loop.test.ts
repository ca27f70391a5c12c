import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { repeat, within } from '../../node/loop.ts'
import { ownTurn } from '../../node/timers.ts'
import { log } from './session-world.ts'

test('work that fails is repeated, one round at a time, until halted', async () => {
  let rounds = 0
  let running = 0
  const loop = repeat('work', 1, log, async () => {
    assert.is(++running, 1)
    await new Promise((resolve) => setTimeout(resolve, 2))
    running--
    if (++rounds === 3) loop.halt()
    throw new Error('no')
  })
  await loop.done
  assert.is(rounds, 3)
})

test('work that throws before it waits does not end the loop', async () => {
  let rounds = 0
  const loop = repeat('work', 1, log, () => {
    if (++rounds === 2) loop.halt()
    throw new Error('at once')
  })
  await loop.done
  assert.is(rounds, 2)
})

test('halting does not wait for the end of a pause', async () => {
  const started = performance.now()
  let rounds = 0
  const loop = repeat('work', 60_000, log, () => void rounds++)
  await new Promise((resolve) => setTimeout(resolve, 5))
  loop.halt()
  await loop.done
  assert.ok(performance.now() - started < 5_000)
  assert.is(rounds, 1)
})

test('waiting ends with the promise, with its failure, or with the time', async () => {
  await within(Promise.resolve(), 10_000)
  assert.is(await within(Promise.reject(new Error('no')), 10_000).catch(({ message }) => message), 'no')
  const started = performance.now()
  await within(new Promise(() => {}), 20)
  assert.ok(performance.now() - started >= 15)
})

test('pieces of work that wait for a turn have one each, in their order, and others go between', async () => {
  const done: string[] = []
  const piece = async (name: string): Promise<void> => {
    await ownTurn()
    done.push(name)
    await ownTurn()
    done.push(name)
  }
  const between = (left: number): void => {
    done.push('-')
    if (left > 0) setImmediate(between, left - 1)
  }
  setImmediate(between, 6)
  await Promise.all(['a', 'b', 'c'].map(piece))
  assert.is(done.join(''), '-a-b-c-a-b-c')
})

test.run()
