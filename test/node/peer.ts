import { pino } from 'pino'
import type { Identity } from '../../node/identity/identity.ts'
import { createNetwork, type Network } from '../../node/net/libp2p.ts'
import { accept } from '../../protocol/verdict.ts'

const judge = async () => accept

/** A peer on loopback that knows nobody and accepts whatever is gossiped. */
export const openPeer = (
  identity: Identity,
  log = pino({ level: process.env.SINTER_TEST_LOG ?? 'silent' }),
): Promise<Network> =>
  createNetwork({
    identity,
    tag: 'test-00000000',
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [],
    mode: 'node',
    devnet: true,
    topics: { offers: judge, attestations: judge, votes: judge },
    log,
  })
