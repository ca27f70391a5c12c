/** What a consumer checks of its batches, against real receipts, proofs and signatures; the chain and the peers are stubs that may lie. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BatchEvent } from '../../node/chain/watch.ts'
import { type BatchCheck, type BatchChecksComponents, createBatchChecks } from '../../node/client/batch-checks.ts'
import { toHex } from '../../protocol/bytes.ts'
import { samplePoints } from '../../protocol/draw.ts'
import { commitmentDigest, signTyped, voteCommitment } from '../../protocol/eip712.ts'
import { type Payload, seal } from '../../protocol/envelope.ts'
import { attestationDigest } from '../../protocol/rules/attestation.ts'
import { type DrawVerdict, packVerdicts } from '../../protocol/vote.ts'
import { idealProofs } from './attestation-ideal.ts'
import {
  attest,
  BATCHES,
  bytes32,
  CONSUMERS,
  committer,
  copyOf,
  DRAWS,
  ESCROW,
  type Key,
  keyOf,
  makeWorld,
  NETWORK,
  PROVIDER,
  silent,
  TILE_DRAWS,
} from './attestation-world.ts'

const { pool, verifier } = await idealProofs()
const world = makeWorld()
const { facts, message } = await attest(world, pool)
const VOTES = { chainId: 31_337, contract: BATCHES }
const ID = toHex(world.batch)
const MEMBERS = ['a', 'b', 'c'].map((name) => keyOf(`member ${name}`))
const beacon = ((): Uint8Array => {
  for (let i = 0; ; i++) {
    const points = samplePoints(world.batch, bytes32(`sample ${i}`), world.tree.root.sum, DRAWS)
    if (points.every((point, k) => point === world.points[k])) return bytes32(`sample ${i}`)
  }
})()

/** `signer`: whose signature stands behind the commitment; `said`: what was committed to. @default the voter's own, `verdicts` */
type Ballot = { key: Key; verdicts?: DrawVerdict[]; attempt?: number; signer?: Key; said?: DrawVerdict[] }
type Case = {
  consumer?: string
  /** What peers hand out. @default the real one */
  attestation?: Payload<'attestation'>
  committed?: Uint8Array
  votes?: Ballot[] | null
  /** Longest wait for the checks (ms). */
  patienceMs?: number
}

const sealed = (attestation: Payload<'attestation'>) => seal('attestation', NETWORK, PROVIDER.key, attestation)

/** Plays the batch's events to a client whose peers and chain say what the case says, and waits for both checks. */
async function checked({
  consumer,
  attestation = message,
  committed,
  votes,
  patienceMs = 20_000,
}: Case = {}): Promise<BatchCheck> {
  const { bytes, envelope } = sealed(attestation)
  const digest = committed ?? attestationDigest(envelope.payload, NETWORK)
  const ballots = votes === undefined ? MEMBERS.map((key): Ballot => ({ key })) : votes
  const cast = (ballots ?? []).map(
    ({ key, verdicts = ['valid', 'valid'], attempt = 0, signer = key, said = verdicts }, i) => {
      const fields = {
        batch: world.batch,
        attempt,
        attestation: digest,
        verdicts: packVerdicts(said),
        digest: bytes32('d'),
      }
      const salt = bytes32(`salt ${i}`)
      const commitment = voteCommitment(fields, salt, key.address)
      const digest_ = commitmentDigest(VOTES, { ...fields, commitment })
      return {
        committed: { voter: key.address, commitment: toHex(commitment), tx: '0x02' },
        signature: signTyped(digest_, signer.key),
        vote: {
          place: BigInt(i),
          verdicts: toHex(packVerdicts(verdicts)),
          digest: toHex(bytes32('d')),
          salt: toHex(salt),
        },
      }
    },
  )
  const warned: string[] = []
  const chain = {
    params: { draws: DRAWS },
    network: { chainId: VOTES.chainId, contracts: { batches: BATCHES } },
    node: async () => null,
    batch: async () => ({
      attempt: 0,
      sampleSlot: 1n,
      challengeSlot: 2n,
      traceRoot: toHex(facts.challenge.traceRoot),
      attestation: toHex(digest),
    }),
    audits: async () => [],
    beaconValue: async (slot: bigint) => toHex(slot === 1n ? beacon : facts.challenge.beacon),
    committee: async () => MEMBERS.map(({ address }) => address),
    standing: async (_: string, voters: string[]) => ({ given: BigInt(voters.length), needed: 2n }),
    settlement: async () =>
      ballots === null ? null : { committed: cast.map((each) => each.committed), votes: cast.map(({ vote }) => vote) },
    commitments: async () => cast.map((each) => each.committed),
    commitmentSignatures: async () => new Map(cast.map((each) => [each.committed.commitment, each.signature])),
  }
  const checks = createBatchChecks({
    address: (consumer ?? CONSUMERS[0].address) as `0x${string}`,
    networkId: NETWORK,
    domains: { vouchers: ESCROW, votes: VOTES },
    chain: chain as unknown as BatchChecksComponents['chain'],
    streams: {
      open: async () =>
        ({ write: async () => {}, read: async () => bytes, close: async () => {} }) as unknown as Awaited<
          ReturnType<BatchChecksComponents['streams']['open']>
        >,
    },
    others: () => ['a peer'],
    library: { load: async () => world.model },
    committer,
    openVerifier: async () => verifier,
    tileDraws: TILE_DRAWS,
    log: { ...silent, warn: (facts: unknown) => void warned.push(String((facts as { event: string }).event)) },
  })
  const event = (name: string, args: object): void =>
    checks.apply({ name, args: { batchId: ID, ...args }, block: 1n, logIndex: 0, tx: '0x01' } as unknown as BatchEvent)
  for (const [index, { session, signer, fromSeq, toSeq, start, fee }] of world.ranges.entries())
    event('RangeAnchored', {
      index: BigInt(index),
      session: toHex(session),
      consumer: keyOf('somebody who pays').address,
      signer,
      fromSeq,
      toSeq,
      cumulative: start + fee,
      fee,
    })
  event('BatchAnchored', { provider: PROVIDER.address, root: toHex(world.tree.root.hash), total: world.tree.root.sum })
  event('AttestationCommitted', {})
  event('BatchSettled', { status: 5 })
  const done = (): boolean => {
    const { attestation: a, quorum: q } = checks.of(ID)
    return (a !== null && q !== null) || warned.filter((each) => each === 'check.failed').length > 0
  }
  for (const end = Date.now() + patienceMs; !done() && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 20))
  await checks.stop()
  return checks.of(ID)
}

