import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createCommitter } from '../circuits/commit.ts'
import { createProverPool } from '../circuits/pool.ts'
import { createVerifier } from '../circuits/verify.ts'
import type { ExecutionProvider } from '../models/session.ts'
import { toHex } from '../protocol/bytes.ts'
import { describeError, SinterError } from '../protocol/errors.ts'
import { type NetworkFile, networkId, networkTag } from '../protocol/network.ts'
import type { commitJob } from './attestation/commit.ts'
import { proveJob } from './attestation/prove.ts'
import { createRootPool } from './attestation/root-pool.ts'
import { createTracer } from './attestation/tracer.ts'
import { drandOf } from './chain/beacon.ts'
import { type Chain, openChain } from './chain/chain.ts'
import { notPast, storedCursor } from './chain/cursor.ts'
import { escrowDomain, votesDomain } from './chain/eip712.ts'
import { fundsOf } from './chain/funds.ts'
import { createQuoter, type UsdFeed } from './chain/oracle.ts'
import { pollMsOf } from './chain/params.ts'
import { EVMNET_RELAYS, httpRounds } from './chain/rounds.ts'
import { storedJournal } from './chain/stored-journal.ts'
import { checkCircuits } from './circuits.ts'
import { type Placement, placements as placementsOf } from './exec/devices.ts'
import { probeExecutionProvider } from './exec/probe.ts'
import type { Identity } from './identity/identity.ts'
import { createLedger } from './jobs/ledger.ts'
import { repeat, within } from './loop.ts'
import { batchFits, leafSeconds, provingLimits } from './model/cost.ts'
import { createKeeper } from './model/keep.ts'
import { createModelLibrary } from './model/load.ts'
import type { Runtime } from './model/runtime.ts'
import { createRuntimes, MAX_MODELS, type RuntimesInit } from './model/runtimes.ts'
import { type Content, createContent } from './net/content.ts'
import { storedPeers } from './net/known-peers.ts'
import { createNetwork, type Network } from './net/libp2p.ts'
import type { Log } from './net/log.ts'
import { createStreams } from './net/streams.ts'
import { createPulseEngine } from './pulse/engine.ts'
import { type AttestComponents, type Attester, createAttester } from './stages/attest.ts'
import { attestationHandler, fetchAttestation } from './stages/attestation-stream.ts'
import { createBallotBox } from './stages/ballot.ts'
import { type BatchInit, createBatcher } from './stages/batch.ts'
import { applyTo, createBenches } from './stages/bench.ts'
import { type Bidder, createBidder } from './stages/bid.ts'
import { createBatchBook } from './stages/book.ts'
import { createCanaryMaker } from './stages/canary.ts'
import { nodeCatalogue } from './stages/catalogue.ts'
import { createDriver } from './stages/driver.ts'
import { enterRegistry, keepFloor } from './stages/entry.ts'
import { gossipValidators } from './stages/gossip.ts'
import { createPolls } from './stages/poll.ts'
import { createPulses } from './stages/pulse.ts'
import { openNotes } from './stages/pulse-notes.ts'
import { createSealedJobs } from './stages/sealed-jobs.ts'
import { jobHandler } from './stages/session.ts'
import { sessionOnChain } from './stages/session-watch.ts'
import { createUpkeep } from './stages/upkeep.ts'
import { createVoter, newSince, type VoteInit } from './stages/vote.ts'
import { createWarmth } from './stages/warm.ts'
import { openStore } from './store/store.ts'

