import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import { AttestationQuerySchema } from '../../protocol/gen/sinter_pb.js'
import type { judgeAttestation } from '../../protocol/rules/attestation.ts'
import type { Chain } from '../chain/chain.ts'
import { peerIdOfKey } from '../identity/identity.ts'
import type { Log } from '../net/log.ts'
import type { StreamHandler, Streams } from '../net/streams.ts'
import type { AnchoredBatch } from './book.ts'
import type { AttestationShelf } from './gossip.ts'

/** Hands out attestations to peers that gossip did not reach; an empty frame says that we have none. */
export function attestationHandler(sealed: (batch: Hex) => Promise<Uint8Array | null>): StreamHandler {
  return async (stream) => {
    const query = decode(AttestationQuerySchema, await stream.read(10_000))
    if (query === null || query.batch.length !== 32)
      throw new SinterError('FRAME_MALFORMED', 'not an attestation query')
    await stream.write((await sealed(toHex(query.batch))) ?? new Uint8Array())
  }
}

export type FetchComponents = {
  chain: Pick<Chain, 'node'>
  streams: Pick<Streams, 'open'>
  judge(sealed: Uint8Array): ReturnType<typeof judgeAttestation>
  shelf: Pick<AttestationShelf, 'keep'>
  log: Log
}

/**
 * Asks the batch's provider itself for its attestation. The provider's peer id follows from the key it registered on chain.
 * Says nothing when it does not answer: the voter's patience decides what that means.
 */
export async function fetchAttestation(components: FetchComponents, anchored: AnchoredBatch): Promise<void> {
  const { chain, streams, judge, shelf, log } = components
  try {
    const node = await chain.node(anchored.provider)
    if (node === null) return
    const stream = await streams.open(peerIdOfKey(fromHex(node.publicKey)), 'attestation')
    try {
      await stream.write(encode(AttestationQuerySchema, { batch: fromHex(anchored.id) }))
      const sealed = await stream.read(30_000)
      if (sealed.length > 0 && (await judge(sealed)).action === 'accept') shelf.keep(sealed)
    } finally {
      await stream.close()
    }
  } catch (error) {
    log.debug(
      { event: 'attestation.unfetched', batch: anchored.id, error: describeError(error) },
      'attestation not fetched',
    )
  }
}
