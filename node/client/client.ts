import { createCommitter } from '../../circuits/commit.ts'
import { createVerifier } from '../../circuits/verify.ts'
import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import { type NetworkFile, networkId, networkTag } from '../../protocol/network.ts'
import type { Offer } from '../../protocol/rules/offer.ts'
import type { Address } from '../../protocol/signature.ts'
import { ignore } from '../../protocol/verdict.ts'
import { createRootPool } from '../attestation/root-pool.ts'
import { type Chain, openChain } from '../chain/chain.ts'
import { escrowDomain, votesDomain } from '../chain/eip712.ts'
import { fundsOf } from '../chain/funds.ts'
import type { Payer } from '../chain/opening.ts'
import { checkCircuits } from '../circuits.ts'
import type { Identity } from '../identity/identity.ts'
import { createModelLibrary, type LoadedModel, type ModelLibrary } from '../model/load.ts'
import { type Content, createContent } from '../net/content.ts'
import { createNetwork, type Network } from '../net/libp2p.ts'
import type { Log } from '../net/log.ts'
import { createStreams } from '../net/streams.ts'
import { askCatalogues, type CatalogueEntry, catalogueHandler, type Listing } from '../stages/catalogue.ts'
import { type Auditor, createAuditor } from './audit.ts'
import { type BatchChecks, createBatchChecks } from './batch-checks.ts'
import { chooseBid, createOfferDesk, type OfferTerms, type ReceivedBid } from './offer.ts'
import { createPayment } from './payment.ts'
import { createPurse, type Purse, reclaimSessions, releaseSession } from './reserves.ts'
import { type ConsumerSession, openConsumerSession } from './session.ts'

export type ClientConfig = {
  network: NetworkFile
  rpcUrl: string | readonly string[]
  identity: Identity
  /** Folder for the blocks of models. */
  dataDir: string
  listen: string[]
  bootstrap: string[]
  devnet: boolean
  /**
   * Pays instead of the key's own account: consents to each session, and has back what is left. Providers look for a job's price on the
   * key's account all the same, before they work on its offers. Audits are not named, for they are the account's own step.
   * @default the key's own account
   */
  account?: Payer
  log: Log
}

/** What a light client believes without checking, in the words it prints. */
export const TRUST_STATEMENT =
  'This light client takes sessions, stakes, batches, beacon values, committees and balances from its JSON-RPC endpoint as they are told: ' +
  'whoever runs the endpoint could lie to it about them. It checks by itself: who signed each bid and receipt, the model’s files against ' +
  'their CIDs, its own input and output roots, that every price is the one it agreed to, and, when it stays connected, the proofs and ' +
  'the votes’ signatures of the batches that its receipts come to lie in.'

export type SessionRequest = Omit<OfferTerms, 'model'> & {
  model: LoadedModel
  /** Seconds until the session on chain expires. @default 3_600 */
  lifeS?: number
  /** Chooses among the bids. @default the cheapest, then the fastest */
  choose?(bids: ReceivedBid[]): ReceivedBid
  onBids?(bids: ReceivedBid[], chosen: ReceivedBid): void
  /** Providers that are not taken, nor others of their owners. @default none */
  exclude?: readonly Address[]
}

export type LightClient = {
  /** Tiles drawn per drawn job on this network. */
  tileDraws: number
  network: Network
  chain: Chain
  /** What spends from the account's escrow balance spends through this. */
  purse: Purse
  content: Content
  library: ModelLibrary
  /** What names jobs of this client's sessions as audits. */
  openAuditor(): Promise<Pick<Auditor, 'open' | 'stop'>>
  /** Checks of the batches that hold receipts of this account; nothing is checked until it is told of the chain's events. */
  batchChecks(): BatchChecks
  /** Offer, bids, choice, session on chain, assignment. Throws `NO_BIDS`, `BALANCE_TOO_LOW`, the chain's and the provider's codes. */
  openSession(request: SessionRequest): Promise<ConsumerSession>
  /**
   * Sessions with as many providers as `jobs` has numbers, no two of one owner, out of one offer; the first is the chosen one, and each is
   * for so many jobs. Throws `NO_BIDS` besides when there are fewer owners, and leaves none open when one cannot be opened.
   */
  openSessions(request: Omit<SessionRequest, 'jobs'>, jobs: bigint[]): Promise<ConsumerSession[]>
  /** What the account that pays has beside what lies in sessions (base units). Throws the chain's codes. */
  funds(): Promise<bigint>
  /** What peers say they have. Those that do not answer within the time (ms, 5,000 by default) are left out. */
  models(timeoutMs?: number): Promise<Listing[]>
  /** Tells others of these models, which this client has published. */
  tell(models: CatalogueEntry[]): Promise<void>
  /** See `releaseSession`. */
  release(session: Hex): Promise<void>
  /** See `reclaimSessions`. */
  reclaim(): Promise<bigint>
  stop(): Promise<void>
}