export type NodeConfig = {
  network: NetworkFile
  /** JSON-RPC endpoints, the preferred one first. */
  rpcUrl: string | readonly string[]
  identity: Identity
  /** Folder for the store and the blocks of models. */
  dataDir: string
  listen: string[]
  bootstrap: string[]
  /** Everything on one machine (see `NetworkInit.devnet`). */
  devnet: boolean
  executionProvider: ExecutionProvider
  hardwareClass: string
  /** Where this node is, such as `eu-west`: told in its bids. @default no say */
  region?: string
  /** Base units asked per job. */
  price: bigint
  /** Stake to register with if the operator is not registered yet; 0 for a node that only follows. */
  stake: bigint
  /** Escrow balance to keep for verification floors. */
  floorDeposit: bigint
  memoryMib: number
  /** Bytes of models and data on disk, above which the least recently used go. @default 20 GiB */
  diskBytes?: number
  /** Devices and sessions of each model. @default one session on the provider's default device */
  placements?: Placement[]
  /** How many models are kept and what they may take. */
  models?: RuntimesInit
  /** Proofs made at once, each on one core with about 0.3 GB. @default half of the cores */
  provers?: number
  /** Most wei paid per gas; work that a deadline waits for may cost ten times as much. @default no limit */
  maxFeePerGas?: bigint
  /** Blocks that a reorganisation may undo: transactions are watched, and beacon values awaited, for so long. @default 3 */
  confirmations?: number
  /** Relays of drand rounds, on networks with the drand beacon. @default those of evmnet */
  drandUrls?: readonly string[]
  /** Lanes of a capacity pulse that this node computes at most; 0 takes no part in pulses. @default 1 */
  lanes?: number
  /** Prices of ether and the token, so that batches and claims are worth their gas. @default none */
  prices?: { ether: UsdFeed; token: UsdFeed } | null
  /** Pay is withdrawn from the escrow, and what is minted claimed, from this amount on, base units; null never. @default null */
  claimFrom?: bigint | null
  /** Key of the operator's own consumer, whose jobs here become canaries (settlement.md §5.5). @default none */
  canaryKey?: Uint8Array
  /** Path of a rapidsnark program that makes the proofs. @default the built-in prover */
  rapidsnark?: string
  batch?: BatchInit
  vote?: VoteInit
  /** Milliseconds between looks at the operator's ether and pay. @default 30_000 */
  upkeepMs?: number
  log: Log
}

/** Parts that can be exchanged where they are joined: the production ones unless given. */
export type NodeParts = {
  commit: typeof commitJob
  prove: typeof proveJob
  runtime(real: Runtime): Runtime
  attester(real: Attester, components: AttestComponents): Attester
}

const PRODUCTION: Omit<NodeParts, 'commit'> = { prove: proveJob, runtime: (real) => real, attester: (real) => real }

export type RunningNode = {
  network: Network
  chain: Chain
  content: Content
  stop(): Promise<void>
}

/** What is under way when a node stops gets this long to end (ms). All that matters is on disk or on the chain by then. */
const STOP_GRACE_MS = 4_000

/**
 * Starts a node: the composition root. Everything below sees only the few parts it needs.
 * Throws the codes of the parts it starts; what was started is stopped again.
 */
