/** What a provider does by itself about a verdict on its batch, on a real chain; in a whole node: `npm run test:contest`. */
import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BatchFacts } from '../../node/attestation/place.ts'
import type { Log } from '../../node/net/log.ts'
import { createContester } from '../../node/stages/contest.ts'
import type { Hex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import { EnvelopeSchema } from '../../protocol/gen/sinter_pb.js'
import type { DrawVerdict } from '../../protocol/vote.ts'
import { attested, fastAnvil, openWorld, voteAll, word } from './chain-world.ts'

const NETWORK = new Uint8Array(32).fill(7)
const windows = { traceWindow: 600, voteWindow: 600, slashPending: 600, appealWindow: 500 }
const change = { ...windows, unbondingDelay: 10_000, canaryWindow: 10_000 }
const world = await openWorld(undefined, change, () => fastAnvil(200))
const { chain } = world.provider
test.after(() => world.anvil.stop())

const FACTS = {} as BatchFacts

/** A contester whose own verifier finds this, and what it said. */
function contesterOf(sealed: Uint8Array | null, own: DrawVerdict = 'valid') {
  const said: string[] = []
  const keep = (facts: unknown): void => void said.push((facts as { event: string }).event)
  const log = { debug: keep, info: keep, warn: keep, error: keep } as unknown as Log
  const check = async (): Promise<{ verdicts: DrawVerdict[] }> => ({ verdicts: ['valid', own] })
  const contester = createContester({ networkId: NETWORK, chain, sealed: async () => sealed, check, log })
  /** As the driver calls it, with what the chain says now. */
  const contest = async (id: Hex, late = 0n): Promise<void> =>
    contester.contest(id, await chain.batch(id), FACTS, (await chain.head()).timestamp + late)
  return { said, contest }
}

async function condemned(digest: Hex): Promise<{ id: Hex; sealed: Uint8Array }> {
  const { batchId, payload } = await attested(world, NETWORK, new Uint8Array(randomBytes(100)))
  await voteAll(world, batchId, '01050101', digest)
  return { id: batchId, sealed: encode(EnvelopeSchema, { payload, signature: new Uint8Array(65) }) }
}

test('a provider whose own verifier finds nothing wrong appeals, and is paid when the larger committee agrees', async () => {
  const { id, sealed } = await condemned(word(5n))
  const payout = world.payouts[0]!
  const [free, paid] = [await chain.balanceOf(chain.address!), await chain.balanceOf(payout)]
  const bond = await chain.appealBond(id)
  const { said, contest } = contesterOf(sealed)
  await contest(id)
  assert.equal(said, ['verdict.appealed'])
  assert.is((await chain.batch(id)).status, 'committed')
  assert.is(await chain.balanceOf(chain.address!), free - bond)
  await voteAll(world, id, '01010101', word(5n))
  const { status, providerPart } = await chain.batch(id)
  assert.is(status, 'paid')
  assert.is(await chain.balanceOf(chain.address!), free, 'the bond is back')
  await chain.collect(id, 0)
  assert.is((await chain.balanceOf(payout)) - paid, providerPart)
})

test('silence that is alleged is answered with the attestation, for no bond', async () => {
  const { id, sealed } = await condemned(word(0n))
  const free = await chain.balanceOf(chain.address!)
  const { said, contest } = contesterOf(sealed, 'forged')
  await contest(id)
  assert.equal(said, ['silence.rebutted'])
  assert.equal([(await chain.batch(id)).status, await chain.posted(id)], ['committed', true])
  assert.is(await chain.balanceOf(chain.address!), free)
  await voteAll(world, id, '01010101', word(5n))
})

test('what the own verifier confirms, what comes too late and what cannot be shown is left alone', async () => {
  const { id, sealed } = await condemned(word(5n))
  for (const [{ said, contest }, late, event] of [
    [contesterOf(sealed, 'forged'), 0n, ['verdict.deserved']],
    [contesterOf(sealed), 501n, []],
    [contesterOf(null), 0n, []],
    [contesterOf(encode(EnvelopeSchema, { payload: new Uint8Array(9), signature: new Uint8Array(65) })), 0n, []],
  ] as const) {
    await contest(id, late)
    // Nor is anything tried again.
    await contest(id)
    assert.equal(said, event)
    assert.is((await chain.batch(id)).status, 'slashPending')
  }
})

test.run()
