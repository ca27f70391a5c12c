import { unixfs } from '@helia/unixfs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fileCid } from '../../models/cid.ts'

test('a file has the CID that Helia gives it, at the last single block and around chunk ends', async () => {
  // Adding needs nothing of a block store but that it takes blocks.
  const blockstore = { put: async (cid: unknown) => cid } as unknown as Parameters<typeof unixfs>[0]['blockstore']
  const fs = unixfs({ blockstore })
  for (const size of [0, 1, 1000, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 2 ** 21, 3 * 2 ** 20 + 5]) {
    const bytes = new Uint8Array(size).map((_, i) => (i * 31) % 251)
    assert.is(await fileCid(bytes), (await fs.addBytes(bytes)).toString(), `${size} bytes`)
  }
})

test.run()