test('an honest batch: every proof is verified and the votes are a quorum', async () => {
  const { attestation, quorum } = await checked()
  assert.equal(attestation?.verdicts, ['valid', 'valid'])
  assert.equal(attestation?.faults, [])
  assert.is(attestation?.jobs, 2)
  assert.ok(attestation!.proofs > 4 && attestation!.leaves > 4)
  assert.equal(quorum, { votes: 3, members: 3, ok: true })
})

test('an attestation with one bad proof is found forged, whatever the committee says of it', async () => {
  const bad = copyOf(message)
  const { segments } = bad.jobs[0]!.statements[0]!
  segments[0]!.proof[5]! ^= 1
  const { attestation, quorum } = await checked({ attestation: bad })
  assert.equal(attestation?.verdicts, ['forged', 'forged'])
  assert.is(attestation?.faults.length, 1)
  assert.is(quorum?.ok, true)
})

test('votes that are no quorum are not taken for one', async () => {
  const [a, b, c] = MEMBERS as [Key, Key, Key]
  const stranger = keyOf('stranger')
  const cases: [string, Ballot[]][] = [
    ['too few', [{ key: a }]],
    ['one member twice', [{ key: a }, { key: a }]],
    ['a stranger', [{ key: a }, { key: b }, { key: stranger }]],
    ['two findings', [{ key: a }, { key: b }, { key: c, verdicts: ['valid', 'tolerance'] }]],
    ['a vote of another attempt', [{ key: a }, { key: b }, { key: c, attempt: 1 }]],
    ['a commitment that its voter has not signed', [{ key: a }, { key: b }, { key: c, signer: stranger }]],
    ['another vote than was committed', [{ key: a }, { key: b }, { key: c, said: ['valid', 'tolerance'] }]],
    [
      'verdicts for other draws',
      MEMBERS.map((key) => ({ key, verdicts: ['valid', 'valid', 'valid'] as DrawVerdict[] })),
    ],
  ]
  for (const [what, votes] of cases) assert.is((await checked({ votes })).quorum?.ok, false, what)
  assert.equal((await checked({ votes: [{ key: a }, { key: b }] })).quorum, { votes: 2, members: 3, ok: true })
})

test('what cannot be looked at is not called checked', async () => {
  assert.is((await checked({ votes: null })).quorum, null)
  assert.is((await checked({ committed: bytes32('another'), patienceMs: 1_500 })).attestation, null)
})

test('batches without a receipt of ours are no concern of ours', async () => {
  assert.equal(await checked({ consumer: keyOf('nobody').address, patienceMs: 1_500 }), {
    attestation: null,
    quorum: null,
  })
})

test.run()
