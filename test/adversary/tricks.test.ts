import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Fault } from '../../node/attestation/faults.ts'
import { idealProofs } from '../node/attestation-ideal.ts'
import { attest, image, makeWorld, verify } from '../node/attestation-world.ts'
import { TRICKS, type TrickName, tricks } from './tricks.ts'

/** Each cheat in one job, against the whole verification: refused, and for the reason that is expected. The network test plays the same. */

const { pool, verifier } = await idealProofs()

const EXPECTED: Record<Exclude<TrickName, 'honest' | 'silence'>, Fault[]> = {
  'layer-skipped': ['PROOF_PAIRING'],
  'four-bit-weights': ['PROOF_PAIRING'],
  'swapped-weights': ['PROOF_PAIRING'],
  'wrong-input': ['INPUT_ROOT'],
  'cached-output': ['INPUT_ROOT'],
  're-salted': ['TRACE_PATH'],
  'spliced-statements': ['SEGMENT_COUNT', 'ACCUMULATOR', 'PROOF_PAIRING'],
  'stale-randomness': ['TREE_COUNT', 'TREE_PATH', 'LEAF_COUNT', 'LEAF_PATH', 'STATEMENT_COUNT', 'PROOF_PAIRING'],
}

/** Two drawn jobs by one trick after an honest batch, from inputs that none of them shares. */
async function play(name: TrickName, beacon: string) {
  const all = tricks()
  const by = (trick: TrickName, from: number) =>
    makeWorld({ receipts: [2, 1], input: (i) => [image(from + i)], serve: all[trick].serve })
  const first = by('honest', 0)
  const honest = await attest(first, pool, { ...all.honest, beacon: 'before' })
  assert.equal((await verify(honest, verifier, first)).verdicts, ['valid', 'valid'])
  const world = by(name, 10)
  return verify(await attest(world, pool, { ...all[name], beacon }), verifier, world)
}

for (const [name, faults] of Object.entries(EXPECTED))
  test(`${name}: ${faults[0]}`, async () => {
    const { verdicts, findings } = await play(name as TrickName, 'now')
    assert.equal(verdicts, ['forged', 'forged'])
    for (const { fault } of findings) assert.ok(faults.includes(fault!), `${fault}`)
  })

test('the same machinery without a trick is valid', async () => {
  const { verdicts } = await play('honest', 'now')
  assert.equal(verdicts, ['valid', 'valid'])
  assert.equal(
    TRICKS.filter((name) => !Object.keys(EXPECTED).includes(name)),
    ['honest', 'silence'],
  )
})

test.run()