/** Starts a client: no stake, DHT client mode, nothing served but the model files it publishes itself. */
export async function startClient(config: ClientConfig): Promise<LightClient> {
  const { identity, log, network: file } = config
  await checkCircuits(file)
  const id = networkId(file)
  const chain = await openChain({ network: file, rpcUrl: config.rpcUrl, key: toHex(identity.privateKey) })
  const committer = await createCommitter()
  const roots = createRootPool(committer)
  const unheard = async () => ignore('NOT_SUBSCRIBED')
  const network = await createNetwork({
    identity,
    tag: networkTag(file),
    listen: config.listen,
    bootstrap: config.bootstrap,
    mode: 'light',
    devnet: config.devnet,
    topics: { offers: unheard, attestations: unheard, votes: unheard },
    log,
  })
  const streams = createStreams({ libp2p: network.libp2p, log })
  const folder = `${config.dataDir}/blocks`
  const content = await createContent({ network, streams, folder, bitswap: 'when-needed', log }).catch(
    async (error) => {
      await network.stop()
      throw error
    },
  )
  const desk = await createOfferDesk({
    identity,
    networkId: id,
    network,
    streams,
    staked: async (provider) => ((await chain.node(provider))?.stake ?? 0n) > 0n,
    now: Date.now,
    log,
  })
  const library = createModelLibrary((cid, options) => content.get(cid, options))

  const purse = createPurse(chain)
  const payment = createPayment(chain, purse, config.account ?? null)
  const release = (session: Hex): Promise<void> => releaseSession(chain, session)

  /** The ceiling must not lie with a provider that does not serve. */
  const giveBack = (session: Hex): Promise<void> =>
    release(session).catch((cause: unknown) =>
      log.warn(
        { event: 'session.unreleased', session, error: describeError(cause) },
        'the session could not be released',
      ),
    )

  async function begin(request: Omit<SessionRequest, 'jobs'>, offer: Offer, bid: ReceivedBid, jobs: bigint) {
    const { model, lifeS = 3_600, policy = 'zk', canonical = false } = request
    const ceiling = bid.price * jobs
    const session = await payment.open(bid.provider, ceiling, lifeS)
    try {
      return await openConsumerSession(
        { identity, networkId: id, vouchers: escrowDomain(file), streams, committer, roots: roots.root, content, log },
        { model, bid, offer: offer.id, session: fromHex(session), ceiling, policy, canonical },
      )
    } catch (error) {
      await giveBack(session)
      throw error
    }
  }

  /** Nobody bids for an account that cannot pay a job: better said than that nobody bid. Throws `BALANCE_TOO_LOW`. */
  async function checkFunds(ceiling: bigint): Promise<void> {
    const { address } = identity
    const funds = await fundsOf(chain, address)
    if (funds >= ceiling) return
    const has = `${address} has ${funds} base units, and a job may cost ${ceiling}`
    throw new SinterError('BALANCE_TOO_LOW', `nobody bid: ${has}. Send it tokens, and ether for gas`)
  }

  /** Bids of which no two come from one owner, the chosen one first. */
  async function pick(
    bids: ReceivedBid[],
    count: number,
    choose: typeof chooseBid,
    exclude: readonly Address[],
  ): Promise<ReceivedBid[]> {
    const owners = new Map<string, string>()
    const ownerOf = async (provider: Address): Promise<string> => (await chain.node(provider))?.payout ?? provider
    if (count > 1 || exclude.length > 0) for (const { provider } of bids) owners.set(provider, await ownerOf(provider))
    const refused = new Set<string>(exclude)
    for (const provider of exclude) refused.add(await ownerOf(provider))
    const open = bids.filter(({ provider }) => !refused.has(provider) && !refused.has(owners.get(provider) ?? ''))
    const chosen: ReceivedBid[] = []
    for (let left = open; chosen.length < count; ) {
      if (left.length === 0 && chosen.length > 0)
        throw new SinterError('NO_BIDS', `${count} providers of different owners are needed, ${chosen.length} bid`)
      const bid = choose(left)
      chosen.push(bid)
      left = left.filter(
        ({ provider }) => provider !== bid.provider && owners.get(provider) !== owners.get(bid.provider),
      )
    }
    return chosen
  }

  async function openSessions(request: Omit<SessionRequest, 'jobs'>, jobs: bigint[]): Promise<ConsumerSession[]> {
    const { choose = chooseBid, onBids, exclude = [] } = request
    const { offer, bids } = await desk.gather({ ...request, jobs: jobs[0]! })
    if (bids.length === 0) await checkFunds(request.priceCeiling)
    const chosen = await pick(bids, jobs.length, choose, exclude)
    onBids?.(bids, chosen[0]!)
    const sessions: ConsumerSession[] = []
    try {
      // One after the other: each is a step of the same account.
      for (const [i, bid] of chosen.entries()) sessions.push(await begin(request, offer, bid, jobs[i]!))
    } catch (error) {
      for (const session of sessions) {
        await session.close()
        await giveBack(toHex(session.session))
      }
      throw error
    }
    return sessions
  }

  return {
    tileDraws: file.tileDraws,
    network,
    chain,
    purse,
    content,
    library,
    openAuditor: async () =>
      payment.account === chain.address
        ? createAuditor({ chain, purse, log })
        : {
            open: () => log.warn({ event: 'audit.foreign' }, 'only the account that pays names audits'),
            stop: async () => {},
          },
    batchChecks: () =>
      createBatchChecks({
        address: identity.address,
        networkId: id,
        domains: { vouchers: escrowDomain(file), votes: votesDomain(file) },
        chain,
        streams,
        others: () => network.subscribers('attestations'),
        library,
        committer,
        openVerifier: createVerifier,
        tileDraws: file.tileDraws,
        log,
      }),
    openSession: async (request) => (await openSessions(request, [request.jobs]))[0]!,
    openSessions,
    funds: payment.funds,
    async models(timeoutMs = 5_000) {
      // Who has just come knows nobody yet.
      await network.waitForSubscribers('offers', 1, 20_000)
      // A publisher serves no jobs, and so takes no offers: whoever is connected is asked, those that serve first.
      const peers = (): string[] => [...new Set([...network.subscribers('offers'), ...network.peers()])]
      return askCatalogues({ streams, log }, peers, timeoutMs)
    },
    tell: (models) =>
      streams.handle(
        'models',
        catalogueHandler(() => models),
      ),
    release,
    reclaim: () => reclaimSessions(chain, payment.account),
    async stop() {
      await streams.stop()
      await roots.close()
      await content.stop()
      await network.stop()
      chain.close()
    },
  }
}
