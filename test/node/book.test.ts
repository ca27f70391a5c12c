import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BatchEvent } from '../../node/chain/watch.ts'
import { createBallotBox, type Recorded } from '../../node/stages/ballot.ts'
import { createBatchBook } from '../../node/stages/book.ts'
import { bounded } from '../../node/stages/seen.ts'
import { type Hex, toHex } from '../../protocol/bytes.ts'
import { type VoteFields, voteCommitment } from '../../protocol/eip712.ts'
import { packVerdicts } from '../../protocol/vote.ts'
import { bytes32, keyOf, PROVIDER } from './attestation-world.ts'

const ID = toHex(bytes32('batch'))
const event = (name: string, args: object): BatchEvent =>
  ({ name, args: { batchId: ID, ...args }, block: 7n, logIndex: 0, tx: ID }) as unknown as BatchEvent
const range = (index: bigint, cumulative: bigint, fee: bigint): BatchEvent =>
  event('RangeAnchored', {
    index,
    session: toHex(bytes32(`session ${index}`)),
    consumer: keyOf('consumer').address,
    signer: keyOf('voucher key').address,
    ...{ fromSeq: 4n, toSeq: 9n, cumulative, fee },
  })
const anchored = event('BatchAnchored', { provider: PROVIDER.address, root: toHex(bytes32('root')), total: 90n })

test('the book knows a batch by its events, in either order and more than once', () => {
  for (const events of [
    [range(0n, 100n, 60n), range(1n, 30n, 30n), anchored],
    [anchored, range(1n, 30n, 30n), range(0n, 100n, 60n), range(0n, 100n, 60n), anchored],
  ]) {
    const book = createBatchBook()
    for (const each of events) book.apply(each)
    const batch = book.get(bytes32('batch'))!
    assert.equal(batch, book.get(ID))
    assert.equal([batch.provider, batch.total, batch.block], [PROVIDER.address, 90n, 7n])
    assert.equal(
      batch.ranges.map(({ session, start, fee }) => [toHex(session), start, fee]),
      [
        [toHex(bytes32('session 0')), 40n, 60n],
        [toHex(bytes32('session 1')), 0n, 30n],
      ],
    )
    // Receipts are acknowledged by the voucher key, whoever pays.
    assert.ok(batch.ranges.every(({ signer }) => signer === keyOf('voucher key').address))
    assert.is(book.open().length, 1)
  }
})

test('what a fork undid is forgotten, and comes again when it is mined again', () => {
  const book = createBatchBook()
  assert.is(book.oldest(), null)
  book.apply(range(0n, 100n, 60n))
  book.apply(anchored)
  assert.is(book.oldest(), 7n)
  book.undo(8n)
  assert.is(book.open().length, 1)
  book.undo(7n)
  assert.equal([book.open(), book.oldest()], [[], null])
  book.apply(range(0n, 90n, 90n))
  book.apply(anchored)
  assert.equal(
    book.get(ID)!.ranges.map(({ fee }) => fee),
    [90n],
  )
})

test('ranges of a batch that is not anchored yet make no batch, and a closed batch is forgotten for good', () => {
  const book = createBatchBook()
  book.apply(range(0n, 100n, 60n))
  assert.equal([book.get(ID), book.open()], [null, []])
  book.apply(anchored)
  book.close(ID)
  book.apply(anchored)
  assert.equal(book.open(), [])
  assert.is(book.get(ID), null)
  assert.is(book.get(`0x${'00'.repeat(32)}` as Hex), null)
})

test('a ballot box holds one commitment and one vote of each voter, by batch and attempt', () => {
  const box = createBallotBox()
  const batch = bytes32('batch')
  const place = (name: string, attempt = 0) => ({ voter: keyOf(name).address, batch, attempt })
  const [signature, attestation] = [bytes32('signature'), bytes32('attestation')]
  const commit = (name: string, commitment: string, attempt = 0, of = attestation) =>
    box.record({
      kind: 'commitment',
      ...place(name, attempt),
      attestation: of,
      commitment: bytes32(commitment),
      signature,
    })
  commit('a', 'first')
  commit('a', 'second')
  commit('b', 'first')
  commit('c', 'first', 1)
  assert.equal(box.commitment(batch, 0, place('a').voter), { attestation, commitment: bytes32('first'), signature })
  assert.equal(
    [0, 1, 2].map((attempt) => box.commitments(batch, attempt).size),
    [2, 1, 0],
  )
  assert.is(box.commitment(bytes32('other'), 0, place('a').voter), null)
  // What the chain has counts, and is not signed for us; where it is what we know, we keep the signature.
  box.adopt(batch, 0, attestation, [
    { voter: place('a').voter, commitment: toHex(bytes32('second')) },
    { voter: place('b').voter, commitment: toHex(bytes32('first')) },
  ])
  assert.equal(box.commitment(batch, 0, place('a').voter), {
    attestation,
    commitment: bytes32('second'),
    signature: new Uint8Array(),
  })
  assert.equal(box.commitment(batch, 0, place('b').voter), { attestation, commitment: bytes32('first'), signature })
  // A fork has put another attestation in its place: what is said of that replaces what was said of the first.
  commit('b', 'third', 0, bytes32('another'))
  assert.equal(box.commitment(batch, 0, place('b').voter)?.commitment, bytes32('third'))
})

