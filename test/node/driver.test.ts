/** The driver over a chain in memory: no batch waits for another, and nothing that fails is lost. */
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Chain } from '../../node/chain/chain.ts'
import type { Batch } from '../../node/chain/views.ts'
import { createBallotBox } from '../../node/stages/ballot.ts'
import type { AnchoredBatch, BatchBook } from '../../node/stages/book.ts'
import { createDriver, type DriverComponents } from '../../node/stages/driver.ts'
import { createPolls } from '../../node/stages/poll.ts'
import { type Hex, toHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import { bytes32, log, NETWORK, provider } from './session-world.ts'

const idOf = (name: string): Hex => toHex(hash('batch', new TextEncoder().encode(name)))

function createWorld() {
  const batches = new Map<Hex, Batch>()
  const anchored: AnchoredBatch[] = []
  const done: string[] = []
  const looked: Hex[] = []
  const state = {
    trace: async (_: Hex): Promise<void> => {},
    publish: async (): Promise<void> => {},
    look: async (_: Hex): Promise<void> => {},
    abandon: async (): Promise<void> => {},
    redraw: async (): Promise<void> => {},
    now: 100n,
  }
  const chain = {
    params: { voteWindow: 60, commitWindow: 40, pokeGrace: 10, abandonWindow: 30, draws: 2 },
    network: { chainId: 1, contracts: {} },
    slotHeight: (slot: bigint) => slot,
    beaconPosition: ({ block }: { block: bigint }) => block,
    async batch(id: Hex) {
      looked.push(id)
      await state.look(id)
      return batches.get(id)!
    },
    head: async () => ({ block: 100n, timestamp: state.now }),
    deadline: async (id: Hex) => (batches.get(id)!.status === 'anchored' ? 1_000n : 160n),
    audits: async () => [],
    committee: async () => [],
    quorate: async () => false,
    ballot: async () => ({ digest: '0x', attempt: 0, members: 0, closedAt: 0, missing: 0n }),
    ranges: async () => [{ collected: true }],
    beaconValue: async () => toHex(bytes32()),
    abandon: () => state.abandon(),
    redraw: () => state.redraw(),
  } as unknown as Chain
  const book: BatchBook = {
    apply: () => {},
    get: () => null,
    open: () => anchored.filter(({ id }) => !done.includes(id)),
    undo: () => {},
    oldest: () => null,
    close: (id) => void done.push(id),
  }
  const ballots = createBallotBox()
  const driver = createDriver({
    address: provider.address,
    networkId: NETWORK,
    chain,
    book,
    ballots,
    polls: createPolls({ address: provider.address, chain, ballots, confirmations: 0, log }),
    batcher: { record: async () => null } as unknown as DriverComponents['batcher'],
    attester: {
      trace: (id) => state.trace(id),
      attest: async () => new Uint8Array(),
      sealed: async () => Uint8Array.of(1),
      forget: async () => {},
    },
    voter: {
      attend: async () => {},
      check: async () => ({ verdicts: [], findings: [] }),
      hasCondemned: async () => false,
    },
    gossip: {
      async publish() {
        await state.publish()
        return { recipients: 1 }
      },
    },
    attestation: () => null,
    keepAttestation: () => {},
    fetchAttestation: async () => {},
    log,
  })
  const add = (name: string, status: Batch['status'], mine = true): Hex => {
    const id = idOf(name)
    const place = { root: id, total: 10n, block: 1n, ranges: [] }
    anchored.push({ id, provider: mine ? provider.address : `0x${'bb'.repeat(20)}`, ...place })
    batches.set(id, {
      status,
      attempt: 0,
      sampleSlot: 1n,
      challengeSlot: 2n,
      committeeSlot: 3n,
      slashAt: 0n,
      auditUntil: 0n,
      verdicts: '0x00',
    } as unknown as Batch)
    return id
  }
  return { driver, state, add, batches, done, looked }
}

test('a batch in its proofs does not hold up another, and is not worked on twice', async () => {
  const { driver, state, add } = createWorld()
  const started: Hex[] = []
  let release = () => {}
  const long = new Promise<void>((resolve) => {
    release = resolve
  })
  state.trace = async (id) => {
    started.push(id)
    if (id === idOf('slow')) await long
  }
  add('slow', 'anchored')
  driver.tick()
  await sleep(5)
  add('quick', 'anchored')
  for (let i = 0; i < 3; i++) {
    driver.tick()
    await sleep(5)
  }
  assert.is(started.filter((id) => id === idOf('slow')).length, 1)
  assert.is(started.filter((id) => id === idOf('quick')).length, 3)
  let settled = false
  const waiting = driver.settled().then(() => {
    settled = true
  })
  await sleep(5)
  assert.is(settled, false)
  release()
  await waiting
})

test('a step that fails is tried again, and the others go on', async () => {
  const { driver, state, add, done } = createWorld()
  let attempts = 0
  state.trace = async () => {
    if (++attempts < 3) throw new SinterError('CHAIN_RPC', 'away')
  }
  add('a', 'anchored')
  add('b', 'paid')
  for (let i = 0; i < 4; i++) {
    driver.tick()
    await driver.settled()
  }
  assert.is(attempts, 4)
  assert.equal(done, [idOf('b')])
})

test('own batches come first, and those of others a few at a time, the longest waiting first', async () => {
  const { driver, state, add, looked } = createWorld()
  for (let i = 0; i < 40; i++) add(`other ${i}`, 'anchored', false)
  add('mine', 'anchored')
  let gate = () => {}
  state.look = () =>
    new Promise<void>((resolve) => {
      const before = gate
      gate = () => {
        before()
        resolve()
      }
    })
  driver.tick()
  driver.tick()
  assert.is(looked[0], idOf('mine'))
  assert.is(looked.length, 16)
  gate()
  await driver.settled()
  state.look = async () => {}
  for (let i = 0; i < 2; i++) {
    driver.tick()
    await driver.settled()
  }
  assert.is(new Set(looked).size, 41)
})

test('an attestation that nobody took is published again, and the batch goes on meanwhile', async () => {
  const { driver, state, add } = createWorld()
  let published = 0
  let redrawn = 0
  state.publish = async () => {
    if (++published < 2) throw new SinterError('GOSSIP_NO_PEERS', 'nobody')
  }
  state.redraw = async () => {
    redrawn++
  }
  state.now = 200n
  add('a', 'committed')
  for (let i = 0; i < 4; i++) {
    driver.tick()
    await driver.settled()
  }
  assert.is(published, 2)
  assert.is(redrawn, 4)
})

test('a committee that could not grow is drawn again as soon as somebody has joined', async () => {
  const { driver, state, add } = createWorld()
  const moves: string[] = []
  state.redraw = async () => {
    moves.push('redraw')
    if (moves.length === 1) throw new SinterError('CHAIN_CommitteeExhausted', 'all sit')
  }
  state.abandon = async () => {
    moves.push('abandon')
    throw new SinterError('CHAIN_CommitteeCanGrow', 'one more')
  }
  state.now = 300n
  add('a', 'committed')
  for (let i = 0; i < 3; i++) {
    driver.tick()
    await driver.settled()
  }
  assert.equal(moves, ['redraw', 'abandon', 'redraw'])
})

test.run()
