import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'
import { concat, fromHex, type Hex } from '../../protocol/bytes.ts'
import { localRounds, mapToG1, roundPoint, verifyRound } from '../../protocol/drand.ts'
import { errorCode } from '../../protocol/errors.ts'

type Round = { round: string; point: Hex[]; signature: Hex[] }
type Source = { publicKey: Hex[]; rounds: Round[] }
const vectors = JSON.parse(readFileSync(assetPath('protocol/vectors/drand.json'), 'utf8')) as {
  evmnet: Source
  local: Source & { secret: string }
  outsideSubgroup: Hex[]
}
const join = (words: Hex[]): Uint8Array => concat(...words.map(fromHex))
const { evmnet, local } = vectors
const publicKey = join(evmnet.publicKey)
const [first] = evmnet.rounds

/** As an implementation that is not ours (randa-mu/bls-solidity's test data) gives it for round 9337227. */
const PUBLISHED_POINT =
  '0x1626082c3dd0751bdaaf8c3e709b5dd7cdedf45d4e81a5aa3e270f1e78924b322bf29ab3af54dfe3c053ad4efa93db05d3586368463e9d7334c7ba61f6f4e955'

test('rounds that drand’s evmnet has published verify, and only as what they are', () => {
  for (const { round, signature } of evmnet.rounds) {
    assert.ok(verifyRound({ publicKey }, BigInt(round), join(signature)), round)
    assert.not(verifyRound({ publicKey }, BigInt(round) + 1n, join(signature)))
    assert.not(verifyRound({ publicKey: join(local.publicKey) }, BigInt(round), join(signature)))
  }
  assert.equal(roundPoint(9_337_227n), fromHex(PUBLISHED_POINT))
})

test('a local source signs rounds that verify under its key', () => {
  const source = localRounds(BigInt(local.secret))
  assert.equal(source.publicKey, join(local.publicKey))
  for (const { round, signature } of local.rounds.slice(0, 3)) {
    assert.equal(source.sign(BigInt(round)), join(signature))
    assert.ok(verifyRound(source, BigInt(round), join(signature)))
  }
})

test('what is no point is no signature and no key', () => {
  const good = join(first!.signature)
  const round = BigInt(first!.round)
  const flipped = Uint8Array.from(good, (byte, i) => (i === 63 ? byte ^ 1 : byte))
  for (const bad of [good.subarray(1), concat(good, good), new Uint8Array(64), flipped, new Uint8Array(64).fill(0xff)])
    assert.not(verifyRound({ publicKey }, round, bad))
  const keys = [new Uint8Array(128), join(vectors.outsideSubgroup), publicKey.subarray(0, 127), publicKey.toReversed()]
  for (const key of keys) {
    try {
      verifyRound({ publicKey: key }, round, good)
      assert.unreachable('a key that is none was taken')
    } catch (error) {
      assert.is(errorCode(error), 'DRAND_POINT')
    }
  }
})

test('the map has an image for every element, its exceptional ones too', () => {
  const p = 21888242871839275222246405745257275088696311157297823662689037894645226208583n
  const half = (p + 1n) / 2n
  for (const u of [0n, 1n, half, p - half, p - 1n, 12_345n]) {
    const { x, y } = mapToG1(u)
    assert.is((y * y - x * x * x - 3n) % p, 0n)
    assert.is(y & 1n, u & 1n)
  }
})

test.run()
