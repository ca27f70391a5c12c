import { randomBytes } from '@noble/hashes/utils.js'
import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { canaryConsentDigest, signTyped } from '../../protocol/eip712.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import { type Address, addressOf, publicKeyOf } from '../../protocol/signature.ts'
import type { Chain } from '../chain/chain.ts'
import { canariesDomain } from '../chain/eip712.ts'
import type { Batch } from '../chain/views.ts'
import type { SessionRecord } from '../jobs/ledger.ts'
import type { Log } from '../net/log.ts'
import { jsonCodec, type Store } from '../store/store.ts'

export type CanaryComponents = {
  address: Address
  chain: Pick<
    Chain,
    | 'buryCanary'
    | 'canary'
    | 'canaryOf'
    | 'forfeitCanary'
    | 'head'
    | 'network'
    | 'ranges'
    | 'revealCanary'
    | 'session'
    | 'takeRest'
    | 'tokensOf'
    | 'verdictBench'
  >
  /** Key of a consumer of the operator's own, whose jobs are worth nothing to it but as bait. */
  consumerKey: Uint8Array
  store: Store
  log: Log
}

/**
 * Canaries of settlement.md §5.5: batches of jobs that the operator has bought from itself as another account, with a trace root that no trace has.
 * Voters cannot tell them from others before they check a path; those who do not look lose their seats, half of them to us.
 */
export type CanaryMaker = {
  /** Whether a session's jobs may end in a canary: they are batched apart from those of strangers. */
  isBait(session: Pick<SessionRecord, 'signer'>): boolean
  /**
   * Makes a canary of a batch that is about to be anchored, where one may be buried now; else the batch is like any other. Repeatable.
   * @param total fees, which the bond has to cover
   */
  bury(batch: Hex, sessions: Hex[], total: bigint): Promise<void>
  /** What is anchored as a canary's trace root; null for other batches. */
  trapOf(batch: Hex): Promise<Uint8Array | null>
  /** Says after the vote what the batch was. Repeatable. */
  reveal(id: Hex, batch: Batch): Promise<void>
  forget(batch: Hex): Promise<void>
}

/** @param trap null where no canary could be buried */
type Kept = { salt: Uint8Array; trap: Uint8Array | null }

const OVER: ReadonlySet<string> = new Set(['CHAIN_NoCanary', 'CHAIN_NotThisBatch', 'CHAIN_RevealClosed'])
const NONE = `0x${'00'.repeat(32)}`

export function createCanaryMaker(components: CanaryComponents): CanaryMaker {
  const { address, chain, consumerKey, store, log } = components
  const consumer = addressOf(publicKeyOf(consumerKey))
  const kept = store.table('canaries', jsonCodec<Kept>())

  async function mayBury(bond: bigint): Promise<boolean> {
    const [{ seal, revealBy, nextAt }, { timestamp }, tokens] = await Promise.all([
      chain.canaryOf(address),
      chain.head(),
      chain.tokensOf(address),
    ])
    // Its batch never came to be judged: the bond is gone, and stands in the way.
    const overdue = seal !== NONE && timestamp > revealBy
    if (overdue) await chain.forfeitCanary(address)
    return (seal === NONE || overdue) && timestamp >= nextAt && tokens >= bond
  }

  /** A wallet that pays for our consumer's sessions has consented to nothing. */
  async function consented(sessions: Hex[]): Promise<boolean> {
    const all = await Promise.all(sessions.map((session) => chain.session(session)))
    return all.every((each) => each.consumer === consumer)
  }

  /** The next parts of a large bench. */
  async function takeRest(id: Hex, voters: Address[]): Promise<void> {
    try {
      for (;;) await chain.takeRest(id, voters)
    } catch (error) {
      if (errorCode(error) !== 'CHAIN_NothingLeft') throw error
    }
  }

  async function consentsTo(id: Hex, { status }: Batch): Promise<Hex[]> {
    if (status !== 'paid') return []
    const consent = toHex(signTyped(canaryConsentDigest(canariesDomain(chain.network), fromHex(id)), consumerKey))
    return (await chain.ranges(id)).map(() => consent)
  }

  return {
    isBait: ({ signer }) => signer === consumer,
    async bury(batch, sessions, total) {
      const known = await kept.get(batch)
      const salt = known?.salt ?? randomBytes(32)
      const { trap, seal } = await chain.canary(batch, toHex(salt))
      // Cut short after it was buried.
      if (known !== undefined && (await chain.canaryOf(address)).seal === seal) {
        await kept.put(batch, { salt, trap: fromHex(trap) })
        return
      }
      if (!(await mayBury(total)) || !(await consented(sessions))) return
      // On disk first: without the salt the bond is lost.
      await kept.put(batch, { salt, trap: null })
      await chain.buryCanary(seal, total)
      await kept.put(batch, { salt, trap: fromHex(trap) })
      log.info({ event: 'canary.buried', batch, bond: total.toString() }, 'a canary is buried')
    },
    trapOf: async (batch) => (await kept.get(batch))?.trap ?? null,
    async reveal(id, batch) {
      const { salt } = (await kept.get(id))!
      const voters = batch.status === 'paid' ? ((await chain.verdictBench(id, batch))?.voters ?? []) : []
      try {
        await chain.revealCanary(id, toHex(salt), voters, await consentsTo(id, batch))
        const facts = { event: 'canary.revealed', batch: id, found: batch.status, seats: voters.length }
        log.info(facts, 'a canary is revealed')
      } catch (error) {
        // Revealed before a restart; or its trace never stood on chain, and the bond is lost.
        if (!OVER.has(errorCode(error))) throw error
        log.warn({ event: 'canary.over', batch: id, error: describeError(error) }, 'nothing is left to reveal')
      }
      if (voters.length > 0) await takeRest(id, voters)
      await kept.put(id, { salt, trap: null })
    },
    forget: (batch) => kept.del(batch),
  }
}
