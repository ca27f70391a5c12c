/** One node in a pulse: its stage with a real store and real lanes over a chain in memory, and reporters that do what they are told to. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PeerId } from '@libp2p/interface'
import * as assert from 'uvu/assert'
import { privateKeyToAccount } from 'viem/accounts'
import type { LaneClaim } from '../../node/chain/capacity.ts'
import { capacityClasses } from '../../node/chain/economy.ts'
import { devnetParams } from '../../node/chain/params.ts'
import { addressOfPeer } from '../../node/identity/identity.ts'
import type { Log } from '../../node/net/log.ts'
import type { PulseEngine } from '../../node/pulse/engine.ts'
import { computeLane, type LaneResult } from '../../node/pulse/lane.ts'
import { openProducts } from '../../node/pulse/products.ts'
import { createPulses, type PulseComponents } from '../../node/stages/pulse.ts'
import { openNotes, pulseStatus } from '../../node/stages/pulse-notes.ts'
import { answerFrame } from '../../node/stages/pulse-reports.ts'
import { openStore } from '../../node/store/store.ts'
import { type Hex, toHex } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { SinterError } from '../../protocol/errors.ts'
import { PulseAnswerSchema, PulseReplySchema } from '../../protocol/gen/sinter_pb.js'
import { hash } from '../../protocol/hash.ts'
import { type ReportTree, reportTree } from '../../protocol/pulse.ts'
import type { Address } from '../../protocol/signature.ts'

export const SNTR = 10n ** 18n
export const named = (name: string): Uint8Array => hash('test', new TextEncoder().encode(name))
export const word = (name: string): Hex => toHex(named(name))
const reporters = ['reporter', 'other'].map((name) => privateKeyToAccount(word(name)))
export const [REPORTER, OTHER] = reporters.map(({ address }) => address.toLowerCase()) as [Address, Address]
/** The same each time: turns and delays follow from it. */
export const OPERATOR: Address = toHex(named('operator').subarray(0, 20))
export const CAPACITY: Address = `0x${'ca'.repeat(20)}`
const params = {
  ...devnetParams,
  ...{ pulseRarity: 1, pulseWindow: 100, pulseClaimWindow: 600 },
  capacityClasses: `cpu:256:4:4:25:1:${1_000n * SNTR}`,
}
export const [CLASS] = capacityClasses(params) as [ReturnType<typeof capacityClasses>[number]]
const products = await openProducts(256, { executionProvider: 'cpu', threads: 1 })
/** Lanes on ONNX Runtime, in this process. */
export const real: PulseEngine = {
  lane: (work) => computeLane(products, work),
  async lanes(work, { most }) {
    const results: LaneResult[] = []
    for (let lane = 0; lane < most; lane++) results.push(await real.lane(work(lane)))
    return results
  },
}
const done = { tx: '0x00' as const, block: 1n, gasUsed: 1n }
export const SLOT = 9n
const DRAW = 20n

export type World = Awaited<ReturnType<typeof createWorld>>

