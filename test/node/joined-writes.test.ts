import { randomBytes } from 'node:crypto'
import { Socket } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { identityFromKey } from '../../node/identity/identity.ts'
import { joinWrites } from '../../node/net/joined-writes.ts'
import type { Network } from '../../node/net/libp2p.ts'
import { createStreams } from '../../node/net/streams.ts'
import { openPeer } from './peer.ts'
import { log } from './session-world.ts'

/** A connection over a socket that notes what it is told. */
function connection() {
  const told: string[] = []
  const socket = { cork: () => told.push('cork'), uncork: () => told.push('uncork') }
  const sendData = ({ byteLength }: { byteLength: number }): void => {
    if (byteLength < 0) throw new Error('gone')
    told.push(`${byteLength}`)
  }
  return { told, joined: joinWrites({ socket, sendData } as never) as unknown as { sendData: typeof sendData } }
}
const bytes = (byteLength: number): { byteLength: number } => ({ byteLength })

test('the parts of a small message are written together and at once, those of a large one as they come', () => {
  const { told, joined } = connection()
  joined.sendData(bytes(2))
  joined.sendData(bytes(16_383))
  joined.sendData(bytes(16_384))
  assert.equal(told, ['cork', '2', 'uncork', 'cork', '16383', 'uncork', '16384'])
})

test('a message that cannot be sent leaves nothing held back', () => {
  const { told, joined } = connection()
  assert.throws(() => joined.sendData({ byteLength: -1 }), 'gone')
  assert.equal(told, ['cork', 'uncork'])
})

test('a connection without a socket that can hold back stays as it is', () => {
  const sendData = (): void => {}
  for (const socket of [undefined, {}])
    assert.is((joinWrites({ socket, sendData } as never) as { sendData: unknown }).sendData, sendData)
})

test('a small frame leaves a node in one write', async () => {
  const networks: Network[] = []
  for (const key of [1, 2]) networks.push(await openPeer(identityFromKey(new Uint8Array(32).fill(key))))
  const [server, client] = networks as [Network, Network]
  const { write, writev } = { write: Socket.prototype._write, writev: Socket.prototype._writev! }
  try {
    const got: Uint8Array[] = []
    const all = Promise.withResolvers<void>()
    await createStreams({ libp2p: server.libp2p, log }).handle('job', async (stream) => {
      for (;;) {
        got.push(await stream.read(10_000))
        if (got.length % 5 === 0) all.resolve()
      }
    })
    const stream = await createStreams({ libp2p: client.libp2p, log }).open(server.addresses(), 'job')
    await new Promise((resolve) => setTimeout(resolve, 500))
    let writes = 0
    Socket.prototype._write = function (...all) {
      writes++
      return write.apply(this, all)
    }
    Socket.prototype._writev = function (...all) {
      writes++
      return writev.apply(this, all)
    }
    const frames = [300, 20, 40_000, 1, 500].map((size) => new Uint8Array(randomBytes(size)))
    await Promise.all(frames.map((frame) => stream.write(frame)))
    await all.promise
    assert.equal(got, frames)
    // Without it there are 22.
    assert.ok(writes <= 16)
    console.log(`# ${frames.length} frames and the windows they are answered with: ${writes} writes`)
  } finally {
    Object.assign(Socket.prototype, { _write: write, _writev: writev })
    await Promise.all(networks.map((network) => network.stop()))
  }
})

test.run()
