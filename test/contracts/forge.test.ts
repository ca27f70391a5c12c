import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runForge } from './run.ts'

const results = await runForge()

test('forge found the Solidity tests', () => {
  assert.ok(results.length >= 138, `${results.length} tests`)
})

for (const { name, passed, reason } of results) {
  test(name, () => assert.ok(passed, reason))
}

test.run()
