import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'

test('an error carries code, cause and detail', () => {
  const cause = new Error('disk full')
  const error = new SinterError('STORE_WRITE', 'could not be stored', { cause, detail: { key: 'a' } })
  assert.is(error.code, 'STORE_WRITE')
  assert.is(error.cause, cause)
  assert.equal(error.detail, { key: 'a' })
  assert.is(new SinterError('A', 'b').cause, undefined)
})

test('codes are for branching: anything else has none', () => {
  assert.is(errorCode(new SinterError('BAD_HEX', 'no')), 'BAD_HEX')
  assert.is(errorCode(new RangeError('no')), 'UNEXPECTED')
  assert.is(errorCode('text'), 'UNEXPECTED')
  assert.is(errorCode(undefined), 'UNEXPECTED')
})

test('a description names the whole chain of causes', () => {
  const error = new SinterError('OUTER', 'it failed', {
    cause: new SinterError('INNER', 'why', { cause: new Error('root') }),
  })
  assert.is(describeError(error), 'OUTER: it failed (INNER: why (root))')
  assert.is(describeError('text'), 'text')
})

test('what libraries say over many lines is one line here', () => {
  const cause = new Error('HTTP request failed.\n\nURL: http://127.0.0.1\nVersion: viem', {
    cause: new Error('refused'),
  })
  assert.is(
    describeError(new SinterError('CHAIN_RPC', 'no answer', { cause })),
    'CHAIN_RPC: no answer (HTTP request failed. (refused))',
  )
})

test.run()
