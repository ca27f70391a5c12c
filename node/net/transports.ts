import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import type { Libp2pOptions } from 'libp2p'

export type Transports = NonNullable<Libp2pOptions['transports']>

/**
 * What a process speaks: TCP, WebSockets for browsers, and WebRTC (whose native library is only loaded then) when it listens on
 * `/webrtc-direct`. A browser has `transports.browser.ts` in place of this file.
 * @param listen multiaddrs that are listened on
 */
export async function transports(listen: string[]): Promise<Transports> {
  const both: Transports = [tcp({ maxConnections: 512 }), webSockets()]
  if (!listen.some((address) => address.includes('/webrtc-direct'))) return both
  const { webRTCDirect } = await import('@libp2p/webrtc')
  return [...both, webRTCDirect()]
}
