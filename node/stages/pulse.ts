import { fromHex, type Hex } from '../../protocol/bytes.ts'
import { errorCode } from '../../protocol/errors.ts'
import { isPulse } from '../../protocol/pulse.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Pulse } from '../chain/capacity.ts'
import type { Chain } from '../chain/chain.ts'
import { type CapacityClass, capacityClasses } from '../chain/economy.ts'
import { peerIdOfKey } from '../identity/identity.ts'
import type { Log } from '../net/log.ts'
import type { StreamHandler, Streams } from '../net/streams.ts'
import type { PulseEngine } from '../pulse/engine.ts'
import type { Store } from '../store/store.ts'
import { type ClaimComponents, createClaims } from './pulse-claims.ts'
import { createLanes, type LaneComponents } from './pulse-lanes.ts'
import type { PulseNotes } from './pulse-notes.ts'
import { reportUntil, turnS } from './pulse-plan.ts'
import { answerFrame, createReports, type ReportComponents, readReply, type SeenPulse } from './pulse-reports.ts'

export type PulseComponents = {
  address: Address
  chain: LaneComponents['chain'] &
    ClaimComponents['chain'] &
    ReportComponents['chain'] &
    Pick<Chain, 'drand' | 'lastPulse' | 'node' | 'openPulse' | 'params' | 'slotAt'>
  engine: PulseEngine
  store: Store
  streams: Pick<Streams, 'open'>
  gasCost: ClaimComponents['gasCost']
  notes: PulseNotes
  log: Log
}

export type PulseInit = { lanes: number; confirmations: number }

/** This node's part in capacity pulses: opens them in turn, answers them, reports those it is drawn for, claims what is examined. */
export type Pulses = {
  /** Serves `/sinter/pulse/1`. */
  handler: StreamHandler
  /** Milliseconds from one look to the next that lose little of a window. */
  lookMs: number
  /** Looks at the chain once; what takes longer goes on beside it. */
  tick(): Promise<void>
  /** Resolves when nothing is under way. */
  settled(): Promise<void>
  /** Gives up what is computed and resolves when nothing is under way. What was answered is on disk. */
  stop(): Promise<void>
}

/** Somebody else was faster, or the time is over. */
const PASSED = new Set(['CHAIN_PulseOpen', 'CHAIN_PulseRunning', 'CHAIN_PulseStale', 'CHAIN_NotAPulse'])

/** Looks at a pulse in its window. */
const LOOKS = 60

