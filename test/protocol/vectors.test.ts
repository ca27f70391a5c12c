import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'
import { VECTORS } from '../../protocol/vectors/generate.ts'

for (const [name, make] of Object.entries(VECTORS))
  test(`${name} is reproduced byte for byte`, () => {
    const stored = readFileSync(assetPath(`protocol/vectors/${name}`), 'utf8')
    assert.ok(`${JSON.stringify(make(), null, 1)}\n` === stored, 'the code and the file differ')
  })

test.run()
