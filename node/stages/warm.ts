import { utf8 } from '../../protocol/bytes.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import { hash } from '../../protocol/hash.ts'
import type { Runtimes } from '../model/runtimes.ts'
import type { Log } from '../net/log.ts'

/**
 * What a provider keeps loaded. It counts the offers it sees and the jobs it serves, divides the models that are asked for among the
 * nodes it knows, as each of them does by the same rule, and loads its own part before it is asked. Nobody is told anything: where two
 * nodes see the network differently, a model is loaded twice or not at all until somebody asks.
 */
export type Warmth = {
  /** An offer of somebody who can pay. Whether this node should bid on it: not when it would have to unload for what others hold. */
  offered(manifest: string, consumer: string): boolean
  /** A job of a session with this node. */
  served(manifest: string): void
  /** Models that were asked for, those asked for last first. */
  asked(): string[]
  /** What a loaded model is worth keeping: the higher the later it goes. */
  worth(manifest: string): number
  /** Loads what is missing of this node's part, one model after the other. Never throws. */
  tick(): Promise<void>
}

export type WarmthInit = {
  /** Models that a node keeps; others are taken to keep as many. */
  slots: number
  /** Milliseconds after which what was asked for counts half. @default 1_800_000 */
  halfLifeMs?: number
  /** Of offers of a model that others keep, one in so many is taken nevertheless: they may not be able to. @default 8 */
  passes?: number
}

/** What is remembered at most: models, and consumers of one. The one heard of longest ago goes first. */
const MAX_MODELS = 256
const MAX_CONSUMERS = 256
/** A model that could not be loaded is left alone for so long (ms). */
const AVOID_MS = 60_000
/** The models are divided anew when this has passed (ms). */
const DIVIDE_MS = 1_000
/** More than any demand. */
const OWN = 1e9
/** Under which consumer the jobs served here count. */
const OURS = 'served'

type Count = { value: number; at: number }

/** Numbers of something, which halve with time. */
export function decayed({ value, at }: Count, now: number, halfLifeMs: number): number {
  return value * 2 ** ((at - now) / halfLifeMs)
}

/** 32 bits of a name. */
const markOf = (name: string): number => new DataView(hash('warm', utf8(name)).buffer).getUint32(0)

/** 32 bits that depend on all 32 given: the end of MurmurHash3. Who makes itself first for a model by it gains the work of it. */
function mixed(bits: number): number {
  let h = bits
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/**
 * Which models each of `nodes` keeps, of those that are asked for. Every model has a place before any has a second, at the node that its name
 * puts first of those with room (rendezvous hashing): who asks for what moves none of these while the models stay the same, so none is unloaded
 * here before it is loaded there. Further places go to those with the most demand a place.
 * @param demand models by what they are asked for, above 0
 */
export function divide(
  demand: ReadonlyMap<string, number>,
  nodes: readonly string[],
  slots: number,
): Map<string, string[]> {
  const parts = new Map<string, string[]>(nodes.map((node) => [node, []]))
  const marks = nodes.map((node) => ({ node, mark: markOf(node) }))
  /** The first node with room that does not keep the model yet. */
  function place(model: string): boolean {
    const own = markOf(model)
    let first: { node: string; rank: number } | null = null
    for (const { node, mark } of marks) {
      const part = parts.get(node)!
      if (part.length >= slots || part.includes(model)) continue
      const rank = mixed(own ^ mark)
      if (first === null || rank < first.rank) first = { node, rank }
    }
    if (first !== null) parts.get(first.node)!.push(model)
    return first !== null
  }
  const wanted = [...demand].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, slots * nodes.length)
  for (const model of wanted.map(([name]) => name).sort()) place(model)
  const open = new Map(wanted.map(([model, weight]) => [model, { weight, places: 1 }]))
  for (let left = slots * nodes.length - wanted.length; left > 0 && open.size > 0; ) {
    const [model, most] = [...open].reduce((best, each) =>
      each[1].weight / (each[1].places + 1) > best[1].weight / (best[1].places + 1) ? each : best,
    )
    if (place(model)) {
      most.places++
      left--
    } else open.delete(model)
  }
  return parts
}

