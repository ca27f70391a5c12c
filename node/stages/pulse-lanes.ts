import { fromHex, type Hex } from '../../protocol/bytes.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import { inReport, isDrawn, reportLeaf } from '../../protocol/pulse.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Pulse } from '../chain/capacity.ts'
import type { Chain } from '../chain/chain.ts'
import type { CapacityClass } from '../chain/economy.ts'
import type { Log } from '../net/log.ts'
import type { PulseEngine } from '../pulse/engine.ts'
import type { LaneWork } from '../pulse/lane.ts'
import { jsonCodec, type Store, storeKey } from '../store/store.ts'
import { type Claims, laneSeedOf, productsOf } from './pulse-claims.ts'
import type { PulseNotes } from './pulse-notes.ts'
import {
  answerUntil,
  claimDelayS,
  computeUntil,
  nextPulseMove,
  type PulseLoss,
  type PulseMove,
  type PulseView,
  RECORD_GAS,
  ROLL_GAS,
  ROLLED,
  turnS,
} from './pulse-plan.ts'
import type { PulseReply } from './pulse-reports.ts'

/** This node's answers to a pulse, on disk from before they leave until they are claimed or lost. */
type Kept = {
  slot: bigint
  openedAt: bigint
  /** Of the slot: what the lanes began with. */
  value: Hex
  answers: Uint8Array[]
  report: { reporter: Address; root: Hex; index: number; path: Uint8Array[] } | null
  /** Lanes that are claimed, or will not be. */
  done: number[]
}

export type LaneComponents = {
  address: Address
  chain: Pick<
    Chain,
    | 'beaconPosition'
    | 'beaconValue'
    | 'epochsBehind'
    | 'head'
    | 'network'
    | 'operatorCount'
    | 'operators'
    | 'pulse'
    | 'recordSlot'
    | 'reporters'
    | 'reportRoot'
    | 'slotHeight'
    | 'slotRecordedAt'
    | 'slotValue'
    | 'stakeAt'
  > & { params: Pick<Chain['params'], 'pulseWindow' | 'pulseClaimWindow'> }
  engine: Pick<PulseEngine, 'lanes'>
  claims: Claims
  store: Store
  /** Hands a leaf to a reporter, or asks it for its path. Throws where it does not answer. */
  ask(reporter: Address, slot: bigint, leaf: Uint8Array): Promise<PulseReply>
  notes: PulseNotes
  signal: AbortSignal
  log: Log
}

/**
 * @param lanes most that are computed for a pulse
 * @param confirmations blocks on top of the draw's block before it is answered
 */
export type LaneInit = { lanes: number; confirmations: number }

export type Lanes = {
  /** Takes up a pulse, and every one that is not done with. Does not wait for the work. */
  tick(pulse: Pulse | null, own: CapacityClass, now: bigint): Promise<void>
  settled(): Promise<void>
}

/** Looks at a pulse in the time for its claims. */
const LOOKS = 60n

