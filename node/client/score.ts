import type { Address } from '../../protocol/signature.ts'

/** What this consumer has seen of one provider. Counts fade: each is halved when their sum reaches `FADE`. */
export type Experience = {
  answers: number
  failures: number
  latencyMs: number | null
  consecutive: number
  restUntilMs: number
}

/** A failure counts as much as so many answers. */
const FAILURE_WEIGHT = 4
const FADE = 64
/** Weight of a new latency in the moving average. */
const NEWEST = 0.2
const REST_MS = 30_000
const MAX_REST_MS = 600_000

/** Local scores of providers. Nobody is told of them, and nobody's word changes them. */
export type Scores = {
  /** In (0, 1]; 1 for a provider that is not known. */
  of(provider: Address): number
  /** Moving average of what its answers took (ms), or null. */
  latencyMs(provider: Address): number | null
  answered(provider: Address, latencyMs: number): void
  /** It failed; `invalid` when its answer was not one. It is left alone for 30 s, doubled each time in a row, 10 min when invalid. */
  failed(provider: Address, kind: 'failed' | 'invalid'): void
  /** Whether it is being left alone. */
  resting(provider: Address): boolean
}

export type ScoresInit = {
  /** What was known before. @default nothing */
  known?: Map<Address, Experience>
  /** Told of every change. */
  onChange?(provider: Address, experience: Experience): void
}

export function createScores(now: () => number, { known = new Map(), onChange }: ScoresInit = {}): Scores {
  const fresh = (): Experience => ({ answers: 0, failures: 0, latencyMs: null, consecutive: 0, restUntilMs: 0 })
  function change(provider: Address, apply: (each: Experience) => void): void {
    const each = known.get(provider) ?? fresh()
    apply(each)
    if (each.answers + each.failures >= FADE) {
      each.answers /= 2
      each.failures /= 2
    }
    known.set(provider, each)
    onChange?.(provider, each)
  }
  return {
    of(provider) {
      const { answers, failures } = known.get(provider) ?? fresh()
      return (answers + 1) / (answers + 1 + FAILURE_WEIGHT * failures)
    },
    latencyMs: (provider) => known.get(provider)?.latencyMs ?? null,
    answered: (provider, latencyMs) =>
      change(provider, (each) => {
        each.answers++
        each.consecutive = 0
        each.latencyMs = each.latencyMs === null ? latencyMs : each.latencyMs + NEWEST * (latencyMs - each.latencyMs)
      }),
    failed: (provider, kind) =>
      change(provider, (each) => {
        each.failures++
        each.consecutive++
        const rest = kind === 'invalid' ? MAX_REST_MS : REST_MS * 2 ** (each.consecutive - 1)
        each.restUntilMs = now() + Math.min(MAX_REST_MS, rest)
      }),
    resting: (provider) => (known.get(provider)?.restUntilMs ?? 0) > now(),
  }
}

/** What ranking looks at. Prices in base units a job; `region` is what the provider says of itself. */
export type Ranked = { provider: Address; price: bigint; expectedLatencyMs: number; region?: string }

/** Milliseconds that a bid from another region than the wanted one is taken to be slower than it promises. */
export const ELSEWHERE_MS = 100

/**
 * What a job at a provider costs the consumer, waiting and risk included, in base units: (price + latencyValue · ms) / score. The
 * latency is the one measured here, else the one its bid promises, with `ELSEWHERE_MS` more for a bid from another region: where a
 * provider is, is its own word, and what was measured says more.
 * @param latencyValue base units that a millisecond of waiting is worth
 * @param region where providers had best be. @default anywhere
 */
export function effectivePrice(
  bid: Ranked,
  scores: Pick<Scores, 'of' | 'latencyMs'>,
  latencyValue: bigint,
  region = '',
): number {
  const elsewhere = region !== '' && bid.region !== region ? ELSEWHERE_MS : 0
  const ms = scores.latencyMs(bid.provider) ?? bid.expectedLatencyMs + elsewhere
  return (Number(bid.price) + Number(latencyValue) * ms) / scores.of(bid.provider)
}

/** Bids by effective price, the best first; equal ones by address, so that the order is the same every time. */
export function rankBids<B extends Ranked>(
  bids: B[],
  scores: Pick<Scores, 'of' | 'latencyMs'>,
  latencyValue: bigint,
  region = '',
): B[] {
  const cost = new Map(bids.map((bid) => [bid, effectivePrice(bid, scores, latencyValue, region)]))
  return [...bids].sort((a, b) => cost.get(a)! - cost.get(b)! || (a.provider < b.provider ? -1 : 1))
}
