import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Identity } from '../../node/identity/identity.ts'
import { createModelLibrary, type LoadedModel } from '../../node/model/load.ts'
import { type BallotBox, createBallotBox } from '../../node/stages/ballot.ts'
import { createVoter, newSince, type Panel } from '../../node/stages/vote.ts'
import type { Store } from '../../node/store/store.ts'
import { toHex } from '../../protocol/bytes.ts'
import { commitmentDigest, recoverTyped, voteCommitment } from '../../protocol/eip712.ts'
import { type Opened, open, type Payload } from '../../protocol/envelope.ts'
import { SinterError } from '../../protocol/errors.ts'
import { packVerdicts } from '../../protocol/vote.ts'
import { idealProofs } from './attestation-ideal.ts'
import {
  attest,
  BATCHES,
  bytes32,
  committer,
  ESCROW,
  type Key,
  makeWorld,
  memoryStore,
  NETWORK,
  TILE_DRAWS,
  VOTER,
} from './attestation-world.ts'

const { pool, verifier } = await idealProofs()
const world = makeWorld()
const { facts, message } = await attest(world, pool)
const VOTES = { chainId: 31_337, contract: BATCHES }
const panel = { attempt: 1, drawnAt: 100n, attestationDigest: bytes32('digest') }

type Seat = {
  /** `about` is the digest on chain. @default that of `panel` */
  attend(attestation: Payload<'attestation'> | null, about?: Uint8Array): Promise<void>
  /** What the chain says of the committee's commitments. @default none is there */
  poll: Pick<Panel, 'recorded' | 'closed' | 'sealed'>
  /** Everybody has committed, this member to what it has sent. */
  close(): void
  sent: Opened<'vote'>['message'][]
  faults(): string[]
  ballots: BallotBox
  store: Store
  clock: { ms: number }
}

type SeatInit = {
  key?: Key
  model?(): Promise<LoadedModel>
  store?: Store
  since?: bigint
  publish?(bytes: Uint8Array): Promise<void>
}

/** A committee member on stub ports. */
function seat({
  key = VOTER,
  model = async () => world.model,
  store = memoryStore(),
  since = 100n,
  publish,
}: SeatInit = {}): Seat {
  const sent: Opened<'vote'>['message'][] = []
  const clock = { ms: 1_000 }
  const ballots = createBallotBox()
  const poll: Seat['poll'] = { recorded: null, closed: false, sealed: false }
  const reports: string[][] = []
  const voter = createVoter(
    {
      identity: { privateKey: key.key, address: key.address } as Identity,
      networkId: NETWORK,
      vouchers: ESCROW,
      votes: VOTES,
      gossip: {
        async publish(_topic, bytes) {
          await publish?.(bytes)
          const opened = open('vote', NETWORK, bytes)
          if (typeof opened !== 'string') sent.push(opened.message)
          return { recipients: 1 }
        },
      },
      library: { load: model, onnx: async () => new Uint8Array() },
      verifier,
      committer,
      ballots,
      store,
      tileDraws: TILE_DRAWS,
      now: () => clock.ms,
      log: {
        debug() {},
        warn() {},
        error() {},
        info(entry: unknown) {
          const { faults } = entry as { faults?: string[] }
          if (faults !== undefined) reports.push(faults)
        },
      },
    },
    { knowsSince: since },
  )
  return {
    attend: (attestation, attestationDigest = panel.attestationDigest) =>
      voter.attend(facts, { ...panel, ...poll, attestationDigest }, attestation),
    poll,
    close() {
      const own = ballots.commitment(world.batch, 1, key.address)
      Object.assign(poll, { recorded: own && toHex(own.commitment), closed: true, sealed: true })
    },
    sent,
    faults: () => reports.at(-1)?.map((each) => each.split(' ')[0]!) ?? [],
    ballots,
    store,
    clock,
  }
}

