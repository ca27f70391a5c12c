import { createHmac } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hash } from '../../protocol/hash.ts'
import { leafSalt } from '../../protocol/salt.ts'
import type { Tree } from '../../protocol/statement.ts'

const jobKey = hash('job-key')

test('a salt is the first 31 bytes of HMAC-SHA256 under the job key', () => {
  const place = Buffer.from([0, 0, 1, 2, 3, 0, 1, 0, 0])
  const mac = createHmac('sha256', jobKey).update('sinter/1/salt').update(place).digest('hex')
  assert.is(leafSalt(jobKey, 0x0102, 3, 0x10000), BigInt(`0x${mac.slice(0, 62)}`))
})

test('no two leaves of a job, and no two jobs, share a salt', () => {
  const salts = new Set<bigint>()
  for (const key of [jobKey, hash('other')])
    for (const tensor of [0, 1, 256])
      for (const tree of [0, 1, 2, 3] as Tree[])
        for (const leaf of [0, 1, 256]) salts.add(leafSalt(key, tensor, tree, leaf))
  assert.is(salts.size, 2 * 3 * 4 * 3)
  for (const salt of salts) assert.ok(salt < 2n ** 248n)
})

test.run()
