/**
 * Capacity pulses as nodes live them: processes that know each other by TCP alone, on a real chain, open them, compute lanes, report them to
 * each other, claim what is examined and are paid. One reporter is silent, one node is killed between its answer and its claim.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Chain, openChain } from '../../node/chain/chain.ts'
import { devnetParams } from '../../node/chain/params.ts'
import type { ActorEvent } from '../../node/devnet/actor.ts'
import { type Account, type LocalNode, type Localnet, startLocalnet } from '../../node/devnet/localnet.ts'
import { unlockKeystore } from '../../node/identity/keystore.ts'
import { enterRegistry } from '../../node/stages/entry.ts'
import { toHex } from '../../protocol/bytes.ts'

const SNTR = 10n ** 18n
const UNITS = 25n
/** 16% of a floor of 0.0005. */
const PAY = (UNITS * 5n * 10n ** 14n * 16n) / 100n
const folder = mkdtempSync(join(tmpdir(), 'sinter-pulse-'))
const log = pino({ level: 'silent' })
const events: ActorEvent[] = []
let net: Localnet
let funder: Chain
let accounts: Account[]

/** Nodes whose stake is there before the first pulse, which counts it for the second. */
async function register(account: Account): Promise<void> {
  const { network, anvil } = net
  const identity = await unlockKeystore(
    join(account.folder, 'key.json'),
    readFileSync(join(folder, 'password'), 'utf8').trim(),
  )
  const chain = await openChain({ network, rpcUrl: anvil.rpcUrl, key: toHex(identity.privateKey) })
  const init = { network, identity, stake: 1_000n * SNTR, hardwareClass: 'cpu', floorDeposit: SNTR, log }
  await enterRegistry(chain, init)
  chain.close()
}

async function openFirst(): Promise<bigint> {
  for (;;) {
    const slot = funder.slotAt(await funder.head())
    const opened = await funder.openPulse(slot).catch(() => null)
    if (opened !== null) return slot
  }
}

const start = (i: number): Promise<LocalNode> =>
  net.startNode(`node-${i}`, { account: accounts[i - 1]!, args: i === 3 ? ['--lanes', '0'] : [] })

test.before(async () => {
  net = await startLocalnet({
    folder,
    params: {
      ...devnetParams,
      // Every other slot is a pulse, and every lane is examined.
      pulseRarity: 2,
      pulseWindow: 12,
      pulseDrawMargin: 6,
      pulseClaimWindow: 40,
      epochLength: 10,
      capacityClasses: `cpu:256:16:4:${UNITS}:1:${1_000n * SNTR}`,
    },
    onEvent: (event) => void events.push(event),
  })
  const { network, anvil } = net
  funder = await openChain({ network, rpcUrl: anvil.rpcUrl, key: anvil.key })
  accounts = await Promise.all(['node-1', 'node-2', 'node-3'].map((name) => net.newAccount(name)))
  await Promise.all(accounts.map(register))
})
test.after(async () => {
  funder?.close()
  await net?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('nodes open a pulse, compute, report each other and are paid, whoever is killed in between', async () => {
  const first = await openFirst()
  await start(1)
  const [second] = await Promise.all([start(2), start(3)])
  const [one, two] = accounts.map(({ address }) => address) as [Account['address'], Account['address']]

  // Its own answer and the other node's: the third takes no part.
  const { facts } = await second!.actor.wait('pulse.reported', 60_000, ({ answers }) => answers === 2)
  const slot = BigInt(facts.slot as number)
  assert.ok(slot > first)
  second!.actor.kill('SIGKILL')
  await second!.actor.ended
  const again = await start(2)
  const isIt = (each: Record<string, unknown>): boolean => each.slot === Number(slot)
  await Promise.all([again, net.nodes[0]!].map(({ actor }) => actor.wait('pulse.claimed', 45_000, isIt)))
  for (const operator of [one, two]) assert.is(await funder.laneClaimed(slot, operator, 0), true)

  // Both are paid for the same pulse, once; the next ones may already be in the same epoch.
  const claimed = events.filter(({ event, facts: each }) => event === 'pulse.claimed' && isIt(each))
  assert.equal(claimed.map(({ actor }) => actor).sort(), ['node-1', 'node-2'])
  for (const operator of [one, two]) {
    const before = await funder.tokensOf(operator)
    const patience = Date.now() + 30_000
    let due = await funder.claimable(operator)
    while (due === null && Date.now() < patience) due = await funder.claimable(operator)
    assert.ok(due !== null && due.amount >= PAY && due.amount % PAY === 0n, `${due?.amount}`)
    await funder.claimMint(operator)
    assert.ok((await funder.tokensOf(operator)) >= before + PAY)
  }
})

test('the node says what it did in pulses, and one that takes no part says so', async () => {
  const status = async (i: number): Promise<string[]> => {
    const actor = net.startCommand(`status-${i}`, accounts[i - 1]!, ['status'], ['--json'])
    return (await actor.wait('status', 20_000)).facts.pulses as string[]
  }
  const [one, three] = await Promise.all([status(1), status(3)])
  assert.match(one![0]!, /^pulses: the last was opened at .*Z \(slot \d+\); [1-9]\d* lanes? of this node examined/)
  assert.match(one![1]!, /^up to 1 lane a pulse; opened \d+, answered [1-9]\d*, reported [1-9]\d*, claimed [1-9]/)
  assert.is(three![1], 'this node takes no part (--lanes 0)')
})

test.run()