/** What stands on chain of a vote under the salt that bears the voter's name. */
const committedTo = (name: string, vote: VoteFields): Recorded => ({
  voter: keyOf(name).address,
  commitment: toHex(voteCommitment(vote, bytes32(name), keyOf(name).address)),
})

test('the majority is of votes that settle together, whatever the digests', () => {
  const box = createBallotBox()
  const batch = bytes32('batch')
  const recorded: Recorded[] = []
  const reveal = (name: string, verdicts: Uint8Array, of = batch, attempt = 0) => {
    const vote = { batch: of, attempt, attestation: bytes32('attestation'), verdicts, digest: bytes32(name) }
    box.record({ kind: 'reveal', voter: keyOf(name).address, batch: of, attempt, vote, salt: bytes32(name) })
    const known = recorded.some(({ voter }) => voter === keyOf(name).address)
    if (of === batch && attempt === 0 && !known) recorded.push(committedTo(name, vote))
  }
  const yes = packVerdicts(['valid', 'valid'])
  const off = packVerdicts(['valid', 'tolerance'])
  assert.equal(box.majority(batch, 0, 2, recorded), [])
  reveal('a', off)
  reveal('b', yes)
  reveal('c', yes)
  reveal('c', yes)
  reveal('d', off, batch, 1)
  reveal('e', off, bytes32('other'))
  const voters = () => box.majority(batch, 0, 2, recorded).map(({ voter }) => voter)
  assert.equal(voters(), [keyOf('b').address, keyOf('c').address])
  // A vote that is not what stands on chain, or nothing that stands there, settles nothing.
  const [ofB] = recorded.splice(1, 1)
  assert.equal(voters(), [keyOf('a').address])
  recorded.push({ ...ofB!, commitment: toHex(bytes32('other')) })
  assert.is(voters().length, 1)
  assert.is(box.revealed(batch, 0).length, 3)
  box.forget(batch)
  assert.equal([box.revealed(batch, 0), box.revealed(batch, 1)], [[], []])
  assert.is(box.revealed(bytes32('other'), 0).length, 1)
})

test('forged is forged, on whichever draw; a vote that the contract refuses spoils no quorum', () => {
  const box = createBallotBox()
  const batch = bytes32('batch')
  const recorded: Recorded[] = []
  const reveal = (name: string, verdicts: Uint8Array) => {
    const vote = { batch, attempt: 0, attestation: bytes32('attestation'), verdicts, digest: bytes32(name) }
    box.record({ kind: 'reveal', voter: keyOf(name).address, batch, attempt: 0, vote, salt: bytes32(name) })
    recorded.push(committedTo(name, vote))
  }
  reveal('a', packVerdicts(['forged', 'valid']))
  reveal('b', packVerdicts(['valid', 'valid']))
  reveal('c', packVerdicts(['forged', 'forged']))
  reveal('d', packVerdicts(['forged', 'untraced']))
  reveal('e', packVerdicts(['forged', 'valid', 'valid']))
  reveal('f', Uint8Array.of(5, 9, ...new Uint8Array(30)))
  assert.equal(
    box.majority(batch, 0, 2, recorded).map(({ voter }) => voter),
    [keyOf('a').address, keyOf('c').address],
  )
})

test('a bounded memory forgets the oldest, and what is set again is young again', () => {
  const memory = bounded<number>(2)
  memory.set(bytes32('a'), 1)
  memory.set(bytes32('b'), 2)
  memory.set(bytes32('a'), 3)
  memory.set(bytes32('c'), 4)
  assert.equal(
    ['a', 'b', 'c'].map((name) => memory.get(bytes32(name))),
    [3, null, 4],
  )
  assert.equal(
    ['a', 'b', 'c'].map((name) => memory.has(bytes32(name))),
    [true, false, true],
  )
})

test.run()
