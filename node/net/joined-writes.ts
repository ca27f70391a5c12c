import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface'

/** What libp2p's TCP connections are besides, which their interface does not say. Those of other transports have no socket, and stay as they are. */
type SocketConnection = MessageStream & {
  socket?: { cork(): void; uncork(): void }
  sendData?(data: { byteLength: number }): unknown
}

/** Bytes from which on the parts of a message are written one by one: a socket that holds back as much says that it is full. */
const LARGE_BYTES = 16 * 1024

/**
 * Lets a small message leave in one packet. Without it a connection that is encrypted with Noise writes twice for each, two bytes of length
 * and then the rest, and its peer wakes up twice. Nothing waits for what is sent later in the turn: that may be milliseconds of work away.
 */
export function joinWrites<C extends MessageStream>(connection: C): C {
  const { socket, sendData } = connection as SocketConnection
  if (typeof socket?.cork !== 'function' || sendData === undefined) return connection
  ;(connection as SocketConnection).sendData = (data) => {
    if (data.byteLength >= LARGE_BYTES) return sendData.call(connection, data)
    socket.cork()
    try {
      return sendData.call(connection, data)
    } finally {
      socket.uncork()
    }
  }
  return connection
}

/** An encrypter over connections whose small messages leave in one packet each. */
export const overJoinedWrites =
  <Components>(make: (components: Components) => ConnectionEncrypter) =>
  (components: Components): ConnectionEncrypter => {
    const encrypter = make(components)
    const { secureOutbound, secureInbound } = encrypter
    return Object.assign(encrypter, {
      secureOutbound: ((connection, options) =>
        secureOutbound.call(encrypter, joinWrites(connection), options)) as typeof secureOutbound,
      secureInbound: ((connection, options) =>
        secureInbound.call(encrypter, joinWrites(connection), options)) as typeof secureInbound,
    })
  }
