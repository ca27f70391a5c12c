import type { Manifest } from '../../models/manifest.ts'
import { quantise } from '../../models/quantise.ts'
import { tensorOf } from '../../models/tiling.ts'
import { toHex } from '../../protocol/bytes.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import type { Receipt } from '../../protocol/rules/receipt.ts'
import type { Chain } from '../chain/chain.ts'
import type { BatchEvent } from '../chain/watch.ts'
import type { Log } from '../net/log.ts'
import type { Purse, SetAside } from './reserves.ts'

/** A value in which two answers to one question are further apart than two honest ones can be, in quanta of the output. */
export type Mismatch = { output: string; at: number; first: number; second: number; allowed: number }

/**
 * The first value in which two answers differ by more than 2τ (each may be off the canonical output by τ), or by anything at all if both
 * were served canonically; null when they agree. Outputs by name, as `InferResult` has them.
 */
export function mismatch(
  manifest: Manifest,
  first: Record<string, Float32Array>,
  second: Record<string, Float32Array>,
  canonical: boolean,
): Mismatch | null {
  for (const { name, tensor, tolerance } of manifest.outputs) {
    const { exponent } = tensorOf(manifest, tensor)
    const [a, b] = [first[name]!, second[name]!].map((values) => quantise(values, exponent, 'OUTPUT_NAN'))
    const allowed = canonical ? 0 : 2 * tolerance.quanta
    const at = a!.findIndex((value, i) => Math.abs(value - b![i]!) > allowed)
    if (at >= 0) return { output: name, at, first: a![at]!, second: b![at]!, allowed }
  }
  return null
}

/** A job whose receipt is to be opened to the committee, as soon as its provider anchors it. */
export type Suspect = Pick<Receipt, 'session' | 'seq' | 'cumulative' | 'price'>

type Anchored = Extract<BatchEvent, { name: 'RangeAnchored' }>['args'] & { block: bigint }

export type Auditor = {
  /**
   * Has the committee compute this job again: names it as an audit of the batch that its provider anchors it in. Costs the network's
   * `auditFee`, and shows the job's input and output to everybody. One audit a range; a second suspect of one range is left out.
   */
  open(suspect: Suspect): void
  /** Suspects whose receipts have not been anchored yet. */
  waiting(): number
  stop(): Promise<void>
}

type Components = {
  chain: Pick<Chain, 'address' | 'params' | 'head' | 'ranges' | 'audit' | 'watchBatches'>
  /** The account's: a client keeps no more in the escrow than its sessions need, and between anchor and trace there is no time to deposit. */
  purse: Purse
  log: Log
}

/** Ranges of our own sessions that are remembered, in case one turns out to hold a suspect. */
const KEPT_RANGES = 1_024

/** Watches the chain for batches with receipts of this account's sessions. Throws the chain's codes. */
export async function createAuditor({ chain, purse, log }: Components): Promise<Auditor> {
  const suspects = new Map<Suspect, SetAside>()
  const ranges: Anchored[] = []
  const naming = new Set<Promise<void>>()

  const holds = (range: Anchored, { session, seq }: Suspect): boolean =>
    range.session === toHex(session) && seq >= range.fromSeq && seq <= range.toSeq

  async function name(range: Anchored, suspect: Suspect, fee: SetAside): Promise<void> {
    const { batchId, index, cumulative } = range
    const facts = { batch: batchId, session: range.session, seq: Number(suspect.seq) }
    try {
      const { start } = (await chain.ranges(batchId))[Number(index)]!
      // Where the receipt's part of the sum begins: behind those of its session that this range has before it.
      const point = start + suspect.cumulative - suspect.price - (cumulative - range.fee)
      await fee.spend(() => chain.audit(batchId, Number(index), point))
      log.info({ event: 'audit.named', ...facts }, 'the committee computes this job again')
    } catch (error) {
      const code = errorCode(error)
      fee.release()
      log.warn({ event: 'audit.failed', ...facts, code, error: describeError(error) }, 'the job could not be opened')
    }
  }

  function match(): void {
    for (const [suspect, fee] of suspects) {
      const range = ranges.find((each) => holds(each, suspect))
      if (range === undefined) continue
      suspects.delete(suspect)
      const work = name(range, suspect, fee).finally(() => naming.delete(work))
      naming.add(work)
    }
  }

  const { block } = await chain.head()
  const watcher = chain.watchBatches(
    (event) => {
      if (event.name !== 'RangeAnchored' || event.args.consumer !== chain.address) return
      ranges.push({ ...event.args, block: event.block })
      if (ranges.length > KEPT_RANGES) ranges.shift()
      match()
    },
    {
      from: { next: block, marks: [] },
      onError: (error) =>
        log.warn({ event: 'chain.delayed', error: describeError(error) }, 'the chain does not answer'),
    },
  )

  return {
    open(suspect) {
      if (suspects.has(suspect)) return
      suspects.set(suspect, purse.setAside(chain.params.auditFee))
      match()
    },
    waiting: () => suspects.size,
    async stop() {
      await watcher.stop()
      await Promise.all(naming)
    },
  }
}
