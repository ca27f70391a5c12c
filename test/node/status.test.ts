import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { describeStrikes } from '../../node/commands/status.ts'

const record = { score: 6_907_755n, graceUntil: 1_000n, excludedUntil: 2_000n, strikes: 3n }

test('a provider reads how far it is from an exclusion, and when it is over', () => {
  assert.is(
    describeStrikes(record, 13_815_510, 2_000n),
    '3 receipts off tolerance so far, 50% of the way to an exclusion',
  )
  const text = describeStrikes(record, 13_815_510, 1_999n)
  assert.match(text, /^excluded until 1970-01-01T00:33:20.000Z: .*off tolerance too often \(3 receipts/)
  assert.match(text, /batches are taken until 1970-01-01T00:16:40.000Z$/)
})

test.run()
