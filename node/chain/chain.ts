import type { Hex, PublicClient } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import { sleep } from '../timers.ts'
import { type Appeals, openAppeals } from './appeals.ts'
import { beaconClock } from './beacon.ts'
import { type Canaries, openCanaries } from './canaries.ts'
import { type Capacities, openCapacities } from './capacity.ts'
import { openClient } from './client.ts'
import { chainError } from './errors.ts'
import { type History, openHistory } from './history.ts'
import type { JournalOf } from './journal.ts'
import { type Mints, openMints } from './mint.ts'
import { type NetworkParams, paramsFromJson, pollMsOf } from './params.ts'
import { openReferee, type Referee } from './referee.ts'
import type { RoundSource } from './rounds.ts'
import { openSteps, type Steps } from './steps.ts'
import { openTransactor, type TransactOptions, type Transactor } from './transact.ts'
import { openViews, type Views } from './views.ts'
import { openPolls, type Polls } from './votes.ts'
import {
  type BatchEvent,
  type EscrowEvent,
  type Watcher,
  type WatchOptions,
  watchBatches,
  watchEscrow,
} from './watch.ts'

/**
 * @param rpcUrl JSON-RPC endpoints in the order in which they are preferred. Each is trusted for what it answers.
 * @param key account that sends and pays; without it the chain is read-only.
 * @param pollMs pause between looks at the chain while waiting. @default what the network's windows allow, see `pollMsOf`
 * @param journal where transactions are written before they leave. @default kept in memory
 * @param rounds where signatures of drand rounds come from, on networks with the drand beacon. @default none: others record
 * @param resumeMs longest wait for what an earlier process has sent or was about to send. @default 15_000
 */
export type ChainOptions = Omit<TransactOptions, 'journal'> & {
  network: NetworkFile
  rpcUrl: string | readonly string[]
  key?: Hex
  pollMs?: number
  journal?: JournalOf
  resumeMs?: number
  rounds?: RoundSource | null
}

/** @param patienceMs time left to others to record the slot and pay for it. @default 0 */
export type AwaitSlotOptions = { patienceMs?: number; signal?: AbortSignal }

/** The network's contracts as functions. Hashes and ids are `0x` hex, addresses lower case, amounts base units. */
export type Chain = Views &
  Steps &
  Polls &
  Appeals &
  Canaries &
  Referee &
  Mints &
  Capacities &
  History & {
    network: NetworkFile
    params: NetworkParams
    /** Whether slots are rounds of drand, which forks of the chain do not change. */
    drand: boolean
    /** Account of the key, null when read-only. */
    address: Address | null
    /**
     * Waits until the slot is open (its block mined, its round due), records the slot if nobody does within `patienceMs` (never without a key), and
     * returns its value.
     */
    awaitSlot(slot: bigint, options?: AwaitSlotOptions): Promise<Hex>
    /** Waits until the chain's clock is past `timestamp` (seconds). */
    awaitTime(timestamp: bigint, signal?: AbortSignal): Promise<void>
    watchBatches(handler: (event: BatchEvent) => void | Promise<void>, options?: WatchOptions): Watcher
    watchEscrow(handler: (event: EscrowEvent) => void | Promise<void>, options?: WatchOptions): Watcher
    /** Ends the care for transactions that are on their way; a journal on disk keeps them for the next start. */
    close(): void
  }

/** Throws `CHAIN_ID` when the endpoint is another chain, `CHAIN_NO_CONTRACTS` when the contracts are not there, `CHAIN_RPC`. */
export async function openChain(options: ChainOptions): Promise<Chain> {
  const { network, rpcUrl, key, journal, resumeMs = 15_000, rounds = null, ...transact } = options
  // What is on its way is looked after more often: somebody waits for it.
  const client = openClient(rpcUrl, options.pollMs, { chainId: network.chainId })
  await checkNetwork(client, network)
  const params = paramsFromJson(network.params)
  const { pollMs = pollMsOf(params) } = options
  const transactor = key === undefined ? null : openAccount(key)
  await transactor?.resume(resumeMs)
  const clock = beaconClock(network, params.slotLength)
  const views = openViews(client, network, clock)
  const steps = openSteps(client, network, views, transactor, key, clock, rounds)

  function openAccount(privateKey: Hex): Transactor {
    const account = privateKeyToAccount(privateKey)
    const kept = journal === undefined ? {} : { journal: journal(network.chainId, account.address) }
    return openTransactor(client, network.chainId, account, { ...transact, ...kept })
  }

  async function until(condition: () => Promise<boolean>, signal?: AbortSignal): Promise<void> {
    while (!(await condition())) await sleep(pollMs, { signal })
  }

  /** Some nodes estimate on top of the newest block, others inside it, where its own hash is not known yet. */
  const retryNextBlock = (height: bigint) => async (error: unknown) => {
    const { block } = await views.head()
    if (errorCode(error) !== 'CHAIN_HashUnknown' || block > height + 1n) throw error
    await sleep(pollMs)
  }

  return {
    ...views,
    ...steps,
    ...openPolls(client, network, transactor),
    ...openAppeals(client, network, transactor),
    ...openReferee(client, network, transactor),
    ...openCanaries(client, network, transactor),
    ...openMints(client, network, transactor),
    ...openCapacities(client, network, params, views, transactor, clock, rounds),
    ...openHistory(client, network),
    network,
    params,
    drand: clock.drand !== null,
    address: transactor?.address ?? null,
    async awaitSlot(slot, { patienceMs = 0, signal } = {}) {
      const height = views.slotHeight(slot)
      await until(async () => clock.position(await views.head()) >= height, signal)
      const patient = Date.now() + patienceMs
      for (;;) {
        const value = await views.beaconValue(slot)
        if (value !== null) return value
        if (transactor === null || Date.now() < patient) await sleep(pollMs, { signal })
        else await steps.recordSlot(slot).catch(retryNextBlock(height))
      }
    },
    awaitTime: (timestamp, signal) => until(async () => (await views.head()).timestamp > timestamp, signal),
    watchBatches: (handler, options) => watchBatches(client, network, handler, { pollMs, ...options }),
    watchEscrow: (handler, options) => watchEscrow(client, network, handler, { pollMs, ...options }),
    close: () => transactor?.close(),
  }
}

async function checkNetwork(client: PublicClient, network: NetworkFile): Promise<void> {
  const [chainId, code] = await Promise.all([
    client.getChainId(),
    client.getCode({ address: network.contracts.batches }),
  ]).catch((error: unknown) => {
    throw chainError(error, 'open the chain')
  })
  if (chainId !== network.chainId) {
    throw new SinterError(
      'CHAIN_ID',
      `the endpoint is chain ${chainId}, network ${network.name} is on ${network.chainId}`,
    )
  }
  if (code === undefined) {
    throw new SinterError('CHAIN_NO_CONTRACTS', `the contracts of network ${network.name} are not on this chain`)
  }
}
