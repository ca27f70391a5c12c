import { equalBytes, type Hex, toHex } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { PulseAnswerSchema, PulseReplySchema } from '../../protocol/gen/sinter_pb.js'
import { type ReportTree, reportTree } from '../../protocol/pulse.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Pulse } from '../chain/capacity.ts'
import type { Chain } from '../chain/chain.ts'
import { addressOfPeer } from '../identity/identity.ts'
import type { Log } from '../net/log.ts'
import type { StreamHandler } from '../net/streams.ts'
import { bytesCodec, jsonCodec, type Store, storeKey } from '../store/store.ts'
import type { PulseNotes } from './pulse-notes.ts'
import { answerUntil, reportUntil } from './pulse-plan.ts'

/** What a reporter says to an answer. `path` once the report is closed. */
export type PulseReply = { taken: boolean; code: string; path: Uint8Array[] }

export type ReportComponents = {
  address: Address
  chain: Pick<Chain, 'operators' | 'reportPulse' | 'reportRoot' | 'stakeAt'> & {
    params: Pick<Chain['params'], 'minStake' | 'pulseWindow' | 'pulseClaimWindow'>
  }
  store: Store
  notes: Pick<PulseNotes, 'reported'>
  log: Log
}

/** A pulse as the stage last saw it: with the value of its slot and those drawn to report it. */
export type SeenPulse = Pulse & { value: Hex; reporters: Address[] }

export type Reports = {
  /** Serves `/sinter/pulse/1`. */
  handler: StreamHandler
  /** Takes a node's leaf, or gives its path: capacity.md §6. */
  answer(from: Address, slot: bigint, leaf: Uint8Array): Promise<PulseReply>
  /** Takes up a pulse that this node is drawn for, closes its report in time and brings it. Without a pulse, only forgets old ones. */
  tick(pulse: SeenPulse | null, now: bigint): Promise<void>
}

/** A report of this node's. `closed` null while answers are taken; its tree is empty where none came. */
type Duty = {
  pulse: SeenPulse
  /** Each operator's place in the registry, and of its leaf. */
  places: Map<Address, number>
  leaves: Map<number, Uint8Array>
  /** Those whose stake was looked up. */
  admitted: Set<Address>
  closed: ReportTree | null
}

/** What is on disk of a duty, beside the leaves: enough to hand out paths after a restart. */
type StoredReport = { pulse: SeenPulse; root: Hex | null }

const refused = (code: string): PulseReply => ({ taken: false, code, path: [] })