export function createPulses(components: PulseComponents, { lanes, confirmations }: PulseInit): Pulses {
  const { address, chain, streams, store, notes, log } = components
  const { pulseRarity, pulseFreshSlots, pulseWindow: window } = chain.params
  const classes = capacityClasses(chain.params)
  // A reporter that is down must not cost the others their answers: there is time to try each again.
  const patienceMs = Math.min(10_000, 150 * window)
  const ending = new AbortController()
  const reports = createReports({ address, chain, store, notes, log })

  async function ask(reporter: Address, slot: bigint, leaf: Uint8Array) {
    if (reporter === address) return reports.answer(address, slot, leaf)
    // A reporter had stake, so it is registered.
    const { publicKey } = (await chain.node(reporter))!
    const stream = await streams.open(peerIdOfKey(fromHex(publicKey)), 'pulse', { timeoutMs: patienceMs })
    try {
      await stream.write(answerFrame(slot, leaf))
      return readReply(await stream.read(patienceMs))
    } finally {
      await stream.close()
    }
  }
  const claims = createClaims({ ...components, signal: ending.signal })
  const own = createLanes({ ...components, claims, ask, signal: ending.signal }, { lanes, confirmations })

  let mine: CapacityClass | null | undefined
  /** What capacity of this node is measured by; null while it is not registered, or where its class is not measured. */
  async function ownClass(): Promise<CapacityClass | null> {
    if (mine !== undefined) return mine
    const node = await chain.node(address)
    if (node === null) return null
    mine = classes.find(({ name }) => name === node.hardwareClass) ?? null
    if (mine === null) await notes.ended(0n, 'CLASS_NOT_MEASURED', { class: node.hardwareClass })
    return mine
  }

  /** Pulses that are not open yet, with the time (seconds) at which they were found. */
  const found = new Map<bigint, { value: Hex; at: bigint }>()
  let searched: bigint | null = null

  /** Finds pulses among the slots whose values have come out. */
  async function search(newest: bigint, now: bigint): Promise<void> {
    const fresh = newest - BigInt(pulseFreshSlots)
    for (const slot of found.keys()) if (slot < fresh) found.delete(slot)
    for (let slot = searched === null || searched < fresh ? fresh : searched + 1n; slot <= newest; slot++) {
      const value = slot <= 0n ? null : await chain.slotValue(slot)
      if (slot > 0n && value === null) return
      searched = slot
      if (value !== null && isPulse(fromHex(value), pulseRarity)) found.set(slot, { value, at: now })
    }
  }

  /** Opens the youngest pulse that is due, when it is this node's turn: who knew the value for longer had longer. */
  async function open(slot: bigint, { value, at }: { value: Hex; at: bigint }, now: bigint): Promise<void> {
    const nodes = await chain.operatorCount()
    if (Number(now - at) < turnS(value, address, nodes, window)) return
    try {
      if (chain.drand) await chain.recordSlot(slot)
      const { gasUsed } = await chain.openPulse(slot)
      await notes.opened()
      log.info({ event: 'pulse.opened', slot: Number(slot), gas: Number(gasUsed) }, 'pulse opened')
    } catch (error) {
      const code = errorCode(error)
      // Some endpoints estimate inside the newest block, where its own hash is not known yet.
      if (code === 'CHAIN_HashUnknown') return
      // Who cannot pay for it leaves it to others.
      if (code !== 'CHAIN_RPC') found.delete(slot)
      if (!PASSED.has(code)) throw error
    }
    found.delete(slot)
  }

  async function openNext(last: Pulse | null, measured: CapacityClass, head: { block: bigint; timestamp: bigint }) {
    const now = head.timestamp
    await search(chain.slotAt(head), now)
    if (last !== null && now <= reportUntil({ openedAt: last.openedAt, window })) return
    const youngest = [...found.keys()].sort((a, b) => Number(b - a))[0]
    if (youngest === undefined) return
    // Whoever gains nothing by a pulse need not pay for it.
    if ((await claims.worth(measured)).worth) await open(youngest, found.get(youngest)!, now)
    else found.delete(youngest)
  }

  async function seen(last: Pulse | null, now: bigint): Promise<SeenPulse | null> {
    if (last === null || now > reportUntil({ openedAt: last.openedAt, window })) return null
    const value = await chain.beaconValue(last.slot)
    return value === null ? null : { ...last, value, reporters: await chain.reporters(last.slot) }
  }

  /** Pieces of work that do not wait for each other; each is begun again when it has ended. */
  const busy = new Map<string, Promise<void>>()
  const failures: { error: unknown }[] = []
  function begin(name: string, work: () => Promise<void>): void {
    if (busy.has(name)) return
    const done = work()
      .catch((error: unknown) => void failures.push({ error }))
      .finally(() => busy.delete(name))
    busy.set(name, done)
  }

  const settled = async (): Promise<void> => {
    await Promise.all([...busy.values(), own.settled()])
  }

  return {
    handler: reports.handler,
    lookMs: (1000 * window) / LOOKS,
    settled,
    async tick() {
      const measured = await ownClass()
      if (measured === null || ending.signal.aborted) return
      const [head, last] = await Promise.all([chain.head(), chain.lastPulse()])
      begin('open', () => openNext(last, measured, head))
      begin('report', async () => reports.tick(await seen(last, head.timestamp), head.timestamp))
      await own.tick(last, measured, head.timestamp)
      const failure = failures.shift()
      if (failure !== undefined) throw failure.error
    },
    async stop() {
      ending.abort()
      await settled()
    },
  }
}
