import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface'

/** What libp2p's TCP connections are besides, which their interface does not say. Those of other transports have no socket, and stay as they are. */
type SocketConnection = MessageStream & {
  socket?: { cork(): void; uncork(): void }
  sendData?(data: { byteLength: number }): unknown
}

/** Bytes from which on a message leaves at once: a socket that holds back as much says that it is full. */
const LARGE_BYTES = 16 * 1024

/**
 * Lets small messages of one turn of the event loop leave in one packet, when the turn ends. Without it a connection that is encrypted with
 * Noise writes twice for each of them, two bytes of length and then the rest, and its peer wakes up twice; and what is said next, such as how
 * much more a stream may be sent, in yet another packet.
 */
export function joinWrites<C extends MessageStream>(connection: C): C {
  const { socket, sendData } = connection as SocketConnection
  if (typeof socket?.cork !== 'function' || sendData === undefined) return connection
  let held = false
  const release = (): void => {
    if (!held) return
    held = false
    socket.uncork()
  }
  ;(connection as SocketConnection).sendData = (data) => {
    if (data.byteLength >= LARGE_BYTES) release()
    else if (!held) {
      held = true
      socket.cork()
      setImmediate(release)
    }
    return sendData.call(connection, data)
  }
  return connection
}

/** An encrypter over connections whose small writes are joined. */
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