export async function startNode(config: NodeConfig, parts: Partial<NodeParts> = {}): Promise<RunningNode> {
  const { identity, log, network: file, dataDir } = config
  const { prove, runtime: adaptRuntime, attester: adaptAttester } = { ...PRODUCTION, ...parts }
  const cleanup: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    for (const undo of cleanup.splice(0).reverse())
      await undo().catch((error: unknown) =>
        log.warn({ event: 'node.stop', error: describeError(error) }, 'a part did not stop cleanly'),
      )
  }
  const underWay: Promise<unknown>[] = []
  const now = Date.now
  try {
    await checkCircuits(file)
    if (config.executionProvider !== 'cpu')
      await probeExecutionProvider(config.executionProvider, log, config.placements)
    const id = networkId(file)
    const store = await openStore(join(dataDir, 'store'))
    cleanup.push(() => store.close())
    const { maxFeePerGas, confirmations = 3, drandUrls = EVMNET_RELAYS } = config
    const drand = drandOf(file)
    const chain = await openChain({
      network: file,
      rpcUrl: config.rpcUrl,
      key: toHex(identity.privateKey),
      journal: storedJournal(store),
      confirmations,
      rounds: drand && httpRounds(drandUrls, drand),
      ...(maxFeePerGas === undefined ? {} : { maxFeePerGas }),
      report: ({ error, ...facts }) =>
        log.warn({ ...facts, ...(error === undefined ? {} : { error: describeError(error) }) }, facts.event),
    })
    cleanup.push(async () => chain.close())
    // After the provers and streams that this work waits for have been closed, and before the store that it writes to.
    cleanup.push(() => within(Promise.all(underWay), STOP_GRACE_MS))
    const committer = await createCommitter()
    if (committer.lanes === 1) log.warn({ event: 'commit.slow' }, 'no fused multiply-adds here: committing is slow')
    const roots = createRootPool(committer)
    cleanup.push(() => roots.close())
    const verifier = await createVerifier()
    cleanup.push(() => verifier.close())
    const pool = createProverPool({
      workers: config.provers ?? Math.max(1, Math.floor(availableParallelism() / 2)),
      ...(config.rapidsnark !== undefined && { rapidsnark: config.rapidsnark }),
      warn: (message) => log.warn({ event: 'prover.external' }, message),
    })
    cleanup.push(() => pool.close())
    // Each commits on all cores; more than one so that small jobs do not wait for a large one.
    const tracer = createTracer({ workers: Math.max(1, Math.min(4, Math.floor(availableParallelism() / 4))) })
    cleanup.push(() => tracer.close())

    const book = createBatchBook()
    const ballots = createBallotBox()
    const [votes, vouchers] = [votesDomain(file), escrowDomain(file)]
    // A round stays what it is whatever becomes of blocks; that the slot it answers stays is what `minDelay` is for.
    const depth = chain.drand ? 0 : confirmations
    const polls = createPolls({ address: identity.address, chain, ballots, confirmations: depth, log })
    // Offers may arrive before the parts that answer them are ready; those pass by.
    let bidder: Bidder | null = null
    const gossip = gossipValidators({
      networkId: id,
      chain,
      votes,
      book,
      ballots,
      now,
      onOffer: (offer) => void bidder?.consider(offer),
      onEquivocation: (proof) => void polls.accuse(proof),
    })
    const network = await createNetwork({
      identity,
      tag: networkTag(file),
      listen: config.listen,
      bootstrap: config.bootstrap,
      known: storedPeers(store),
      mode: 'node',
      devnet: config.devnet,
      topics: gossip.topics,
      log,
    })
    cleanup.push(() => network.stop())
    const streams = createStreams({ libp2p: network.libp2p, log })
    const content = await createContent({
      network,
      streams,
      folder: join(dataDir, 'blocks'),
      ...(config.diskBytes !== undefined && { quotaBytes: config.diskBytes }),
      log,
    })
    cleanup.push(() => content.stop())
    cleanup.push(() => streams.stop())

    const voteWindowMs = 1000 * chain.params.voteWindow
    // A fetch that would outlast a quarter of the vote window is tried anew instead: a verifier has no time to hang on one peer.
    const timeoutMs = Math.min(60_000, voteWindowMs / 4)
    const library = createModelLibrary((cid, options) => content.get(cid, { timeoutMs, ...options }))
    const proving = provingLimits(chain.params, file.tileDraws, leafSeconds(committer))
    const { executionProvider, memoryMib, placements = placementsOf({ executionProvider }) } = config
    const runtimes = createRuntimes(
      {
        ...{ library, content, executionProvider, memoryMib, placements, proving, now, log },
        evaluate: tracer.evaluate,
        adapt: adaptRuntime,
        worth: (manifest) => warmth.worth(manifest),
      },
      config.models,
    )
    cleanup.push(() => runtimes.close())
    const others = (): string[] => network.subscribers('attestations')
    const slots = config.models?.maxModels ?? MAX_MODELS
    const warmth = createWarmth({ self: network.peerId, others, runtimes, now, log }, { slots })

    await enterRegistry(chain, config)
    const ledger = createLedger(store)
    const fund = (): Promise<void> =>
      keepFloor(chain, identity.address, chain.params.verificationFloor, config.floorDeposit)
    const fits = batchFits(async (cid) => (await library.load(cid)).manifest, proving)
    const upkeep = createUpkeep(
      { address: identity.address, chain, quoter: config.prices ? createQuoter({ ...config.prices, now }) : null, log },
      { keep: config.floorDeposit, claimFrom: config.claimFrom ?? null },
    )
    const keep = createKeeper({ library, content, log })
    const baiting = { address: identity.address, chain, store, log }
    const canaries = config.canaryKey ? createCanaryMaker({ ...baiting, consumerKey: config.canaryKey }) : null
    const batcher = createBatcher(
      { ...baiting, canaries, ledger, fits, keep, fund, gasCost: upkeep.batchCost, now },
      config.batch,
    )
    const attesting: AttestComponents = {
      ...{ identity, networkId: id, chain, library, committer, pool, batcher, ledger, canaries, store, log },
      commit: parts.commit ?? tracer.commit,
      prove,
      tileDraws: file.tileDraws,
    }
    const attester = adaptAttester(createAttester(attesting), attesting)
    const voter = createVoter(
      {
        identity,
        networkId: id,
        vouchers,
        votes,
        gossip: network,
        library,
        verifier,
        committer,
        commit: tracer.commit,
        ballots,
        store,
        tileDraws: file.tileDraws,
        now,
        log,
      },
      // A quarter of the time to commit is left to those who have waited for an attestation in vain.
      { patienceMs: 750 * chain.params.commitWindow, knowsSince: await newSince(store, chain), ...config.vote },
    )
    const benches = createBenches({ address: identity.address, chain, store, log })
    const driver = createDriver({
      address: identity.address,
      confirmations: depth,
      networkId: id,
      chain,
      book,
      ballots,
      ...{ batcher, attester, canaries, voter, polls },
      gossip: network,
      attestation: gossip.shelf.get,
      keepAttestation: gossip.shelf.keep,
      fetchAttestation: (anchored) =>
        fetchAttestation({ chain, streams, others, judge: gossip.judgeSealed, shelf: gossip.shelf, log }, anchored),
      log,
    })
    const bids = createBidder(
      {
        ...{ identity, networkId: id, streams, runtime: runtimes.get, isWarm: runtimes.isWarm, now, log },
        fundsOf: (account) => fundsOf(chain, account),
        wanted: warmth.offered,
      },
      { ...config, internalAddresses: config.devnet },
    )
    // Nobody takes the bid of a node without stake.
    if (config.stake > 0n) bidder = bids
    await streams.handle(
      'attestation',
      attestationHandler(async (batch) => gossip.shelf.sealed(batch) ?? (await attester.sealed(batch))),
    )
    await streams.handle('models', nodeCatalogue({ runtimes, warmth, price: config.stake > 0n ? config.price : null }))
    await streams.handle(
      'job',
      jobHandler({
        identity,
        networkId: id,
        vouchers,
        ledger,
        committer,
        roots: roots.root,
        runtime: (manifest, policy) => {
          warmth.served(manifest)
          return runtimes.get(manifest, policy)
        },
        sealed: createSealedJobs({ identity, networkId: id, content }),
        bid: bids.made,
        chainSession: sessionOnChain(chain),
        now,
        log,
      }),
    )
    const lanes = config.stake > 0n ? (config.lanes ?? 1) : 0
    const pulses = createPulses(
      {
        ...{ address: identity.address, chain, store, streams, gasCost: upkeep.gasCost, log },
        engine: createPulseEngine({ executionProvider, placements }),
        notes: await openNotes(join(dataDir, 'pulses'), lanes),
      },
      { lanes, confirmations: depth },
    )
    if (lanes > 0) await streams.handle('pulse', pulses.handler)
    // The book is in memory: a restart reads again from the oldest batch that was not finished.
    const cursor = storedCursor(store, `batches-${networkTag(file)}`)
    const from = await cursor.load()
    const watcher = chain.watchBatches(applyTo(book, benches), {
      ...(from === null ? {} : { from }),
      onCursor: (next) => cursor.save(notPast(next, book.oldest() ?? next.next)),
      onFork(block) {
        log.warn({ event: 'chain.fork', block: Number(block) }, 'blocks were undone')
        book.undo(block)
      },
      onError: (error) =>
        log.warn({ event: 'chain.delayed', error: describeError(error) }, 'the chain does not answer'),
    })
    cleanup.push(() => watcher.stop())
    const every = Math.max(500, pollMsOf(chain.params))
    const loops = [
      repeat('batcher', every, log, () => batcher.tick()),
      repeat('driver', every, log, () => driver.tick()),
      repeat('benches', 10 * every, log, () => benches.tick()),
      ...(config.stake > 0n ? [repeat('warmth', 2_000, log, () => warmth.tick())] : []),
      ...(lanes > 0 ? [repeat('pulses', Math.max(1_000, pulses.lookMs), log, () => pulses.tick())] : []),
      repeat('upkeep', config.upkeepMs ?? 30_000, log, () => upkeep.tick()),
    ]
    cleanup.push(async () => {
      for (const loop of loops) loop.halt()
      underWay.push(...loops.map(({ done }) => done.then(() => driver.settled())), pulses.stop())
    })
    log.info(
      { event: 'node.ready', peerId: network.peerId, operator: identity.address, addresses: network.addresses() },
      'node ready',
    )
    return { network, chain, content, stop }
  } catch (error) {
    await stop().catch(() => {})
    throw error instanceof SinterError
      ? error
      : new SinterError('NODE_START', 'the node could not start', { cause: error })
  }
}
