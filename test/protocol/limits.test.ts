import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_ATTESTATION_BYTES, MAX_FIELDS, MAX_TOPIC_BYTES, TOPICS, topicName } from '../../protocol/limits.ts'

test('every topic has a size and a name of its own', () => {
  assert.equal(Object.keys(MAX_TOPIC_BYTES).sort(), [...TOPICS].sort())
  assert.equal(
    TOPICS.map((topic) => topicName('devnet-01020304', topic)),
    ['/sinter/devnet-01020304/offers/1', '/sinter/devnet-01020304/attestations/1', '/sinter/devnet-01020304/votes/1'],
  )
  assert.is.not(topicName('a', 'votes'), topicName('b', 'votes'))
})

test('an attestation of the largest size with hashes in it has fewer than MAX_FIELDS fields', () => {
  // The leanest: sum-tree steps of three fields in 2 + 34 + 18 bytes.
  assert.ok((MAX_ATTESTATION_BYTES / 54) * 3 < MAX_FIELDS)
})

test.run()