const failing = (code: string) => async (): Promise<LoadedModel> => {
  throw new SinterError(code, 'stub')
}

const revealOf = ({ sent }: Seat) => {
  const reveal = sent.find(({ body }) => body.case === 'reveal')?.body
  if (reveal?.case !== 'reveal') throw new Error('no reveal was sent')
  return reveal.value
}

test('a member commits, waits until nobody can commit any more, and reveals what it committed to', async () => {
  const member = seat()
  await member.attend(message)
  const own = member.ballots.commitment(world.batch, 1, VOTER.address)!
  const steps: Partial<Seat['poll']>[] = [{}, { recorded: toHex(own.commitment) }, { closed: true }]
  for (const step of steps) {
    Object.assign(member.poll, step)
    await member.attend(message)
    assert.equal(
      member.sent.map(({ body }) => body.case),
      ['commitment'],
    )
  }
  member.poll.sealed = true
  await member.attend(message)
  const { verdicts, digest, salt, attestation } = revealOf(member)
  assert.equal(verdicts, packVerdicts(['valid', 'valid']))
  const vote = { batch: world.batch, attempt: 1, attestation, verdicts, digest }
  const commitment = voteCommitment(vote, salt, VOTER.address)
  const { body } = member.sent[0]!
  if (body.case !== 'commitment') throw new Error('no commitment was sent')
  assert.equal(body.value.commitment, commitment)
  const signed = commitmentDigest(VOTES, { ...vote, commitment })
  assert.is(recoverTyped(signed, body.value.signature), VOTER.address)
  await member.attend(message)
  assert.is(member.sent.length, 2)
  const recorded = [{ voter: VOTER.address, commitment: toHex(commitment) }]
  assert.is(member.ballots.majority(world.batch, 1, 2, recorded).length, 1)
})

test('a vote that was left out is not opened, and none is made when it is too late for one', async () => {
  const member = seat()
  await member.attend(message)
  Object.assign(member.poll, { closed: true, sealed: true })
  await member.attend(message)
  assert.is(member.sent.length, 1)
  const late = seat()
  Object.assign(late.poll, { closed: true, sealed: true })
  await late.attend(message)
  assert.is(late.sent.length, 0)
})

test('a member that has lost what it knew says the same again, or nothing', async () => {
  const before = seat()
  await before.attend(message)
  before.close()
  const after = seat()
  Object.assign(after.poll, before.poll)
  await after.attend(message)
  await after.attend(message)
  assert.equal(
    after.sent.map(({ body }) => body.case),
    ['commitment', 'reveal'],
  )
  assert.equal(after.sent[0], before.sent[0])
  const other = seat({ model: failing('MANIFEST_MALFORMED') })
  Object.assign(other.poll, before.poll)
  await other.attend(message)
  assert.equal(other.faults(), ['MANIFEST_INVALID', 'MANIFEST_INVALID'])
  assert.is(other.sent.length, 0)
})

test('what a node may have said before its store was new is not contradicted: that committee passes', async () => {
  const member = seat({ since: 101n })
  await member.attend(message)
  assert.is(member.sent.length, 0)
  // What stands on chain is what it said; the same again is no second vote.
  const before = seat()
  await before.attend(message)
  before.close()
  Object.assign(member.poll, before.poll)
  await member.attend(message)
  await member.attend(message)
  assert.equal(
    member.sent.map(({ body }) => body.case),
    ['commitment', 'reveal'],
  )
  const [store, chain] = [memoryStore(), { head: async () => ({ timestamp: clock++ }) as never }]
  let clock = 7n
  assert.is(await newSince(store, chain), 7n)
  assert.is(await newSince(store, chain), 7n)
})