export function createLanes(components: LaneComponents, { lanes, confirmations }: LaneInit): Lanes {
  const { address, chain, engine, claims, store, ask, notes, signal, log } = components
  const { pulseWindow: window, pulseClaimWindow: claimWindow } = chain.params
  const records = store.table('pulses', jsonCodec<Kept>())
  const keyOf = (slot: bigint): string => storeKey('own', slot)
  /** What is known of a live pulse and need not outlive the process. */
  type Live = {
    looked: bigint
    /** Reporters that have taken the answers, or will not. */
    told: Set<Address>
    /** Reporters that have brought a root and do not have the answers under it, whatever they say. */
    without: Set<Address>
    drawSeen: bigint | null
  }
  const live = new Map<bigint, Live>()
  /** The pulse that was last ended without a record. */
  let ended: bigint | null = null
  const busy = new Map<bigint, Promise<void>>()
  /** Claims have hours and wait for each other, and for a pulse, which has a minute. */
  let computing = false
  let claiming = false

  const amounts = ({ pay, cost }: { pay: bigint; cost: bigint | null }) => ({ pay: String(pay), cost: String(cost) })
  const leafOf = ({ answers }: Kept): Uint8Array => reportLeaf(address, answers)
  const seedOf = (value: Hex, lane: number): Uint8Array => laneSeedOf(chain.network, address, value, lane)

  // ---- what this node sees

  async function look(slot: bigint, kept: Kept | null, own: CapacityClass, of: Live) {
    const [head, pulse, value] = await Promise.all([chain.head(), chain.pulse(slot), chain.beaconValue(slot)])
    const now = head.timestamp
    const reporters = pulse === null || value === null ? [] : await chain.reporters(slot)
    const late = kept !== null && kept.report === null && now > answerUntil({ openedAt: kept.openedAt, window })
    const roots = late ? await Promise.all(reporters.map((each) => chain.reportRoot(slot, each))) : []
    const report = kept?.report ?? null
    const draw = pulse === null || report === null ? null : await lookAtDraw(pulse, kept!, own, of, head)
    const view: PulseView = {
      now,
      openedAt: pulse?.openedAt ?? 0n,
      window,
      claimWindow,
      value,
      kept: kept === null ? null : { value: kept.value, openedAt: kept.openedAt, reported: report !== null },
      handedOver: reporters.every((each) => of.told.has(each)),
      rootsOut: roots.some((root) => root !== null),
      standing: report !== null && (await chain.reportRoot(slot, report.reporter)) === report.root,
      drawValue: draw?.value ?? null,
      drawRecordedAt: draw?.recordedAt ?? 0n,
      drawn: draw?.lanes ?? [],
      worth: draw?.worth ?? true,
      turn: draw?.turn ?? false,
    }
    return { view, pulse, reporters, roots, price: draw?.price }
  }

  async function lookAtDraw(
    pulse: Pulse,
    kept: Kept,
    own: CapacityClass,
    of: Live,
    head: { block: bigint; timestamp: bigint },
  ) {
    const { slot, drawSlot } = pulse
    if (chain.beaconPosition(head) < chain.slotHeight(drawSlot) + BigInt(confirmations)) return null
    const value = await chain.slotValue(drawSlot)
    if (value === null) return null
    of.drawSeen ??= head.timestamp
    const lanesOf = kept.answers
      .map((_, lane) => lane)
      .filter((lane) => isDrawn({ slot, value: fromHex(value), operator: address, lane }, own.share))
      .map((lane) => ({ lane, delayS: claimDelayS(value, address, lane, claimWindow), done: kept.done.includes(lane) }))
    if (lanesOf.every(({ done }) => done))
      return { value, recordedAt: 0n, lanes: lanesOf, worth: true, turn: false, price: undefined }
    const [recordedAt, behind, nodes] = await Promise.all([
      chain.slotRecordedAt(drawSlot),
      chain.epochsBehind(),
      chain.operatorCount(),
    ])
    const extra = (recordedAt === 0n ? RECORD_GAS : 0n) + (behind > ROLLED ? behind * ROLL_GAS : 0n)
    const turn = Number(head.timestamp - of.drawSeen) >= turnS(value, address, nodes, window)
    const price = await claims.worth(own, extra)
    return { value, recordedAt, lanes: lanesOf, worth: price.worth, turn, price }
  }

  // ---- what it does

  async function end(slot: bigint, loss: PulseLoss | null, detail: Record<string, string> = {}): Promise<void> {
    ended = slot
    live.delete(slot)
    await records.del(keyOf(slot))
    await notes.ended(slot, loss, detail)
    if (loss === null) return
    const facts = { event: 'pulse.skipped', slot: Number(slot), reason: loss, ...detail }
    log.info(facts, 'nothing comes of this pulse')
  }

  async function compute(pulse: Pulse, reporters: Address[], value: Hex, own: CapacityClass, of: Live): Promise<void> {
    const { slot, openedAt } = pulse
    if (reporters.length === 0) return end(slot, 'NO_REPORTERS')
    const stake = await chain.stakeAt(address, pulse.snapshot)
    const most = Math.min(lanes, Number(stake / own.stakePerLane))
    if (most === 0) return end(slot, 'STAKE_TOO_NEW')
    const price = await claims.worth(own)
    if (!price.worth) return end(slot, 'NOT_WORTH_GAS', amounts(price))
    const left = computeUntil({ openedAt, window }) - (await chain.head()).timestamp
    const work = (lane: number): LaneWork => ({ seed: seedOf(value, lane), pulse: productsOf(own), positions: [] })
    of.told.clear()
    computing = true
    const began = performance.now()
    const results = await engine.lanes(work, { most, budgetMs: 1000 * Number(left), signal }).finally(() => {
      computing = false
    })
    if (results.length === 0) return end(slot, 'NO_LANE_IN_TIME')
    const answers = results.map(({ answer }) => answer)
    await records.put(keyOf(slot), { slot, openedAt, value, answers, report: null, done: [] })
    await notes.answered(slot, openedAt, answers.length)
    const seconds = Math.round(performance.now() - began) / 1000
    log.info({ event: 'pulse.answered', slot: Number(slot), lanes: answers.length, seconds }, 'lanes computed')
  }

  async function handOver(kept: Kept, reporters: Address[], of: Live): Promise<void> {
    const leaf = leafOf(kept)
    const left = reporters.filter((each) => !of.told.has(each))
    await Promise.all(
      left.map(async (reporter) => {
        const facts = { event: 'pulse.handed', slot: Number(kept.slot), reporter }
        try {
          const { taken, code } = await ask(reporter, kept.slot, leaf)
          // One that has not seen the pulse yet is asked again.
          if (taken || code !== 'PULSE_UNKNOWN') of.told.add(reporter)
          log.debug({ ...facts, taken, code }, 'a reporter was told')
        } catch (error) {
          if (errorCode(error) === 'PEER_PROTOCOL') of.told.add(reporter)
          log.debug({ ...facts, error: describeError(error) }, 'a reporter does not answer')
        }
      }),
    )
  }

  /** From whichever reporter has it: each path is checked against what stands on chain. */
  async function findPath(kept: Kept, reporters: Address[], roots: (Hex | null)[], of: Live): Promise<void> {
    const leaf = leafOf(kept)
    let index: number | null = null
    for (const [i, reporter] of reporters.entries()) {
      const root = roots[i] ?? null
      if (root === null || of.without.has(reporter)) continue
      const facts = { event: 'pulse.path', slot: Number(kept.slot), reporter }
      try {
        const { taken, code, path } = await ask(reporter, kept.slot, leaf)
        index ??= (await chain.operators()).indexOf(address)
        if (taken && inReport(leaf, index, path, fromHex(root))) {
          await records.put(keyOf(kept.slot), { ...kept, report: { reporter, root, index, path } })
          return log.debug(facts, 'the answers are in a report')
        }
        // It has brought its root: what it says now it will say again, unless it has just been started.
        if (code === 'PULSE_UNKNOWN') continue
        of.without.add(reporter)
        log.warn({ ...facts, taken, code }, 'a report does not have the answers')
      } catch (error) {
        log.debug({ ...facts, error: describeError(error) }, 'a reporter does not answer')
      }
    }
  }

  async function claimAll(kept: Kept, due: number[], drawn: Hex, own: CapacityClass): Promise<void> {
    const done = [...kept.done]
    for (const lane of due) {
      const refusal = await claims.claim({ ...kept, report: kept.report! }, lane, drawn, own)
      done.push(lane)
      await records.put(keyOf(kept.slot), { ...kept, done })
      if (refusal === null) await notes.claimed()
      else await notes.ended(kept.slot, 'CLAIM_REFUSED', { code: refusal })
      if (refusal !== null)
        log.warn({ event: 'pulse.refused', slot: Number(kept.slot), lane, code: refusal }, 'a lane is not paid')
    }
  }

  async function act(
    move: PulseMove,
    slot: bigint,
    kept: Kept | null,
    own: CapacityClass,
    of: Live,
    seen: Awaited<ReturnType<typeof look>>,
  ) {
    const { pulse, reporters, roots, view, price } = seen
    switch (move.do) {
      case 'wait':
        return
      case 'compute':
        if (!computing) await compute(pulse!, reporters, view.value!, own, of)
        return
      case 'handOver':
        return handOver(kept!, reporters, of)
      case 'path':
        return findPath(kept!, reporters, roots, of)
      case 'unpath':
        of.without.clear()
        return records.put(keyOf(slot), { ...kept!, report: null })
      case 'record':
        await chain.recordSlot(pulse!.drawSlot)
        return
      case 'claim':
        if (computing || claiming) return
        claiming = true
        await claimAll(kept!, move.lanes, view.drawValue!, own).finally(() => {
          claiming = false
        })
        return
      case 'end':
        return end(slot, move.loss, move.loss === 'NOT_WORTH_GAS' && price ? amounts(price) : {})
    }
  }

  async function work(slot: bigint, own: CapacityClass, of: Live): Promise<void> {
    try {
      const kept = (await records.get(keyOf(slot))) ?? null
      const seen = await look(slot, kept, own, of)
      await act(nextPulseMove(seen.view), slot, kept, own, of, seen)
    } catch (error) {
      if (signal.aborted) return
      const facts = { event: 'pulse.delayed', slot: Number(slot), code: errorCode(error), error: describeError(error) }
      log.warn(facts, 'pulse delayed')
    } finally {
      busy.delete(slot)
    }
  }

  return {
    async tick(pulse, own, now) {
      const slots = new Map<bigint, bigint>()
      for await (const [, kept] of records.entries('own/')) slots.set(kept.slot, kept.openedAt)
      const timely = pulse !== null && now < computeUntil({ openedAt: pulse.openedAt, window })
      if (timely && pulse.slot !== ended) slots.set(pulse.slot, pulse.openedAt)
      for (const [slot, openedAt] of slots) {
        const of = live.get(slot) ?? {
          looked: 0n,
          told: new Set(),
          without: new Set(),
          drawSeen: null,
        }
        live.set(slot, of)
        // What has hours is not looked at every second.
        const pause = now > openedAt + BigInt(2 * window) ? BigInt(claimWindow) / LOOKS : 0n
        if (busy.has(slot) || now < of.looked + pause) continue
        of.looked = now
        busy.set(slot, work(slot, own, of))
      }
    },
    async settled() {
      while (busy.size > 0) await Promise.all(busy.values())
    },
  }
}
