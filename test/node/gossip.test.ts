/** What messages from strangers cost a node: requests to the chain, memory, and its belief in what it has heard. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Batch } from '../../node/chain/views.ts'
import { identityFromKey } from '../../node/identity/identity.ts'
import { createBallotBox } from '../../node/stages/ballot.ts'
import type { BatchBook } from '../../node/stages/book.ts'
import { gossipValidators } from '../../node/stages/gossip.ts'
import { remembered } from '../../node/stages/seen.ts'
import { bigintToBytes, type Hex, toHex } from '../../protocol/bytes.ts'
import { commitmentDigest, recoverTyped, signTyped } from '../../protocol/eip712.ts'
import { open, seal } from '../../protocol/envelope.ts'
import { attestationDigest } from '../../protocol/rules/attestation.ts'
import type { Offer } from '../../protocol/rules/offer.ts'
import type { Equivocation } from '../../protocol/rules/vote.ts'
import type { Verdict } from '../../protocol/verdict.ts'
import { bytes32, consumer, ESCROW, model, NETWORK, provider } from './session-world.ts'

const ZERO: Hex = `0x${'00'.repeat(32)}`
const said = (verdict: Verdict): string =>
  verdict.action === 'accept' ? 'accept' : `${verdict.action} ${verdict.code}`
const voter = identityFromKey(bytes32())

function createWorld() {
  const batch = bytes32()
  const offers: Offer[] = []
  const proofs: Equivocation[] = []
  const calls = { batch: 0, committee: 0 }
  const state = { now: Date.now(), status: 'committed' as Batch['status'], attestation: ZERO as Hex, attempt: 0 }
  const ballots = createBallotBox()
  const book: BatchBook = {
    apply: () => {},
    get: (id) =>
      toHex(typeof id === 'string' ? Buffer.from(id.slice(2), 'hex') : id) === toHex(batch)
        ? { id: toHex(batch), provider: provider.address, root: ZERO, total: 1n, block: 1n, ranges: [] }
        : null,
    open: () => [],
    undo: () => {},
    oldest: () => null,
    close: () => {},
  }
  const made = gossipValidators({
    networkId: NETWORK,
    votes: ESCROW,
    book,
    ballots,
    now: () => state.now,
    onOffer: (offer) => void offers.push(offer),
    onEquivocation: (proof) => void proofs.push(proof),
    chain: {
      async batch() {
        calls.batch++
        return { status: state.status, attempt: state.attempt, attestation: state.attestation } as Batch
      },
      async committee() {
        calls.committee++
        return [voter.address]
      },
      deadline: async () => 10n,
    },
  })
  const sealed = seal('attestation', NETWORK, provider.privateKey, { batch, jobs: [] }).bytes
  const opened = open('attestation', NETWORK, sealed)
  if (typeof opened === 'string') throw new Error(opened)
  return {
    ...made,
    batch,
    offers,
    proofs,
    calls,
    state,
    ballots,
    sealed,
    digest: toHex(attestationDigest(opened.payload, NETWORK)),
  }
}

const voteBy = (who: typeof voter, batch: Uint8Array, attestation = new Uint8Array(32), attempt = 0): Uint8Array => {
  const commitment = bytes32()
  const signature = signTyped(commitmentDigest(ESCROW, { batch, attempt, attestation, commitment }), who.privateKey)
  const body = { case: 'commitment' as const, value: { attestation, commitment, signature } }
  return seal('vote', NETWORK, who.privateKey, { batch, attempt, body }).bytes
}

test('a flood of votes costs a request or two a moment, and only the committee is heard', async () => {
  const { topics, batch, calls, ballots, state } = createWorld()
  const flood = Array.from({ length: 50 }, () => topics.votes(voteBy(identityFromKey(bytes32()), batch), 'peer'))
  for (const verdict of await Promise.all(flood)) assert.is(said(verdict), 'reject VOTE_NOT_ON_COMMITTEE')
  assert.is(said(await topics.votes(voteBy(voter, batch), 'peer')), 'accept')
  assert.is(ballots.commitments(batch, 0).size, 1)
  assert.equal(calls, { batch: 1, committee: 1 })
  state.now += 1_000
  await topics.votes(voteBy(voter, batch), 'peer')
  assert.is(calls.batch, 2)
})

test('a vote that comes right behind the committee is not lost to an older answer', async () => {
  const { topics, batch, state } = createWorld()
  state.status = 'traced'
  assert.is(said(await topics.votes(voteBy(voter, batch), 'peer')), 'ignore COMMITTEE_UNKNOWN')
  state.status = 'committed'
  assert.is(said(await topics.votes(voteBy(voter, batch), 'peer')), 'accept')
})

test('a voter that commits to a second vote is handed on with both signatures; the same vote again is not', async () => {
  const { topics, batch, proofs, ballots } = createWorld()
  const [one, two] = [voteBy(voter, batch), voteBy(voter, batch)]
  assert.is(said(await topics.votes(one, 'peer')), 'accept')
  assert.is(said(await topics.votes(one, 'peer')), 'ignore DUPLICATE')
  assert.is(proofs.length, 0)
  assert.is(said(await topics.votes(two, 'peer')), 'ignore VOTE_COMMITTED_BEFORE')
  assert.is(ballots.commitments(batch, 0).size, 1)
  const [{ voter: by, signed }] = proofs as [Equivocation]
  assert.is(by, voter.address)
  assert.is(new Set(signed.map(({ commitment }) => toHex(commitment))).size, 2)
  for (const { signature, ...fields } of signed)
    assert.is(recoverTyped(commitmentDigest(ESCROW, { batch, attempt: 0, ...fields }), signature), voter.address)
})

test('messages about batches that nobody anchored cost no request', async () => {
  const { topics, calls } = createWorld()
  assert.is(said(await topics.votes(voteBy(voter, bytes32()), 'peer')), 'ignore COMMITTEE_UNKNOWN')
  const stray = seal('attestation', NETWORK, provider.privateKey, { batch: bytes32(), jobs: [] }).bytes
  assert.is(said(await topics.attestations(stray, 'peer')), 'ignore BATCH_UNKNOWN')
  assert.is(calls.batch, 0)
})

test('an attestation is taken when it is the committed one, at once after its commitment', async () => {
  const { topics, shelf, state, sealed, digest, batch } = createWorld()
  state.status = 'traced'
  assert.is(said(await topics.attestations(sealed, 'peer')), 'ignore ATTESTATION_EARLY')
  assert.is(shelf.get(toHex(batch)), null)
  Object.assign(state, { status: 'committed', attestation: digest })
  assert.is(said(await topics.attestations(sealed, 'peer')), 'accept')
  assert.equal(shelf.sealed(toHex(batch)), sealed)
  assert.is(said(await topics.attestations(sealed, 'peer')), 'ignore DUPLICATE')
  const forged = seal('attestation', NETWORK, consumer.privateKey, { batch, jobs: [] }).bytes
  assert.is(said(await topics.attestations(forged, 'peer')), 'reject ATTESTATION_SIGNER')
  assert.equal(shelf.sealed(toHex(batch)), sealed)
})

test('an offer is handed on once', async () => {
  const { topics, offers, state } = createWorld()
  const bytes = seal('offer', NETWORK, consumer.privateKey, {
    manifest: model.cid.bytes,
    hardwareClass: 'any',
    memoryMib: 0,
    priceCeiling: bigintToBytes(5n, 16),
    jobs: 1n,
    deadlineMs: BigInt(state.now + 5_000),
    policy: 'zk',
    addresses: ['/ip4/127.0.0.1/tcp/1'],
    nonce: bytes32().subarray(0, 16),
  }).bytes
  assert.is(said(await topics.offers(bytes, 'peer')), 'accept')
  assert.is(said(await topics.offers(bytes, 'peer')), 'ignore DUPLICATE')
  assert.is(offers.length, 1)
})

test('a remembered answer is asked for once at a time, kept for its time, and never when it failed', async () => {
  let now = 0
  let asked = 0
  let fail = false
  const ask = remembered(
    10,
    () => now,
    async (key: string) => {
      asked++
      if (fail) throw new Error('no')
      return `${key}${asked}`
    },
    2,
  )
  assert.equal(await Promise.all([ask('a'), ask('a')]), ['a1', 'a1'])
  now = 9
  assert.is(await ask('a'), 'a1')
  now = 10
  assert.is(await ask('a'), 'a2')
  fail = true
  for (let i = 0; i < 2; i++) assert.is(await ask('b').catch(() => 'failed'), 'failed')
  assert.is(asked, 4)
  fail = false
  await ask('c')
  await ask('d')
  assert.is(await ask('a'), 'a7')
})

test.run()
