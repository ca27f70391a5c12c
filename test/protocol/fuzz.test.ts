import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'
import { fromHex } from '../../protocol/bytes.ts'
import { encode } from '../../protocol/codec.ts'
import { SIGNED, type SignedType, seal } from '../../protocol/envelope.ts'
import { EnvelopeSchema } from '../../protocol/gen/sinter_pb.js'
import { hash } from '../../protocol/hash.ts'
import { signDigest } from '../../protocol/signature.ts'
import { type Case, person } from '../../protocol/vectors/cases.ts'
import { messageBytes, RULES, receiver } from './replay.ts'

const vectors = JSON.parse(readFileSync(assetPath('protocol/vectors/rules.json'), 'utf8')) as {
  networkId: string
  cases: Case[]
}
const networkId = fromHex(vectors.networkId)
const SMALL = 20_000

/** Messages of a rule that some receiver accepted, with the context it had. */
function accepted(rule: string): { bytes: Uint8Array; context: Record<string, unknown> }[] {
  return vectors.cases
    .filter((each) => each.rule === rule)
    .flatMap(({ context, steps }) => {
      let current = context
      return steps.flatMap((step) => {
        current = { ...current, ...step.context }
        if (step.expect !== 'accept') return []
        const bytes = messageBytes(step.bytes)
        return bytes.length < SMALL ? [{ bytes, context: current }] : []
      })
    })
}

type Edit = { at: number; kind: 'flip' | 'drop' | 'insert' | 'double'; value: number }
const edits = fc.array(
  fc.record<Edit>({
    at: fc.nat(),
    kind: fc.constantFrom('flip', 'drop', 'insert', 'double'),
    value: fc.integer({ min: 1, max: 255 }),
  }),
  { minLength: 1, maxLength: 4 },
)

function mutate(bytes: Uint8Array, changes: Edit[]): Uint8Array {
  const out = [...bytes]
  for (const { at, kind, value } of changes) {
    const place = at % (out.length + 1)
    if (kind === 'flip' && place < out.length) out[place]! ^= value
    else if (kind === 'drop') out.splice(place, value % 8)
    else if (kind === 'insert') out.splice(place, 0, value)
    else out.splice(place, 0, ...out.slice(place, place + (value % 40)))
  }
  return Uint8Array.from(out)
}

const isVerdict = (verdict: { action: string; code?: string }): boolean =>
  verdict.action === 'accept' || (['ignore', 'reject'].includes(verdict.action) && /^[A-Z_]+$/.test(verdict.code ?? ''))

for (const rule of RULES) {
  const samples = accepted(rule)

  test(`${rule}: random bytes get a verdict`, async () => {
    const [{ context }] = samples as [(typeof samples)[number]]
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const verdict = await receiver(rule, networkId)(bytes, context)
        assert.ok(isVerdict(verdict))
        assert.is.not(verdict.action, 'accept')
      }),
      { numRuns: 150 },
    )
  })

  test(`${rule}: a changed message gets a verdict, and is not taken for its author’s`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), edits, async (pick, changes) => {
        const { bytes, context } = samples[pick % samples.length]!
        const changed = mutate(bytes, changes)
        const verdict = await receiver(rule, networkId)(changed, context)
        assert.ok(isVerdict(verdict))
        // An offer names no author: other bytes are somebody else's offer. Everything else is bound to a known key.
        const same = changed.length === bytes.length && changed.every((byte, i) => byte === bytes[i])
        if (rule !== 'offer' && !same) assert.is.not(verdict.action, 'accept')
      }),
      { numRuns: 120 },
    )
  })
}

const TYPES = Object.keys(SIGNED) as SignedType[]
const author = person('fuzzer')

test('signed nonsense gets a verdict from every rule', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...TYPES), fc.uint8Array({ maxLength: 120 }), async (type, payload) => {
      const signature = signDigest(hash(`envelope/${type}`, networkId, payload), author.key)
      const bytes = encode(EnvelopeSchema, { payload, signature })
      const [{ context }] = accepted(type) as [ReturnType<typeof accepted>[number]]
      assert.ok(isVerdict(await receiver(type, networkId)(bytes, context)))
    }),
    { numRuns: 150 },
  )
})

test('a message of one type is never accepted as another', async () => {
  for (const as of TYPES)
    for (const type of TYPES) {
      if (as === type) continue
      const { bytes } = accepted(as)[0]!
      const [{ context }] = accepted(type) as [ReturnType<typeof accepted>[number]]
      const verdict = await receiver(type, networkId)(bytes, context)
      assert.is.not(verdict.action, 'accept', `${as} as ${type}`)
    }
})

test('empty messages that are well signed get a verdict from every rule', async () => {
  for (const type of TYPES) {
    const { bytes } = seal(type, networkId, author.key, {})
    const [{ context }] = accepted(type) as [ReturnType<typeof accepted>[number]]
    const verdict = await receiver(type, networkId)(bytes, context)
    assert.ok(isVerdict(verdict) && verdict.action !== 'accept', type)
  }
})

test.run()
