import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { isCommitted } from '../../node/chain/appeals.ts'
import { postedMessage } from '../../node/stages/contest.ts'
import { fromHex, type Hex } from '../../protocol/bytes.ts'
import { CHUNK_BYTES } from '../../protocol/claims.ts'
import { attested, code, fastAnvil, openWorld, voteAll, word } from './chain-world.ts'

const NETWORK = new Uint8Array(32).fill(7)
const windows = { traceWindow: 600, voteWindow: 600, slashPending: 600, appealWindow: 500 }
const world = await openWorld(undefined, { ...windows, unbondingDelay: 10_000, canaryWindow: 10_000 }, () =>
  fastAnvil(200),
)
const { chain } = world.provider

test.after(() => world.anvil.stop())

/** A batch with an attestation of more than one chunk, and a committee that says that it was shown none. */
async function condemnedUnheard(): Promise<{ batchId: Hex; payload: Uint8Array }> {
  const proof = new Uint8Array(randomBytes(CHUNK_BYTES + 100))
  const { batchId, payload } = await attested(world, NETWORK, proof)
  await vote(batchId, '05050505', word(0n))
  return { batchId, payload }
}
const vote = (batchId: Hex, verdicts: string, digest: Hex): Promise<void> => voteAll(world, batchId, verdicts, digest)

test('silence alleged is answered by the attestation on chain, which everybody reads there', async () => {
  const { batchId, payload } = await condemnedUnheard()
  assert.is((await chain.batch(batchId)).silent, true)
  assert.is(await code(chain.rebut(batchId)), 'CHAIN_NotPosted')
  assert.is(await world.reader.postedAttestation(batchId, 0), null)
  await chain.postAttestation(batchId, payload, NETWORK)
  assert.equal(await world.reader.postedAttestation(batchId, 0), payload)
  // Again, as after a restart: nothing is left to post.
  await chain.postAttestation(batchId, payload, NETWORK)
  const { attestation } = await chain.batch(batchId)
  assert.ok(isCommitted(payload, NETWORK, attestation))
  assert.equal(postedMessage(payload, NETWORK, attestation).batch, fromHex(batchId))
  assert.is(postedMessage(payload.subarray(1), NETWORK, attestation).batch.length, 0)
  await chain.rebut(batchId)
  assert.is(await code(vote(batchId, '05050505', word(0n))), 'CHAIN_SilenceWasRebutted')
  await vote(batchId, '01010101', word(5n))
  assert.is((await chain.batch(batchId)).status, 'paid')
})

test('a verdict is appealed for a bond, which comes back when the larger committee says otherwise', async () => {
  const { batchId } = await condemnedUnheard()
  const before = await chain.balanceOf(chain.address!)
  const bond = await chain.appealBond(batchId)
  await chain.appeal(batchId)
  assert.is(await chain.balanceOf(chain.address!), before - bond)
  await vote(batchId, '01010101', word(5n))
  assert.is((await chain.batch(batchId)).status, 'paid')
  assert.is(await chain.balanceOf(chain.address!), before)
})

test.run()
