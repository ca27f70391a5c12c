import { webRTCDirect } from '@libp2p/webrtc'
import { webSockets } from '@libp2p/websockets'
import type { Transports } from './transports.ts'

/** What a page speaks: WebSockets and WebRTC to nodes that listen on them. It cannot listen itself. */
export async function transports(): Promise<Transports> {
  return [webSockets(), webRTCDirect()]
}