export function createReports({ address, chain, store, notes, log }: ReportComponents): Reports {
  const { minStake, pulseWindow: window, pulseClaimWindow } = chain.params
  const reports = store.table('pulses', jsonCodec<StoredReport>())
  const taken = store.table('pulses', bytesCodec)
  const duties = new Map<bigint, Duty>()
  const reportKey = (slot: bigint): string => storeKey('report', slot)
  const leafKey = (slot: bigint, place: number): string => storeKey('leaf', slot, place)
  let loaded = false
  let tail: Promise<unknown> = Promise.resolve()
  /** One change of what is on disk after the other: a leaf is either in a report as it was closed, or was never taken. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = tail.then(work)
    tail = turn.catch(() => {})
    return turn
  }

  async function dutyOf(pulse: SeenPulse): Promise<Duty> {
    const operators = await chain.operators()
    const places = new Map(operators.map((operator, place) => [operator, place]))
    return { pulse, places, leaves: new Map(), admitted: new Set(), closed: null }
  }

  /** What an earlier process has taken: a leaf that somebody was told of is in the report. */
  async function load(): Promise<void> {
    const found: StoredReport[] = []
    for await (const [, stored] of reports.entries('report/')) found.push(stored)
    for (const { pulse, root } of found) {
      const duty = await dutyOf(pulse)
      const prefix = `${storeKey('leaf', pulse.slot)}/`
      for await (const [key, leaf] of taken.entries(prefix)) duty.leaves.set(Number(key.slice(prefix.length)), leaf)
      if (root !== null) duty.closed = reportTree(duty.leaves)
      duties.set(pulse.slot, duty)
    }
  }

  async function forget(duty: Duty): Promise<void> {
    const { slot } = duty.pulse
    duties.delete(slot)
    await store.batch([
      reports.delOp(reportKey(slot)),
      ...[...duty.leaves.keys()].map((place) => taken.delOp(leafKey(slot, place))),
    ])
  }

  async function takeUp(pulse: SeenPulse, now: bigint): Promise<void> {
    const known = duties.get(pulse.slot)
    if (known?.pulse.value === pulse.value) {
      known.pulse = pulse
      return
    }
    // A fork has given the slot another value: other lanes, and maybe other reporters.
    if (known !== undefined) await forget(known)
    if (!pulse.reporters.includes(address) || now >= answerUntil({ openedAt: pulse.openedAt, window })) return
    const duty = await dutyOf(pulse)
    await reports.put(reportKey(pulse.slot), { pulse, root: null })
    duties.set(pulse.slot, duty)
    log.info({ event: 'pulse.drawn', slot: Number(pulse.slot) }, 'drawn to report a pulse')
  }

  /** On disk before it leaves: whatever comes after it is not in it. */
  async function close(duty: Duty): Promise<void> {
    const tree = reportTree(duty.leaves)
    await reports.put(reportKey(duty.pulse.slot), { pulse: duty.pulse, root: toHex(tree.root) })
    duty.closed = tree
  }

  async function bring({ pulse: { slot }, leaves, closed }: Duty): Promise<void> {
    if (leaves.size === 0 || (await chain.reportRoot(slot, address)) !== null) return
    try {
      const { gasUsed } = await chain.reportPulse(slot, toHex(closed!.root))
      const facts = { event: 'pulse.reported', slot: Number(slot), answers: leaves.size, gas: Number(gasUsed) }
      log.info(facts, 'pulse reported')
      await notes.reported()
    } catch (error) {
      if (errorCode(error) !== 'CHAIN_AlreadyReported') throw error
    }
  }

  async function admits(duty: Duty, from: Address): Promise<boolean> {
    if (duty.admitted.has(from)) return true
    if ((await chain.stakeAt(from, duty.pulse.snapshot)) < minStake) return false
    duty.admitted.add(from)
    return true
  }

  /** The last one stands: a node may have seen a fork. Its disk need not be waited for; what closes the report is written after it. */
  async function take({ pulse: { slot }, leaves, closed }: Duty, place: number, leaf: Uint8Array): Promise<void> {
    if (closed !== null) return
    await taken.put(leafKey(slot, place), leaf, { sync: false })
    leaves.set(place, leaf)
  }

  async function answer(from: Address, slot: bigint, leaf: Uint8Array): Promise<PulseReply> {
    const duty = duties.get(slot)
    // [REFUSE] This node is drawn to report the pulse, and has seen it.
    if (duty === undefined) return refused('PULSE_UNKNOWN')
    const place = duty.places.get(from)
    // [REFUSE] The sender is a node that had stake when the pulse's stakes were counted.
    if (place === undefined || !(await admits(duty, from))) return refused('PULSE_NOT_STAKED')
    if (duty.closed === null) await inTurn(() => take(duty, place, leaf))
    if (duty.closed === null) return { taken: true, code: '', path: [] }
    const known = duty.leaves.get(place)
    // [REFUSE] A closed report takes nothing more; its paths are for the leaves that are in it.
    if (known === undefined || !equalBytes(known, leaf)) return refused('PULSE_CLOSED')
    return { taken: true, code: '', path: duty.closed.path(place) }
  }

  return {
    answer,
    async handler(stream, peer) {
      const query = decode(PulseAnswerSchema, await stream.read(5_000))
      // [REFUSE] The answer is canonically encoded, and its leaf has 32 bytes.
      if (query === null || query.leaf.length !== 32)
        throw new SinterError('FRAME_MALFORMED', 'not an answer to a pulse')
      await stream.write(encode(PulseReplySchema, await answer(addressOfPeer(peer), query.slot, query.leaf)))
    },
    async tick(pulse, now) {
      if (!loaded) await load()
      loaded = true
      if (pulse !== null) await takeUp(pulse, now)
      for (const duty of [...duties.values()]) {
        const times = { openedAt: duty.pulse.openedAt, window }
        if (now > reportUntil(times) + BigInt(2 * pulseClaimWindow)) await forget(duty)
        else if (duty.closed === null && now >= answerUntil(times)) await inTurn(() => close(duty))
        if (duty.closed !== null && now <= reportUntil(times)) await bring(duty)
      }
    },
  }
}

/** A reporter's reply as it came. Throws `FRAME_MALFORMED`. */
export function readReply(bytes: Uint8Array): PulseReply {
  const reply = decode(PulseReplySchema, bytes)
  if (reply === null || reply.path.some((each) => each.length !== 32))
    throw new SinterError('FRAME_MALFORMED', 'not a reply to an answer')
  return { taken: reply.taken, code: reply.code, path: reply.path }
}

/** An answer as it travels. */
export const answerFrame = (slot: bigint, leaf: Uint8Array): Uint8Array => encode(PulseAnswerSchema, { slot, leaf })
