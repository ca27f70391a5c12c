import type { Hex } from '../../protocol/bytes.ts'
import { attestationParts } from '../../protocol/claims.ts'
import { encode } from '../../protocol/codec.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { errorCode } from '../../protocol/errors.ts'
import { AttestationSchema } from '../../protocol/gen/sinter_pb.js'
import type { BatchFacts } from '../attestation/place.ts'
import { type Refutation, refutationOf } from '../attestation/refutation.ts'
import { isCommitted } from '../chain/appeals.ts'
import type { Chain } from '../chain/chain.ts'
import type { Batch } from '../chain/views.ts'
import type { Log } from '../net/log.ts'
import type { Voter } from './vote.ts'

export type RefuteComponents = {
  networkId: Uint8Array
  chain: Pick<Chain, 'batch' | 'head' | 'params' | 'refute' | 'refuted' | 'unseat' | 'verdictBench'>
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
  /**
   * Shows the fault, and takes the seats of those who paid for it. Repeatable.
   * @param attestation null while nobody hands it out
   * @param overlooked a quorum has paid for it, or is about to
   */
  refute(
    id: Hex,
    batch: Batch,
    facts: BatchFacts,
    attestation: Payload<'attestation'> | null,
    overlooked: boolean,
  ): Promise<void>
}

type Evidence = { payload: Uint8Array; refutation: Refutation }

export function createRefuter({ networkId, chain, voter, log }: RefuteComponents): Refuter {
  /** Batches about which nothing is left to do. */
  const left = new Set<Hex>()
  /** By batch and attestation. */
  const known = new Map<string, Evidence>()

  /** What the chain can see of it; null where that is nothing. Asked once. */
  async function evidenceOf(
    batch: Batch,
    facts: BatchFacts,
    attestation: Payload<'attestation'>,
  ): Promise<Evidence | null> {
    const payload = encode(AttestationSchema, attestation)
    if (!isCommitted(payload, networkId, batch.attestation)) return null
    const { claims } = attestationParts(payload, networkId)
    const refutation =
      refutationOf(facts, claims, []) ?? refutationOf(facts, claims, (await voter.check(facts, attestation)).findings)
    return refutation === null ? null : { payload, refutation }
  }

  async function show(id: Hex, batch: Batch, { payload, refutation }: Evidence): Promise<void> {
    const { fault, claim } = refutation
    try {
      const { gasUsed } = await chain.refute(id, payload, networkId, refutation, batch.status !== 'paid')
      log.warn(
        { event: 'fault.proven', batch: id, fault, claim, gas: Number(gasUsed) },
        'a forgery was shown to the referee',
      )
    } catch (error) {
      if (errorCode(error) !== 'CHAIN_FaultProvenBefore') throw error
    }
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

  return {
    objects: async (id) => !left.has(id) && (await voter.hasCondemned(id)),
    async refute(id, batch, facts, attestation, overlooked) {
      const bench = batch.status === 'paid' ? await chain.verdictBench(id, batch) : null
      const { timestamp: now } = await chain.head()
      const lost = batch.status === 'paid' && (bench === null || now > bench.until)
      // Nobody hands it out just now.
      if (!lost && attestation === null) return
      const key = `${id}/${batch.attestation}`
      const evidence = lost ? null : (known.get(key) ?? (await evidenceOf(batch, facts, attestation!)))
      if (evidence === null) {
        log.warn({ event: 'fault.unproven', batch: id }, 'a forgery that the chain cannot see was overlooked')
        left.add(id)
        return
      }
      known.set(key, evidence)
      // A trace that leads nowhere may be a canary. Its maker takes these seats itself, for half of the time that they are held.
      const patience = bench === null ? null : bench.until - BigInt(chain.params.seatWindow) / 2n
      if (overlooked && evidence.refutation.fault === 'trace' && (patience === null || now <= patience)) return
      if (!(await chain.refuted(id))) await show(id, batch, evidence)
      // It may have been paid meanwhile.
      const after = await chain.batch(id)
      if (after.status === 'paid') await unseat(id, after)
      left.add(id)
      known.delete(key)
    },
  }
}
