import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { type Identity, identityFromKey } from '../../node/identity/identity.ts'
import { type Content, type ContentInit, createContent } from '../../node/net/content.ts'
import { createNetwork, type Network } from '../../node/net/libp2p.ts'
import { createSourceScores, type SourceScores } from '../../node/net/sources.ts'
import { createStreams, type StreamHandler, type Streams } from '../../node/net/streams.ts'
import { errorCode } from '../../protocol/errors.ts'
import { accept } from '../../protocol/verdict.ts'

export const log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' })
const judge = async () => accept

export const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', errorCode)

export type Peer = {
  network: Network
  streams: Streams
  content: Content
  folder: string
  scores: SourceScores
  /** Stops the content and opens it again over the same folder, as a restart would. */
  reopen(init?: Partial<ContentInit>): Promise<void>
}

export type PeerInit = {
  mode?: 'node' | 'light'
  /** Speaks bitswap and no block streams. */
  bitswapOnly?: boolean
  /** Answers to queries for blocks, in place of or around the real ones. */
  serve?: (real: StreamHandler) => StreamHandler
  content?: Partial<ContentInit>
  identity?: Identity
  folder?: string
}

/** Real peers on loopback, each with its folder; `stop` ends them all. */
export async function contentWorld(): Promise<{
  start(bootstrap: string[], init?: PeerInit): Promise<Peer>
  stop(): Promise<void>
}> {
  const root = await mkdtemp(join(tmpdir(), 'sinter-content-'))
  const peers: Peer[] = []
  return {
    async start(bootstrap, init = {}) {
      const { mode = 'node', serve = (real) => real } = init
      const network = await createNetwork({
        identity: init.identity ?? identityFromKey(new Uint8Array(randomBytes(32))),
        tag: 'test-00000000',
        listen: mode === 'node' ? ['/ip4/127.0.0.1/tcp/0'] : [],
        bootstrap,
        mode,
        devnet: true,
        topics: { offers: judge, attestations: judge, votes: judge },
        log,
      })
      const streams = createStreams({ libp2p: network.libp2p, log })
      const folder = init.folder ?? join(root, String(peers.length))
      const scores = createSourceScores()
      const open = (more: Partial<ContentInit> = {}): Promise<Content> =>
        createContent({
          network,
          ...(init.bitswapOnly
            ? {}
            : { streams: { open: streams.open, handle: (method, real) => streams.handle(method, serve(real)) } }),
          folder,
          scores,
          log,
          ...init.content,
          ...more,
        })
      const peer: Peer = {
        network,
        streams,
        folder,
        scores,
        content: await open(),
        async reopen(more) {
          await peer.content.stop()
          if (!init.bitswapOnly) await network.libp2p.unhandle('/sinter/blocks/1')
          peer.content = await open(more)
        },
      }
      peers.push(peer)
      return peer
    },
    async stop() {
      const ends = peers.map(async ({ content, streams, network }) => {
        await content.stop()
        await streams.stop()
        await network.stop()
      })
      await Promise.all(ends)
      await rm(root, { recursive: true, force: true })
    },
  }
}
