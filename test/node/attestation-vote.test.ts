import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Identity } from '../../node/identity/identity.ts'
import { createModelLibrary, type LoadedModel } from '../../node/model/load.ts'
import { type BallotBox, createBallotBox } from '../../node/stages/ballot.ts'
import { createVoter, type Panel } from '../../node/stages/vote.ts'
import type { Store } from '../../node/store/store.ts'
import { equalBytes } from '../../protocol/bytes.ts'
import { recoverTyped, voteDigest } from '../../protocol/eip712.ts'
import { type Opened, open, type Payload } from '../../protocol/envelope.ts'
import { SinterError } from '../../protocol/errors.ts'
import { packVerdicts, voteCommitment } from '../../protocol/vote.ts'
import { idealProofs } from './attestation-ideal.ts'
import {
  attest,
  BATCHES,
  bytes32,
  committer,
  ESCROW,
  type Key,
  keyOf,
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
const panel: Panel = { attempt: 1, members: 3, attestationDigest: bytes32('digest') }

type Seat = {
  attend(attestation: Payload<'attestation'> | null): Promise<void>
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
  publish?(bytes: Uint8Array): Promise<void>
}

/** A committee member on stub ports. */
function seat({ key = VOTER, model = async () => world.model, store = memoryStore(), publish }: SeatInit = {}): Seat {
  const sent: Opened<'vote'>['message'][] = []
  const clock = { ms: 1_000 }
  const ballots = createBallotBox()
  const reports: string[][] = []
  const voter = createVoter({
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
  })
  return {
    attend: (attestation) => voter.attend(facts, panel, attestation),
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

test('a member commits, waits for the others, and reveals what it committed to', async () => {
  const member = seat()
  await member.attend(message)
  assert.equal(
    member.sent.map(({ body }) => body.case),
    ['commitment'],
  )
  member.clock.ms += 4_999
  await member.attend(message)
  assert.is(member.sent.length, 1)
  member.clock.ms += 1
  await member.attend(message)
  const { verdicts, digest, signature, salt, attestation } = revealOf(member)
  assert.equal(verdicts, packVerdicts(['valid', 'valid']))
  const vote = { batch: world.batch, attempt: 1, attestation, verdicts, digest }
  assert.is(recoverTyped(voteDigest(VOTES, vote), signature), VOTER.address)
  const { body } = member.sent[0]!
  assert.ok(body.case === 'commitment' && equalBytes(body.value, voteCommitment(vote, signature, salt)))
  await member.attend(message)
  assert.is(member.sent.length, 2)
  assert.is(member.ballots.majority(world.batch, 1, 2).length, 1)
})

test('it reveals at the next look when all have committed, never in the same breath', async () => {
  const member = seat()
  for (const name of ['b', 'c']) {
    const commitment = bytes32(name)
    member.ballots.record({
      kind: 'commitment',
      voter: keyOf(name).address,
      batch: world.batch,
      attempt: 1,
      commitment,
    })
  }
  await member.attend(message)
  assert.is(member.sent.length, 1)
  await member.attend(message)
  assert.equal(
    member.sent.map(({ body }) => body.case),
    ['commitment', 'reveal'],
  )
})

test('a restart repeats the same vote, whatever it would find now', async () => {
  const before = seat()
  await before.attend(message)
  const after = seat({ store: before.store, model: failing('MANIFEST_MALFORMED') })
  after.clock.ms += 60_000
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
  member.clock.ms += 5_000
  await member.attend(null)
  assert.equal(revealOf(member).verdicts, packVerdicts(['forged', 'forged']))
})

test('an attestation that comes late, but before the vote, is judged', async () => {
  const member = seat()
  await member.attend(null)
  member.clock.ms += 31_000
  await member.attend(message)
  member.clock.ms += 5_000
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