export async function createWorld(init: { lanes?: number; engine?: Partial<PulseEngine> } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-lanes-'))
  const state = {
    now: 1_000n,
    openedAt: 1_000n,
    opened: true,
    value: word('slot'),
    drawn: null as Hex | null,
    recordedAt: 0n,
    stake: 2_500n * SNTR,
    behind: 0n,
    gasCost: null as bigint | null,
    reporters: [REPORTER, OTHER],
    hardwareClass: 'cpu',
    /** Slot whose value came out last. */
    newest: 0n,
    nodes: 3,
  }
  /** Values of slots that nobody has recorded. */
  const slots = new Map<bigint, Hex>()
  const roots = new Map<Address, Hex>()
  const claims: LaneClaim[] = []
  const calls: string[] = []
  const told = new Map<Address, Uint8Array>()
  let refuse: string | null = null
  const chain = {
    params,
    network: { chainId: 31_337, contracts: { capacity: CAPACITY } },
    drand: false,
    head: async () => ({ block: state.now, timestamp: state.now }),
    async node(operator: Address) {
      const publicKey = reporters.find(({ address }) => address.toLowerCase() === operator)?.publicKey.slice(4)
      return { hardwareClass: state.hardwareClass, publicKey: `0x${publicKey}` }
    },
    lastPulse: async () => (state.opened ? pulse() : null),
    pulse: async () => (state.opened ? pulse() : null),
    reporters: async () => state.reporters,
    reportRoot: async (_: bigint, reporter: Address) => roots.get(reporter) ?? null,
    beaconValue: async () => (state.opened ? state.value : null),
    slotValue: async (slot: bigint) => (slot === DRAW ? state.drawn : (slots.get(slot) ?? null)),
    slotAt: () => state.newest,
    slotHeight: (slot: bigint) => (slot === DRAW ? 1_110n : 0n),
    beaconPosition: ({ block }: { block: bigint }) => block,
    slotRecordedAt: async () => state.recordedAt,
    operators: async () => [OTHER, OPERATOR, REPORTER],
    operatorCount: async () => state.nodes,
    stakeAt: async () => state.stake,
    capacityPay: async (_: string, units: bigint) => units,
    epochsBehind: async () => state.behind,
    laneClaimed: async (_: bigint, __: Address, lane: number) => claims.some((each) => each.lane === lane),
    async openPulse(slot: bigint) {
      calls.push(`open ${slot}`)
      if (refuse !== null) throw new SinterError(refuse, 'refused')
      return done
    },
    async recordSlot() {
      calls.push('record')
      state.recordedAt = state.now
      return done
    },
    async rollEpochs(most: bigint) {
      calls.push(`roll ${most}`)
      state.behind -= most
      return done
    },
    async claimLane(claim: LaneClaim) {
      calls.push(`claim ${claim.lane}`)
      if (refuse !== null) throw new SinterError(refuse, 'refused')
      claims.push(claim)
      return done
    },
  } as unknown as PulseComponents['chain']
  const pulse = () => ({ slot: SLOT, openedAt: state.openedAt, snapshot: 5n, drawSlot: DRAW })

  /** What each reporter says; `honest` keeps what it is told, and its path leads to its root. */
  const trees = new Map<Address, ReportTree>()
  const honest = (reporter: Address, leaf: Uint8Array) => {
    const tree = trees.get(reporter)
    if (tree === undefined) {
      told.set(reporter, leaf)
      return { taken: true, code: '', path: [] as Uint8Array[] }
    }
    return { taken: true, code: '', path: tree.path(1) }
  }
  const says = new Map<Address, (reporter: Address, leaf: Uint8Array) => ReturnType<typeof honest>>()
  /** The reporter closes its report of what it was told and brings it. */
  const report = (reporter: Address): Hex => {
    const tree = reportTree(new Map([[1, told.get(reporter)!]]))
    trees.set(reporter, tree)
    roots.set(reporter, toHex(tree.root))
    return toHex(tree.root)
  }
  const streams: PulseComponents['streams'] = {
    async open(peer) {
      let frame = new Uint8Array()
      const reporter = addressOfPeer(peer as PeerId)
      return {
        async write(bytes: Uint8Array) {
          frame = new Uint8Array(bytes)
        },
        async read() {
          const query = decode(PulseAnswerSchema, frame)!
          assert.equal(frame, answerFrame(SLOT, query.leaf))
          const reply = (says.get(reporter) ?? honest)(reporter, query.leaf)
          return encode(PulseReplySchema, reply)
        },
        close: async () => {},
      } as unknown as Awaited<ReturnType<PulseComponents['streams']['open']>>
    },
  }

  const said: { event: string; reason?: string; code?: string }[] = []
  const keep = (facts: unknown): void => void said.push(facts as (typeof said)[number])
  const log = { debug: keep, info: keep, warn: keep, error: keep } as unknown as Log
  const lanesOf: number[] = []
  const used = { ...real, ...init.engine }
  const engine: PulseEngine = {
    ...used,
    lanes(work, limits) {
      lanesOf.push(limits.most)
      return used.lanes(work, limits)
    },
  }
  const start = async () => {
    const store = await openStore(join(folder, 'store'))
    const pulses = createPulses(
      {
        ...{ address: OPERATOR, chain, engine, store, streams, log },
        gasCost: async () => state.gasCost,
        notes: await openNotes(join(folder, 'pulses'), init.lanes ?? 1),
      },
      { lanes: init.lanes ?? 1, confirmations: 3 },
    )
    return { store, pulses }
  }
  let running = await start()
  return {
    ...{ state, claims, calls, told, said, roots, says, slots, report, lanesOf },
    refuse: (code: string | null) => {
      refuse = code
    },
    /** Looks at a time until everything that follows from it is done. */
    async at(now: number): Promise<void> {
      state.now = BigInt(now)
      await running.pulses.tick()
      await running.pulses.settled()
    },
    async restart(): Promise<void> {
      await running.pulses.stop()
      await running.store.close()
      running = await start()
    },
    status: () => pulseStatus(join(folder, 'pulses')),
    async stop(): Promise<void> {
      await running.pulses.stop()
      await running.store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
