import { randomBytes } from '@noble/hashes/utils.js'
import { bytesToBigint, fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import { AttestationQuerySchema } from '../../protocol/gen/sinter_pb.js'
import type { judgeAttestation } from '../../protocol/rules/attestation.ts'
import type { Chain } from '../chain/chain.ts'
import { type Identity, peerIdOfKey } from '../identity/identity.ts'
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
  /** Peers that may have it too, by id. */
  others(): string[]
  judge(sealed: Uint8Array): ReturnType<typeof judgeAttestation>
  shelf: Pick<AttestationShelf, 'keep'>
  log: Log
}

/** Peers asked beside the provider. */
const OTHERS = 4

/** Whether the peer handed out the attestation that was committed. */
async function fetchFrom(
  components: FetchComponents,
  peer: Identity['peerId'] | string,
  anchored: AnchoredBatch,
): Promise<boolean> {
  const { streams, judge, shelf, log } = components
  try {
    const stream = await streams.open(peer, 'attestation')
    try {
      await stream.write(encode(AttestationQuerySchema, { batch: fromHex(anchored.id) }))
      const sealed = await stream.read(30_000)
      if (sealed.length === 0 || (await judge(sealed)).action !== 'accept') return false
      shelf.keep(sealed)
      return true
    } finally {
      await stream.close()
    }
  } catch (error) {
    const facts = {
      event: 'attestation.unfetched',
      batch: anchored.id,
      peer: String(peer),
      error: describeError(error),
    }
    log.debug(facts, 'attestation not fetched')
    return false
  }
}

/**
 * Asks the batch's provider for its attestation, and at the same time some peers that gossip may have brought it to: a
 * provider that went down after it handed its attestation out has not withheld it. The provider's peer id follows from the key
 * it registered on chain. Says nothing when nobody answers: the voter's patience decides what that means.
 */
export async function fetchAttestation(components: FetchComponents, anchored: AnchoredBatch): Promise<void> {
  const { chain, log } = components
  const others = components.others()
  // Others every time, so that after a few tries many have been asked.
  const some = Array.from(
    { length: Math.min(OTHERS, others.length) },
    () => others.splice(Number(bytesToBigint(randomBytes(6)) % BigInt(others.length)), 1)[0]!,
  )
  const provider = chain.node(anchored.provider).then(
    (node) => (node === null ? false : fetchFrom(components, peerIdOfKey(fromHex(node.publicKey)), anchored)),
    (error: unknown) => {
      log.debug({ event: 'attestation.unfetched', batch: anchored.id, error: describeError(error) }, 'no such node')
      return false
    },
  )
  const asked = [provider, ...some.map((peer) => fetchFrom(components, peer, anchored))]
  // The first that has it is enough; the others end by their own timeouts.
  await Promise.any(asked.map(async (each) => (await each) || Promise.reject())).catch(() => {})
}
