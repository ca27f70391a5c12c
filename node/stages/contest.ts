import type { Hex } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/codec.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { errorCode } from '../../protocol/errors.ts'
import { AttestationSchema, EnvelopeSchema } from '../../protocol/gen/sinter_pb.js'
import type { BatchFacts } from '../attestation/place.ts'
import { isCommitted } from '../chain/appeals.ts'
import type { Chain } from '../chain/chain.ts'
import { ensureBalance } from '../chain/funds.ts'
import type { Batch } from '../chain/views.ts'
import type { Log } from '../net/log.ts'
import type { Found } from './vote.ts'

export type ContestComponents = {
  networkId: Uint8Array
  chain: Pick<
    Chain,
    | 'address'
    | 'appeal'
    | 'appealBond'
    | 'balanceOf'
    | 'deposit'
    | 'params'
    | 'postAttestation'
    | 'posted'
    | 'rebut'
    | 'tokensOf'
  >
  /** Our own attestation as it was sealed; null when it is gone. */
  sealed(batch: Hex): Promise<Uint8Array | null>
  /** What this node's own verifier says of it. */
  check(facts: BatchFacts, attestation: Payload<'attestation'>): Promise<Pick<Found, 'verdicts'>>
  log: Log
}

/** What a provider does about a verdict `forged` on a batch of its own. */
export type Contester = {
  /**
   * Whoever says that there was no attestation is answered with the attestation, on chain. Any other verdict is appealed when this node's
   * own verifier finds nothing wrong, which is what the others would have found: a verdict that it confirms is left alone, since the
   * bond would be lost with the lock. Repeatable.
   */
  contest(id: Hex, batch: Batch, facts: BatchFacts, now: bigint): Promise<void>
}

export function createContester(components: ContestComponents): Contester {
  const { networkId, chain, log } = components
  /** Verdicts that there is nothing more to do about: of this attempt. */
  const left = new Map<Hex, number>()

  async function worthABond(id: Hex, facts: BatchFacts, message: Payload<'attestation'>): Promise<boolean> {
    const { verdicts } = await components.check(facts, message)
    if (!verdicts.includes('forged')) return true
    log.warn({ event: 'verdict.deserved', batch: id }, 'our own verifier finds the batch forged too: no appeal')
    return false
  }

  return {
    async contest(id, batch, facts, now) {
      if (left.get(id) === batch.attempt) return
      const sealed = await components.sealed(id)
      const payload = sealed === null ? null : (decode(EnvelopeSchema, sealed)?.payload ?? null)
      const message = payload === null ? null : decode(AttestationSchema, payload)
      if (payload === null || message === null || !isCommitted(payload, networkId, batch.attestation)) {
        left.set(id, batch.attempt)
        return
      }
      if (batch.silent) {
        await chain.postAttestation(id, payload, networkId)
        await chain.rebut(id)
        log.warn({ event: 'silence.rebutted', batch: id, bytes: payload.length }, 'attestation posted on chain')
        return
      }
      const until = batch.slashAt - BigInt(chain.params.slashPending - chain.params.appealWindow)
      if (now > until || !(await worthABond(id, facts, message))) {
        left.set(id, batch.attempt)
        return
      }
      const bond = await chain.appealBond(id)
      const named = { batch: id, bond: bond.toString() }
      try {
        await ensureBalance(chain, bond)
        await chain.appeal(id)
        log.warn({ event: 'verdict.appealed', ...named }, 'verdict appealed')
      } catch (error) {
        const code = errorCode(error)
        // Every node there is has voted, or there are no tokens for the bond.
        if (code !== 'CHAIN_CommitteeExhausted' && code !== 'BALANCE_TOO_LOW') throw error
        left.set(id, batch.attempt)
        if (code === 'BALANCE_TOO_LOW')
          log.warn({ event: 'appeal.unfunded', ...named }, 'no tokens for the bond of an appeal')
      }
    },
  }
}

/**
 * What a committee judges of an attestation that was posted. One that does not fit its digest is no attestation of any batch, which a
 * verifier finds at once, and can say without alleging silence.
 */
export function postedMessage(payload: Uint8Array, networkId: Uint8Array, digest: Hex): Payload<'attestation'> {
  const message = isCommitted(payload, networkId, digest) ? decode(AttestationSchema, payload) : null
  return message ?? ({ $typeName: 'sinter.Attestation', batch: new Uint8Array(), jobs: [] } as never)
}
