import type { HeliaInit, Router } from 'helia'
import type { Network } from './libp2p.ts'

type Blockstore = NonNullable<HeliaInit['blockstore']>

/** Blocks over bitswap, for peers that speak nothing else: asked for in sessions, and handed out. */
export type Bitswap = {
  session: ReturnType<typeof import('helia').createHeliaLight>['blockstore']['createSession']
  stop(): Promise<void>
}

/**
 * Starts bitswap on a network. Helia brings the libp2p parts of its own defaults along, certificates and HTTP clients among them: about 50 MiB that a
 * client never uses, so they are loaded here.
 */
export async function openBitswap(
  network: Pick<Network, 'libp2p'>,
  blockstore: Blockstore,
  router: Router,
): Promise<Bitswap> {
  const [{ createHeliaLight }, { withBitswap }] = await Promise.all([import('helia'), import('@helia/bitswap')])
  const light = createHeliaLight({ blockstore, routers: [router] })
  const helia = withBitswap(Object.assign(light, { libp2p: network.libp2p }), {
    maxInboundStreams: 64,
    maxOutboundStreams: 128,
    maxWantlistSize: 512,
    // A peer that lost a block may ask for it again soon.
    doNotResendBlockWindow: 1_000,
  })
  await helia.start()
  return {
    session: (root, options) => helia.blockstore.createSession(root, options),
    stop: async () => {
      await helia.stop()
    },
  }
}
