import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { printable } from '../../node/printable.ts'

test('what strangers name their nodes stays on its line and moves nothing', () => {
  assert.is(printable('/encoder/größe:0 ×2'), '/encoder/größe:0 ×2')
  assert.is(printable('\x1b[2Jred\ncoverage: 100%'), '\\u{1b}[2Jred\\u{a}coverage: 100%')
  assert.is(printable('a\u202eb\u2028c'), 'a\\u{202e}b\\u{2028}c')
  assert.is(printable('x'.repeat(1e6)).length, 4_001)
})

test.run()
