import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toHex } from '../../protocol/bytes.ts'
import { type VoteFields, voteCommitment } from '../../protocol/eip712.ts'
import { errorCode } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import { person } from '../../protocol/vectors/cases.ts'
import {
  consequence,
  type DrawVerdict,
  MAX_DRAWS,
  ofOneMind,
  packVerdicts,
  voterSeed,
  voteSalt,
} from '../../protocol/vote.ts'

test('verdicts are one byte per draw, then zeros', () => {
  const all: DrawVerdict[] = ['valid', 'tolerance', 'input', 'untraced', 'forged']
  assert.is(toHex(packVerdicts(all)), `0x0102030405${'00'.repeat(27)}`)
  assert.equal(packVerdicts([]), new Uint8Array(32))
  assert.equal(packVerdicts(new Array<DrawVerdict>(MAX_DRAWS).fill('valid')), new Uint8Array(32).fill(1))
})

test('more draws than a word has bytes are refused', () => {
  try {
    packVerdicts(new Array<DrawVerdict>(MAX_DRAWS + 1).fill('valid'))
    assert.unreachable()
  } catch (error) {
    assert.is(errorCode(error), 'TOO_MANY_DRAWS')
  }
})

test('a commitment binds the whole vote, its salt and its voter', () => {
  const vote: VoteFields = {
    batch: hash('batch'),
    attempt: 0,
    attestation: hash('attestation'),
    verdicts: packVerdicts(['valid']),
    digest: hash('digest'),
  }
  const salt = hash('salt')
  const [a, b] = [person('a').address, person('b').address]
  const commitments = [
    voteCommitment(vote, salt, a),
    voteCommitment({ ...vote, batch: hash('other') }, salt, a),
    voteCommitment({ ...vote, attempt: 1 }, salt, a),
    voteCommitment({ ...vote, attestation: hash('other') }, salt, a),
    voteCommitment({ ...vote, verdicts: packVerdicts(['forged']) }, salt, a),
    voteCommitment({ ...vote, digest: hash('other') }, salt, a),
    voteCommitment(vote, hash('other'), a),
    voteCommitment(vote, salt, b),
  ].map(toHex)
  assert.is(new Set(commitments).size, commitments.length)
})

test('a salt is the same again for the same vote, and another for any other or anybody else', () => {
  const [one, two] = [person('a').key, person('b').key]
  const about = { batch: hash('batch'), attempt: 0, attestation: hash('attestation') }
  const salts = [
    voteSalt(one, about),
    voteSalt(one, { ...about, attempt: 1 }),
    voteSalt(one, { ...about, batch: hash('other') }),
    voteSalt(one, { ...about, attestation: hash('other') }),
    voteSalt(two, about),
  ].map(toHex)
  assert.is(new Set(salts).size, salts.length)
  assert.is(toHex(voteSalt(one, { ...about })), salts[0])
})

test('votes settle together when they are equal, or when each finds a draw forged', () => {
  const of = (...verdicts: DrawVerdict[]): string | null => consequence(packVerdicts(verdicts), 4)
  const valid = of('valid', 'valid', 'valid', 'valid')
  assert.is(valid, of('valid', 'valid', 'valid', 'valid'))
  assert.is.not(valid, of('valid', 'valid', 'valid', 'tolerance'))
  assert.is.not(valid, of('valid', 'valid', 'valid', 'forged'))
  assert.is.not(valid, of('valid', 'valid', 'valid', 'input'))
  assert.is(of('forged', 'forged', 'forged', 'forged'), of('valid', 'tolerance', 'valid', 'forged'))
})

test('a vote that the contract would refuse settles with no other', () => {
  const draws = 4
  const word = (...codes: number[]): Uint8Array =>
    Uint8Array.of(...codes, ...new Array<number>(32 - codes.length).fill(0))
  assert.ok(consequence(word(1, 2, 3, 5), draws))
  for (const [name, codes] of Object.entries({
    'a draw without verdict': [1, 1, 1, 0],
    'untraced, which is not voted': [1, 1, 1, 4],
    'a byte that means nothing': [1, 1, 1, 6],
    'a verdict behind the last draw': [1, 1, 1, 1, 1],
    'the same beside a forged draw': [5, 1, 1, 1, 0, 1],
  }))
    assert.is(consequence(word(...codes), draws), null, name)
  assert.ok(consequence(new Uint8Array(32).fill(1), MAX_DRAWS))
})

test('off tolerance, a first committee has to be of one mind', () => {
  const off = packVerdicts(['valid', 'tolerance'])
  assert.not(ofOneMind(off, 0, 12, 13))
  assert.ok(ofOneMind(off, 0, 13, 13))
  assert.ok(ofOneMind(off, 1, 19, 27))
  assert.ok(ofOneMind(packVerdicts(['valid', 'input']), 0, 9, 13))
  assert.ok(ofOneMind(packVerdicts(['forged', 'tolerance']), 0, 9, 13))
})

test('every voter has a combination of its own for every challenge', () => {
  const seeds = [
    voterSeed(hash('seed'), `0x${'11'.repeat(20)}`),
    voterSeed(hash('seed'), `0x${'12'.repeat(20)}`),
    voterSeed(hash('other'), `0x${'11'.repeat(20)}`),
  ].map(toHex)
  assert.is(new Set(seeds).size, 3)
})

test.run()
