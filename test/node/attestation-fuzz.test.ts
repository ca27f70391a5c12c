import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FAULTS } from '../../node/attestation/faults.ts'
import { equalBytes } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { AttestationSchema } from '../../protocol/gen/sinter_pb.js'
import { idealProofs, remembering } from './attestation-ideal.ts'
import { zooInput, zooModel } from './attestation-models.ts'
import { attest, copyOf, makeWorld, verify, type World } from './attestation-world.ts'

/**
 * Random damage. Everything in an attestation is bound to something: whatever changes, and still decodes, must cost the
 * draw it belongs to, and nothing may be thrown.
 */

const ideal = await idealProofs()
const verifier = remembering(ideal.verifier)
const CLOSED = new Set<string | null>([...FAULTS, null])

/** An honest attestation, and what a damaged copy of it comes to. */
async function damaged(world: World) {
  const honest = await attest(world, ideal.pool)
  const original = encode(AttestationSchema, honest.message)
  const judge = async (bytes: Uint8Array): Promise<'undecodable' | 'same' | string[]> => {
    const message = decode(AttestationSchema, bytes)
    if (message === null) return 'undecodable'
    if (equalBytes(encode(AttestationSchema, message), original)) return 'same'
    const { verdicts, findings } = await verify({ facts: honest.facts, message }, verifier, world)
    assert.is(verdicts.length, 2)
    for (const { fault, verdict } of findings)
      assert.ok(CLOSED.has(fault) && (fault === null) === (verdict === 'valid'))
    return verdicts
  }
  return { honest, original, judge }
}

const zoo = await zooModel()
const input = (i: number) => [zooInput(i)]
const digits = await damaged(makeWorld())
const staged = await damaged(makeWorld({ model: zoo, input }))
const open = await damaged(makeWorld({ model: zoo, input, policy: 'open' }))
const { original, judge } = digits

const at = fc.nat(original.length - 1)

test('a changed byte never leaves both draws valid', async () => {
  const seen = { undecodable: 0, judged: 0 }
  await fc.assert(
    fc.asyncProperty(at, fc.integer({ min: 1, max: 255 }), async (place, change) => {
      const bytes = original.slice()
      bytes[place]! ^= change
      const result = await judge(bytes)
      if (typeof result === 'string') seen.undecodable++
      else {
        seen.judged++
        assert.ok(result.includes('forged'), `byte ${place}: ${result}`)
      }
    }),
    { numRuns: 400, seed: 1 },
  )
  assert.ok(seen.judged > 100, `only ${seen.judged} changes decoded`)
})

test('spliced, cut and repeated bytes never leave both draws valid', async () => {
  await fc.assert(
    fc.asyncProperty(at, at, fc.nat(400), async (from, to, length) => {
      const piece = original.slice(from, from + length)
      for (const bytes of [
        Uint8Array.from([...original.subarray(0, to), ...piece, ...original.subarray(to)]),
        Uint8Array.from([...original.subarray(0, to), ...piece, ...original.subarray(to + piece.length)]),
        Uint8Array.from([...original.subarray(0, from), ...original.subarray(from + length)]),
      ]) {
        const result = await judge(bytes)
        if (typeof result !== 'string') assert.ok(result.includes('forged'))
      }
    }),
    { numRuns: 100, seed: 2 },
  )
})

type Node = Record<string, unknown>

/** Every field of the message tree that holds bytes, a number, a flag or a list, as a function that changes it. */
function changes(node: unknown, into: ((random: number) => void)[] = []): ((random: number) => void)[] {
  for (const [field, value] of Object.entries(node as Node)) {
    if (field.startsWith('$')) continue
    const target = node as Node
    if (value instanceof Uint8Array)
      into.push((random) => {
        const lengths = [0, 1, 31, 32, 33, 256, value.length]
        const bytes = new Uint8Array(lengths[random % lengths.length]!)
        bytes.set(value.subarray(0, bytes.length))
        if (bytes.length > 0) bytes[random % bytes.length]! ^= 1 + (random % 255)
        target[field] = bytes
      })
    else if (typeof value === 'number')
      into.push((random) => {
        target[field] = [value + 1, 0, 2 ** 32 - 1, 2 ** 31, random][random % 5]!
      })
    else if (typeof value === 'boolean')
      into.push(() => {
        target[field] = !value
      })
    else if (Array.isArray(value)) {
      if (value.length > 0)
        into.push((random) => {
          const list = [...value]
          if (random % 3 === 0) list.push(list[random % list.length])
          else if (random % 3 === 1) list.splice(random % list.length, 1)
          else list.unshift(list.pop())
          target[field] = list
        })
      changes(value, into)
    } else if (typeof value === 'object' && value !== null) changes(value, into)
  }
  return into
}

for (const [name, { honest, judge: judgeOne }, runs] of [
  ['of proofs', digits, 400],
  ['with staged statements', staged, 250],
  ['that shows its jobs', open, 150],
] as const)
  test(`any one field changed of a message ${name} costs a draw, or the concession that it makes`, async () => {
    const count = changes(copyOf(honest.message)).length
    assert.ok(count > 30)
    await fc.assert(
      fc.asyncProperty(fc.nat(count - 1), fc.nat(2 ** 31 - 1), async (which, random) => {
        const message = copyOf(honest.message)
        changes(message)[which]!(random)
        const result = await judgeOne(encode(AttestationSchema, message))
        if (typeof result !== 'string') assert.ok(result.includes('forged'), `field ${which}`)
      }),
      { numRuns: runs, seed: 3 },
    )
  })

test.run()
