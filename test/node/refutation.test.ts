/** Which faults of an attestation a voter can carry to the chain, and what it takes there. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { refutationOf } from '../../node/attestation/refutation.ts'
import type { Batch } from '../../node/chain/views.ts'
import { createRefuter, type RefuteComponents } from '../../node/stages/refute.ts'
import { type Hex, toHex } from '../../protocol/bytes.ts'
import { attestationParts, type Claim, signalsHash } from '../../protocol/claims.ts'
import { encode } from '../../protocol/codec.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { SinterError } from '../../protocol/errors.ts'
import { AttestationSchema } from '../../protocol/gen/sinter_pb.js'
import { idealProofs } from './attestation-ideal.ts'
import { attest, copyOf, makeWorld, NETWORK, silent, verify } from './attestation-world.ts'

const { pool, verifier } = await idealProofs()
const world = makeWorld()
const honest = await attest(world, pool)
type Message = Payload<'attestation'>

/** What a voter can show of a changed copy, and the claim that it shows. */
async function shown(change: (jobs: Message['jobs']) => void, facts = honest.facts) {
  const message = copyOf(honest.message)
  change(message.jobs)
  const { claims } = attestationParts(encode(AttestationSchema, message), NETWORK)
  const { findings } = await verify({ facts, message }, verifier, world)
  const refutation = refutationOf(facts, claims, findings)
  return { refutation, claim: refutation === null ? null : claims[refutation.claim]! }
}
const ofJob = (kind: Claim['kind'], job: number, claim: Claim | null): boolean =>
  claim?.kind === kind && claim.job === job

test('nothing is shown of an honest attestation', async () => {
  assert.is((await shown(() => {})).refutation, null)
})

test('a receipt that is not in the sum tree, or was not drawn, is shown by its place', async () => {
  const moved = await shown((jobs) => {
    jobs[1]!.index++
  })
  assert.ok(ofJob('place', 1, moved.claim))
  const bare = await shown((jobs) => {
    jobs[0]!.receipt = undefined as never
  })
  assert.ok(ofJob('place', 0, bare.claim))
  const points = honest.facts.points.slice(1)
  const other = await shown(() => {}, { ...honest.facts, points })
  assert.ok(ofJob('place', 0, other.claim))
})

test('trees of another trace are shown by their path', async () => {
  const { claim } = await shown((jobs) => {
    jobs[1]!.tracePath[0]![5]! ^= 1
  })
  assert.ok(ofJob('trace', 1, claim))
  assert.ok(
    ofJob(
      'trace',
      0,
      (
        await shown((jobs) => {
          jobs[0]!.tensors[0]! ^= 1
        })
      ).claim,
    ),
  )
})

test('a proof that is none is shown with the signals that it was claimed for', async () => {
  const { refutation, claim } = await shown((jobs) => {
    jobs[1]!.statements[2]!.segments[0]!.proof[9]! ^= 1
  })
  assert.ok(ofJob('proof', 1, claim))
  if (refutation?.fault !== 'proof' || claim?.kind !== 'proof') throw new Error('no proof is shown')
  assert.equal([claim.statement, claim.segment], [2, 0])
  assert.equal(signalsHash(refutation.kind, refutation.signals), claim.signals)
})

test('what the chain cannot see is not shown to it: signals that are another’s, leaves, statements', async () => {
  const segment = (jobs: Message['jobs']) => jobs[0]!.statements[0]!.segments[0]!
  for (const change of [
    (jobs: Message['jobs']) => {
      segment(jobs).signals[0]! ^= 1
    },
    (jobs: Message['jobs']) => {
      segment(jobs).signals[0]! ^= 1
      segment(jobs).proof[0]! ^= 1
    },
    (jobs: Message['jobs']) => {
      jobs[0]!.leaves[0]!.leaf[31]! ^= 1
    },
    (jobs: Message['jobs']) => void jobs[0]!.statements.pop(),
  ])
    assert.is((await shown(change)).refutation, null)
})

test('a trace that leads nowhere may be a canary, whose maker comes first; another forgery is shown at once', async () => {
  const id = `0x${'11'.repeat(32)}` as Hex
  for (const [from, change] of [
    [401n, (jobs: Message['jobs']) => jobs[1]!.tracePath[0]!],
    [100n, (jobs: Message['jobs']) => jobs[1]!.statements[2]!.segments[0]!.proof],
  ] as const) {
    const message = copyOf(honest.message)
    change(message.jobs)[5]! ^= 1
    const digest = attestationParts(encode(AttestationSchema, message), NETWORK).digest
    const batch = { status: 'paid', attestation: toHex(digest) } as Batch
    const state = { now: 100n, shown: 0 }
    const refuter = createRefuter({
      networkId: NETWORK,
      chain: {
        params: { seatWindow: 600 },
        head: async () => ({ timestamp: state.now }),
        verdictBench: async () => ({ voters: [], until: 700n }),
        batch: async () => batch,
        refuted: async () => false,
        refute: async () => ({ gasUsed: BigInt(++state.shown) }),
        unseat: () => Promise.reject(new SinterError('CHAIN_NothingLeft', 'none')),
      } as unknown as RefuteComponents['chain'],
      voter: { check: () => verify({ facts: honest.facts, message }, verifier, world), hasCondemned: async () => true },
      log: silent,
    })
    const refute = (overlooked = true) => refuter.refute(id, batch, honest.facts, message, overlooked)
    for (state.now of [100n, 400n, 401n]) {
      await refute()
      assert.is(state.shown > 0, state.now >= from, `${state.now}`)
      if (state.shown > 0) break
      assert.ok(await refuter.objects(id))
    }
    assert.is(await refuter.objects(id), false)
  }
})

test.run()
