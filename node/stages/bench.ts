import type { Hex } from '../../protocol/bytes.ts'
import { describeError, errorCode } from '../../protocol/errors.ts'
import type { Address } from '../../protocol/signature.ts'
import type { Chain } from '../chain/chain.ts'
import type { BatchEvent } from '../chain/watch.ts'
import type { Log } from '../net/log.ts'
import { jsonCodec, type Store } from '../store/store.ts'

export type BenchComponents = {
  address: Address
  chain: Pick<Chain, 'bench' | 'benchesIn' | 'head' | 'releaseSeats'>
  store: Store
  log: Log
}

/** Our seats on committees: what is held for our votes, until it can be had back. */
export type Benches = {
  /** Remembers the bench of a settled batch that we sit on. Repeatable. */
  apply(event: BatchEvent): Promise<void>
  /** Frees the benches whose time is over. */
  tick(): Promise<void>
}

/** Voters of a bench take turns of so many seconds, so that one transaction frees all of it. */
const TURN_S = 5n

export function createBenches({ address, chain, store, log }: BenchComponents): Benches {
  const benches = store.table('benches', jsonCodec<Address[]>())

  async function look(bench: Hex, voters: Address[], now: bigint): Promise<void> {
    const { until, held } = await chain.bench(bench)
    if (held) {
      if (now <= until + TURN_S * BigInt(voters.indexOf(address))) return
      await chain.releaseSeats(bench, voters)
      log.info({ event: 'seats.released', bench, seats: voters.length }, 'seats released')
    }
    await benches.del(bench)
  }

  return {
    async apply(event) {
      if (event.name !== 'BatchSettled') return
      if (!event.args.voters.includes(address)) return
      // The first verdict's bench has the batch's id; one on appeal has another, and holds other seats.
      for (const { id, voters } of await chain.benchesIn(event.tx)) await benches.put(id, voters)
    },
    async tick() {
      const all: [Hex, Address[]][] = []
      for await (const [bench, voters] of benches.entries()) all.push([bench as Hex, voters])
      if (all.length === 0) return
      const { timestamp } = await chain.head()
      for (const [bench, voters] of all) {
        await look(bench, voters, timestamp).catch((error: unknown) =>
          // Another voter was faster, or the chain is not there: the next look sees what is.
          log.warn(
            { event: 'seats.delayed', bench, code: errorCode(error), error: describeError(error) },
            'seats not released yet',
          ),
        )
      }
    },
  }
}

/** A handler of events for all who keep something of them, one after the other. */
export const applyTo =
  (...keepers: { apply(event: BatchEvent): void | Promise<void> }[]) =>
  async (event: BatchEvent): Promise<void> => {
    for (const keeper of keepers) await keeper.apply(event)
  }