test('a fork that puts another attestation in its place is answered by another vote, under another salt', async () => {
  const member = seat()
  await member.attend(message)
  member.close()
  await member.attend(message)
  const first = revealOf(member)
  Object.assign(member.poll, { recorded: null, closed: false, sealed: false })
  await member.attend(message, bytes32('another'))
  member.close()
  await member.attend(message, bytes32('another'))
  const bodies = member.sent.map(({ body }) => body)
  assert.equal(
    bodies.map((body) => body.case),
    ['commitment', 'reveal', 'commitment', 'reveal'],
  )
  const last = bodies[3]!
  if (last.case !== 'reveal') throw new Error('no reveal was sent')
  assert.equal(last.value.attestation, bytes32('another'))
  assert.not.equal(last.value.salt, first.salt)
})

test('a restart repeats the same vote, whatever it would find now', async () => {
  const before = seat()
  await before.attend(message)
  before.close()
  const after = seat({ store: before.store, model: failing('MANIFEST_MALFORMED') })
  Object.assign(after.poll, before.poll)
  await after.attend(null)
  assert.equal(revealOf(after).verdicts, packVerdicts(['valid', 'valid']))
})

test('a vote that could not be sent is sent again, and is the same', async () => {
  let down = true
  const out: Uint8Array[] = []
  const member = seat({
    async publish(bytes) {
      out.push(bytes)
      if (down) throw new SinterError('GOSSIP_PEERS', 'nobody listens')
    },
  })
  await member.attend(message)
  assert.is(member.sent.length, 0)
  down = false
  await member.attend(message)
  assert.is(member.sent.length, 1)
  assert.equal(out[0], out[1])
})

test('ATTESTATION_UNAVAILABLE: silence counts once patience has run out', async () => {
  const member = seat()
  await member.attend(null)
  member.clock.ms += 30_000
  await member.attend(null)
  assert.is(member.sent.length, 0)
  member.clock.ms += 1
  await member.attend(null)
  assert.equal(member.faults(), ['ATTESTATION_UNAVAILABLE'])
  member.close()
  await member.attend(null)
  assert.equal(revealOf(member).verdicts, packVerdicts(['forged', 'forged']))
})

test('an attestation that comes late, but before the vote, is judged', async () => {
  const member = seat()
  await member.attend(null)
  member.clock.ms += 31_000
  await member.attend(message)
  member.close()
  await member.attend(message)
  assert.equal(revealOf(member).verdicts, packVerdicts(['valid', 'valid']))
})

test('MODEL_UNAVAILABLE: a model that nobody hands out is the prover’s fault only after the patience', async () => {
  const member = seat({ model: failing('CONTENT_UNAVAILABLE') })
  await member.attend(message)
  assert.is(member.sent.length, 0)
  member.clock.ms += 30_001
  await member.attend(message)
  assert.equal(member.faults(), ['MODEL_UNAVAILABLE', 'MODEL_UNAVAILABLE'])
})

test('MANIFEST_INVALID: a manifest that breaks the rules is the prover’s fault at once', async () => {
  for (const code of ['MANIFEST_MALFORMED', 'ACCUMULATOR_BOUND', 'WEIGHTS_HASH', 'CONTENT_TYPE', 'MODEL_HASH']) {
    const member = seat({ model: failing(code) })
    await member.attend(message)
    assert.equal(member.faults(), ['MANIFEST_INVALID', 'MANIFEST_INVALID'], code)
  }
  const garbage = createModelLibrary(async () => new Uint8Array([1, 2, 3]))
  const member = seat({ model: () => garbage.load(world.model.cid) })
  await member.attend(message)
  assert.equal(member.faults(), ['MANIFEST_INVALID', 'MANIFEST_INVALID'])
})

test('trouble of the voter’s own never becomes a vote', async () => {
  for (const code of ['CONTENT_ABORTED', 'STORE_OPEN', 'UNEXPECTED', 'BLOCKSTORE_FULL']) {
    const member = seat({ model: failing(code) })
    member.clock.ms += 1
    await member.attend(message)
    member.clock.ms += 60_000
    await member.attend(message)
    assert.is(member.sent.length, 0, code)
  }
})

test.run()
