import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { apiReference } from '../../node/build/api.ts'
import { assetPath } from '../../protocol/assets.ts'

test('node/API.md is what the docstrings say, and every export has one', () => {
  const reference = apiReference()
  assert.is(readFileSync(assetPath('node/API.md'), 'utf8'), reference, 'run `npm run api`')
  const sections = reference.split(/^## /m).slice(1)
  for (const name of ['connect', 'Consumer', 'Receipt', 'ReceiptStatus', 'Step', 'InputError', 'RequestOptions'])
    assert.ok(
      sections.some((section) => section.startsWith(`${name}\n`)),
      name,
    )
  const bare = sections.filter((section) => !section.includes('/**') && /^\w+\n\n```/.test(section))
  // Names for one thing, which say all there is to say.
  assert.equal(
    bare.map((section) => section.split('\n')[0]),
    [],
  )
})

test.run()
