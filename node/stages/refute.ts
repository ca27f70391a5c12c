import type { Hex } from '../../protocol/bytes.ts'
import { attestationParts } from '../../protocol/claims.ts'
import { encode } from '../../protocol/codec.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { errorCode } from '../../protocol/errors.ts'
import { AttestationSchema } from '../../protocol/gen/sinter_pb.js'
import type { BatchFacts } from '../attestation/place.ts'
import { refutationOf } from '../attestation/refutation.ts'
import { isCommitted } from '../chain/appeals.ts'
import type { Chain } from '../chain/chain.ts'
import type { Batch } from '../chain/views.ts'
import type { Log } from '../net/log.ts'
import type { Voter } from './vote.ts'

export type RefuteComponents = {
  networkId: Uint8Array
  chain: Pick<Chain, 'batch' | 'head' | 'refute' | 'refuted' | 'unseat' | 'verdictBench'>
  voter: Pick<Voter, 'check' | 'hasCondemned'>
  log: Log
}

/**
 * What a voter does about a committee that overlooks, or pays for, a forgery that the chain can see: the last appeal of DESIGN §6. The referee
 * pays nobody; what is won is that the forger loses its lock or, where it has been paid, whoever paid it their seats.
 */
export type Refuter = {
  /** Whether this node has found the batch forged, and something is left to be done about it. */
  objects(id: Hex): Promise<boolean>
  /** Shows the fault, and takes the seats of those who paid for it. `attestation` is null while nobody hands it out. Repeatable. */
  refute(id: Hex, batch: Batch, facts: BatchFacts, attestation: Payload<'attestation'> | null): Promise<void>
}

export function createRefuter({ networkId, chain, voter, log }: RefuteComponents): Refuter {
  /** Batches about which nothing is left to do. */
  const left = new Set<Hex>()

  async function show(id: Hex, batch: Batch, facts: BatchFacts, attestation: Payload<'attestation'>): Promise<boolean> {
    if (await chain.refuted(id)) return true
    const payload = encode(AttestationSchema, attestation)
    if (!isCommitted(payload, networkId, batch.attestation)) return false
    const { claims } = attestationParts(payload, networkId)
    const { findings } = await voter.check(facts, attestation)
    const refutation = refutationOf(facts, claims, findings)
    if (refutation === null) return false
    const named = { batch: id, fault: refutation.fault, claim: refutation.claim }
    try {
      const { gasUsed } = await chain.refute(id, payload, networkId, refutation, batch.status !== 'paid')
      log.warn({ event: 'fault.proven', ...named, gas: Number(gasUsed) }, 'a forgery was shown to the referee')
    } catch (error) {
      if (errorCode(error) !== 'CHAIN_FaultProvenBefore') throw error
    }
    return true
  }

  /** Seats of the verdict that paid, as far as they are still held. */
  async function unseat(id: Hex, batch: Batch): Promise<void> {
    const bench = await chain.verdictBench(id, batch)
    if (bench === null) return
    try {
      // Each call takes a part of a large bench, until nothing is left.
      for (;;) await chain.unseat(id, bench.voters)
    } catch (error) {
      const over = ['CHAIN_NothingLeft', 'CHAIN_UnknownBench'].includes(errorCode(error))
      if (!over) throw error
    }
    log.warn(
      { event: 'seats.burned', batch: id, seats: bench.voters.length },
      'voters who paid a forgery lost their seats',
    )
  }

  /** Whether there still is something to lose. */
  async function matters(id: Hex, batch: Batch): Promise<boolean> {
    if (batch.status !== 'paid') return true
    const bench = await chain.verdictBench(id, batch)
    return bench !== null && (await chain.head()).timestamp <= bench.until
  }

  return {
    objects: async (id) => !left.has(id) && (await voter.hasCondemned(id)),
    async refute(id, batch, facts, attestation) {
      const matter = await matters(id, batch)
      // Nobody hands it out just now.
      if (matter && attestation === null) return
      const shown = matter && (await show(id, batch, facts, attestation!))
      // It may have been paid meanwhile.
      const now = shown ? await chain.batch(id) : batch
      if (shown && now.status === 'paid') await unseat(id, now)
      if (!shown) log.warn({ event: 'fault.unproven', batch: id }, 'a forgery that the chain cannot see was paid')
      left.add(id)
    },
  }
}