export function createWarmth(
  components: {
    self: string
    /** Other nodes that may keep models. */
    others(): string[]
    runtimes: Pick<Runtimes, 'get' | 'isWarm' | 'loaded' | 'hasRoom'>
    now(): number
    log: Log
  },
  { slots, halfLifeMs = 1_800_000, passes = 8 }: WarmthInit,
): Warmth {
  const { self, others, runtimes, now, log } = components
  const asked = new Map<string, Map<string, Count>>()
  const avoided = new Map<string, number>()
  /** Offers that were left to others, by model. */
  const passed = new Map<string, number>()

  function count(manifest: string, consumer: string): void {
    const consumers = asked.get(manifest) ?? new Map<string, Count>()
    asked.delete(manifest)
    asked.set(manifest, consumers)
    if (asked.size > MAX_MODELS) asked.delete(asked.keys().next().value!)
    const before = consumers.get(consumer)
    consumers.delete(consumer)
    consumers.set(consumer, { value: 1 + (before ? decayed(before, now(), halfLifeMs) : 0), at: now() })
    if (consumers.size > MAX_CONSUMERS) consumers.delete(consumers.keys().next().value!)
  }

  /** Many consumers count for more than many offers of one, which cost it nothing. */
  function demandOf(manifest: string): number {
    const at = now()
    let sum = 0
    for (const each of asked.get(manifest)?.values() ?? []) sum += Math.log2(1 + decayed(each, at, halfLifeMs))
    return sum
  }

  let divided: { at: number; parts: Map<string, string[]> } | null = null
  function parts(): Map<string, string[]> {
    if (divided === null || now() - divided.at >= DIVIDE_MS) {
      const demand = new Map([...asked.keys()].map((manifest) => [manifest, demandOf(manifest)]))
      divided = { at: now(), parts: divide(demand, [...new Set([self, ...others()])].sort(), slots) }
    }
    return divided.parts
  }

  return {
    served: (manifest) => count(manifest, OURS),
    offered(manifest, consumer) {
      count(manifest, consumer)
      if (runtimes.isWarm(manifest) || runtimes.hasRoom()) return true
      const known = parts()
      if (known.get(self)!.includes(manifest) || ![...known.values()].some((models) => models.includes(manifest)))
        return true
      const before = passed.get(manifest) ?? 0
      passed.delete(manifest)
      passed.set(manifest, before + 1)
      if (passed.size > MAX_MODELS) passed.delete(passed.keys().next().value!)
      return before % passes === passes - 1
    },
    asked: () => [...asked.keys()].reverse(),
    worth(manifest) {
      const known = parts()
      if (!known.get(self)!.includes(manifest)) return demandOf(manifest)
      // What is ours goes after everything that is not, and what others keep too before what they do not.
      const alone = [...known.values()].filter((models) => models.includes(manifest)).length === 1
      return demandOf(manifest) + (alone ? 2 : 1) * OWN
    },
    async tick() {
      const mine = parts().get(self)!
      for (const manifest of mine) {
        if (runtimes.isWarm(manifest) || (avoided.get(manifest) ?? 0) > now()) continue
        if (!runtimes.hasRoom() && runtimes.loaded().every((each) => mine.includes(each))) return
        try {
          await runtimes.get(manifest)
          log.info({ event: 'model.preloaded', manifest }, 'a model that is asked for is loaded')
        } catch (error) {
          const code = errorCode(error)
          // Others are in use: there may be room soon.
          if (code !== 'MODELS_BUSY') avoided.set(manifest, now() + AVOID_MS)
          if (avoided.size > MAX_MODELS) avoided.delete(avoided.keys().next().value!)
          log.debug({ event: 'model.not-preloaded', manifest, code, error: describeError(error) }, 'not loaded')
        }
      }
    },
  }
}
