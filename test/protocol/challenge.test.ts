import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toHex, u32 } from '../../protocol/bytes.ts'
import { type ChallengeContext, jobChallenge } from '../../protocol/challenge.ts'
import { errorCode } from '../../protocol/errors.ts'
import { FIELD_PRIME } from '../../protocol/field.ts'
import { hash } from '../../protocol/hash.ts'
import { contract } from '../../protocol/vectors/cases.ts'

const context: ChallengeContext = {
  chainId: 31337,
  batches: contract('batches'),
  batch: hash('batch'),
  provider: contract('provider'),
  traceRoot: hash('trace'),
  beacon: hash('beacon'),
}
const receipt = hash('receipt')
const manifest = Uint8Array.of(1, 85)
const base = jobChallenge(context, receipt, manifest)

const STAGES = [hash('stage 0'), hash('stage 1')]

/** Each thing that a challenge binds, changed alone. */
const CHANGED: Record<string, ReturnType<typeof jobChallenge>> = {
  'chain id': jobChallenge({ ...context, chainId: 1 }, receipt, manifest),
  contract: jobChallenge({ ...context, batches: contract('escrow') }, receipt, manifest),
  batch: jobChallenge({ ...context, batch: hash('other') }, receipt, manifest),
  provider: jobChallenge({ ...context, provider: contract('other') }, receipt, manifest),
  'trace root': jobChallenge({ ...context, traceRoot: hash('other') }, receipt, manifest),
  'beacon value (stale randomness)': jobChallenge({ ...context, beacon: hash('stale') }, receipt, manifest),
  'receipt (another job)': jobChallenge(context, hash('other'), manifest),
  manifest: jobChallenge(context, receipt, Uint8Array.of(1, 86)),
}

for (const [what, other] of Object.entries(CHANGED))
  test(`another ${what} gives another seed, ρ, γ, draws and bindings`, () => {
    assert.not.equal(other.seed, base.seed)
    assert.is.not(other.rho, base.rho)
    assert.is.not(other.random('tile/0', 2 ** 40), base.random('tile/0', 2 ** 40))
    assert.is.not(other.binding(0, 0), base.binding(0, 0))
    assert.is.not(other.gamma(0, STAGES), base.gamma(0, STAGES))
  })

test('the same context gives the same challenge, however its addresses are written', () => {
  const upper = { ...context, batches: `0x${context.batches.slice(2).toUpperCase()}` as const }
  assert.equal(jobChallenge(upper, receipt, manifest).seed, base.seed)
})

test('every statement and segment has a binding of its own, below 2^248', () => {
  const bindings = new Set<bigint>()
  for (let statement = 0; statement < 20; statement++)
    for (let segment = 0; segment < 20; segment++) bindings.add(base.binding(statement, segment))
  assert.is(bindings.size, 400)
  for (const binding of bindings) assert.ok(binding >= 0n && binding < 2n ** 248n)
})

test('ρ is a field element and never zero', () => {
  for (let i = 0; i < 100; i++) {
    const { rho } = jobChallenge(context, hash('receipt', u32(i)), manifest)
    assert.ok(rho > 0n && rho < FIELD_PRIME)
  }
})

test('γ follows from the statement and every stage commitment in order, is a field element and never zero', () => {
  const [first, second] = STAGES as [Uint8Array, Uint8Array]
  const others = [
    base.gamma(1, STAGES),
    base.gamma(0, [second, first]),
    base.gamma(0, [first]),
    base.gamma(0, [first, second, second]),
    base.gamma(0, [hash('another'), second]),
    base.gamma(0, []),
  ]
  assert.is(new Set([base.gamma(0, STAGES), ...others]).size, 7)
  for (const gamma of others) assert.ok(gamma > 0n && gamma < FIELD_PRIME)
  for (const length of [0, 31, 33])
    assert.throws(
      () => base.gamma(0, [new Uint8Array(length)]),
      (error: unknown) => errorCode(error) === 'STAGE_LENGTH',
    )
})

test('draws follow the challenge’s own seed', () => {
  const again = jobChallenge(context, receipt, manifest)
  const draw = (challenge: typeof base): number[] => [0, 1, 2, 3].map((i) => challenge.random(`tile/${i}`, 1_000_003))
  assert.equal(draw(again), draw(base))
  assert.is(toHex(again.seed), toHex(base.seed))
})

test.run()
