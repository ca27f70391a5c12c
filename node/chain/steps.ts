import {
  type Abi,
  encodeFunctionData,
  type Hex,
  type PublicClient,
  parseEventLogs,
  type TransactionReceipt,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { toHex } from '../../protocol/bytes.ts'
import {
  batchesAbi,
  beaconAbi,
  drandBeaconAbi,
  escrowAbi,
  faucetAbi,
  registryAbi,
  seatsAbi,
  tokenAbi,
} from '../../protocol/contracts/abi.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { Address } from '../../protocol/signature.ts'
import type { BeaconClock } from './beacon.ts'
import { chainError } from './errors.ts'
import { fetchHeaders } from './headers.ts'
import type { Opening } from './opening.ts'
import { permitDeposit } from './permit.ts'
import type { RoundSource } from './rounds.ts'
import type { Call, Transactor } from './transact.ts'
import type { Views } from './views.ts'

/** A mined transaction. */
export type Done = { tx: Hex; block: bigint; gasUsed: bigint }

/** `IEscrow.Range`; `signature` is the consumer's voucher for `toSeq`. */
export type RangeInput = { session: Hex; toSeq: bigint; cumulative: bigint; receiptHash: Hex; signature: Hex }
/** `IBatches.SignedVote`; `verdicts` one byte per draw, the rest of the word zero. */
export type SignedVoteInput = { verdicts: Hex; digest: Hex; signature: Hex }
/** `IBatches.Opening`; `path` from the leaf up. */
export type OpeningInput = {
  range: number
  price: bigint
  index: bigint
  receiptHash: Hex
  path: { hash: Hex; sum: bigint }[]
}
/** @param payoutConsent from `signPayoutConsent` */
export type Registration = { payout: Address; hardwareClass: string; stake: bigint; payoutConsent: Hex }

/** Changes of the chain, each resolved when mined. All throw `CHAIN_…` errors (see errors.ts), `CHAIN_READ_ONLY` without a key. */
export type Steps = {
  transferTokens(to: Address, amount: bigint): Promise<Done>
  transferEther(to: Address, wei: bigint): Promise<Done>
  /** Approves what is missing, then registers. */
  register(registration: Registration): Promise<Done>
  addStake(operator: Address, amount: bigint): Promise<Done>
  requestUnbond(operator: Address, amount: bigint): Promise<Done & { unbondId: bigint }>
  withdrawStake(unbondId: bigint): Promise<Done>
  /** In one transaction by a permit, where neither was approved before nor the token without permits. */
  deposit(amount: bigint): Promise<Done>
  withdraw(amount: bigint): Promise<Done>
  /**
   * @param expiry timestamp in seconds
   * @param signer the voucher key. @default this account's
   */
  openSession(provider: Address, ceiling: bigint, expiry: bigint, signer?: Address): Promise<Done & { session: Hex }>
  /** Opens a session that its consumer has signed for (see opening.ts), out of that account's balance. */
  openSessionFor(opening: Opening, signature: Hex): Promise<Done & { session: Hex }>
  topUp(session: Hex, amount: bigint): Promise<Done>
  requestClose(session: Hex): Promise<Done>
  closeSession(session: Hex): Promise<Done>
  /**
   * Records a slot that is open: with headers when the chain has forgotten its block's hash, with drand by its round's signature. null
   * when it was recorded already. Throws `DRAND_UNAVAILABLE` too.
   */
  recordSlot(slot: bigint): Promise<Done | null>
  anchorBatch(root: Hex, ranges: RangeInput[]): Promise<Done & { batchId: Hex }>
  /** Names the job that owns `point`, in a range of this account's, as one more draw. */
  audit(batchId: Hex, range: number, point: bigint): Promise<Done>
  anchorTrace(batchId: Hex, traceRoot: Hex): Promise<Done>
  commitAttestation(batchId: Hex, digest: Hex): Promise<Done>
  settle(batchId: Hex, votes: SignedVoteInput[], openings: OpeningInput[]): Promise<Done>
  redraw(batchId: Hex): Promise<Done>
  expire(batchId: Hex): Promise<Done>
  finalize(batchId: Hex): Promise<Done>
  abandon(batchId: Hex): Promise<Done>
  collect(batchId: Hex, range: number): Promise<Done>
  /** Frees the seats of a bench whose time is over; `voters` as the batch was settled with. */
  releaseSeats(bench: Hex, voters: Address[]): Promise<Done>
  /** Devnet: start money, once per address; the caller pays the gas. Throws `NO_FAUCET` elsewhere. */
  drip(to: Address): Promise<Done>
}

/** The chain's own memory of hashes; beyond it headers are needed. */
const RECENT_BLOCKS = 250n
/** Headers per transaction, about 10 million gas at most. */
const HEADERS_PER_STEP = 200n

const done = (receipt: TransactionReceipt): Done => ({
  tx: receipt.transactionHash,
  block: receipt.blockNumber,
  gasUsed: receipt.gasUsed,
})

export function openSteps(
  client: PublicClient,
  network: NetworkFile,
  views: Views,
  transactor: Transactor | null,
  key: Hex | undefined,
  clock: BeaconClock,
  rounds: RoundSource | null,
): Steps {
  const { token, registry, escrow, beacon, batches, seats, faucet } = network.contracts

  async function send(
    to: Address,
    abi: Abi,
    functionName: string,
    args: unknown[],
    traits: Pick<Call, 'urgent' | 'volatile'> = {},
  ): Promise<TransactionReceipt> {
    const account = writer()
    return account.send({ to, data: encodeFunctionData({ abi, functionName, args }), action: functionName, ...traits })
  }
  function writer(): Transactor {
    if (transactor === null) throw new SinterError('CHAIN_READ_ONLY', 'this chain was opened without a key')
    return transactor
  }
  const onToken = (name: string, ...args: unknown[]) => send(token, tokenAbi as Abi, name, args)
  const onRegistry = (name: string, ...args: unknown[]) => send(registry, registryAbi as Abi, name, args)
  const onEscrow = (name: string, ...args: unknown[]) => send(escrow, escrowAbi as Abi, name, args)
  const onBeacon = (name: string, ...args: unknown[]) => send(beacon, beaconAbi as Abi, name, args)
  const onBatches = (name: string, ...args: unknown[]) => send(batches, batchesAbi as Abi, name, args)

  /** An answer to a beacon's value: late, it costs a lock; after a fork that changed the value, it would be a wrong answer. */
  const answer = (name: string, ...args: unknown[]) =>
    send(batches, batchesAbi as Abi, name, args, { urgent: true, volatile: true })

  /** Both spenders are immutable contracts that only take what their caller names, so one approval lasts. */
  async function approve(spender: Address, amount: bigint): Promise<void> {
    if ((await allowance(spender)) < amount) await onToken('approve', spender, 2n ** 256n - 1n)
  }
  async function allowance(spender: Address): Promise<bigint> {
    const args = [writer().address, spender] as const
    return client.readContract({ address: token, abi: tokenAbi, functionName: 'allowance', args }).catch((error) => {
      throw chainError(error, 'allowance')
    })
  }

  /** One at a time: two permits of one account must not have the same nonce. */
  let depositing: Promise<unknown> = Promise.resolve()
  async function deposit(amount: bigint): Promise<Done> {
    const enough = (await allowance(escrow)) >= amount
    const permit = enough ? null : await permitDeposit(client, network, key!, amount)
    if (permit !== null) return done(await onEscrow('depositWithPermit', ...permit))
    await approve(escrow, amount)
    return done(await onEscrow('deposit', amount))
  }

  function opened(receipt: TransactionReceipt): Done & { session: Hex } {
    const [event] = parseEventLogs({ abi: escrowAbi, logs: receipt.logs, eventName: 'SessionOpened' })
    return { ...done(receipt), session: event!.args.session }
  }

  async function recordSlot(slot: bigint): Promise<Done | null> {
    if ((await views.beaconValue(slot)) !== null) return null
    if (clock.drand !== null) return recordRound(slot)
    const height = views.slotHeight(slot)
    const { block: head } = await views.head()
    if (head - height < RECENT_BLOCKS) return done(await onBeacon('record', slot))
    // Walk back from a hash the chain still knows, in steps that fit in a block.
    let known = head - RECENT_BLOCKS / 2n
    while (known - height > HEADERS_PER_STEP) {
      const target = known - HEADERS_PER_STEP
      await onBeacon('proveHash', target, await fetchHeaders(client, known, target + 1n))
      known = target
    }
    return done(await onBeacon('recordWithHeaders', slot, await fetchHeaders(client, known, height + 1n)))
  }

  async function recordRound(slot: bigint): Promise<Done> {
    if (rounds === null) throw new SinterError('DRAND_UNAVAILABLE', 'no relay of drand rounds was named')
    const signature = toHex(await rounds.signature(clock.roundOf(slot)))
    return done(await send(beacon, drandBeaconAbi as Abi, 'recordWithSignature', [slot, signature]))
  }

  return {
    transferTokens: async (to, amount) => done(await onToken('transfer', to, amount)),
    transferEther: async (to, wei) =>
      done(await writer().send({ to, data: '0x', value: wei, action: 'transferEther' })),
    async register({ payout, hardwareClass, stake, payoutConsent }) {
      await approve(registry, stake)
      const publicKey = `0x${privateKeyToAccount(key!).publicKey.slice(4)}`
      return done(await onRegistry('register', publicKey, payout, hardwareClass, stake, payoutConsent))
    },
    async addStake(operator, amount) {
      await approve(registry, amount)
      return done(await onRegistry('addStake', operator, amount))
    },
    async requestUnbond(operator, amount) {
      const receipt = await onRegistry('requestUnbond', operator, amount)
      const [event] = parseEventLogs({ abi: registryAbi, logs: receipt.logs, eventName: 'UnbondRequested' })
      return { ...done(receipt), unbondId: event!.args.unbondId }
    },
    withdrawStake: async (unbondId) => done(await onRegistry('withdraw', unbondId)),
    deposit(amount) {
      const turn = depositing.then(() => deposit(amount))
      depositing = turn.catch(() => {})
      return turn
    },
    withdraw: async (amount) => done(await onEscrow('withdraw', amount)),
    openSession: async (provider, ceiling, expiry, signer = writer().address) =>
      opened(await onEscrow('openSession', provider, ceiling, expiry, signer)),
    openSessionFor: async (opening, signature) => opened(await onEscrow('openSessionFor', opening, signature)),
    topUp: async (session, amount) => done(await onEscrow('topUp', session, amount)),
    requestClose: async (session) => done(await onEscrow('requestClose', session)),
    closeSession: async (session) => done(await onEscrow('closeSession', session)),
    recordSlot,
    async anchorBatch(root, ranges) {
      const receipt = await onBatches('anchorBatch', root, ranges)
      const [event] = parseEventLogs({ abi: batchesAbi, logs: receipt.logs, eventName: 'BatchAnchored' })
      return { ...done(receipt), batchId: event!.args.batchId }
    },
    audit: async (batchId, range, point) => done(await onBatches('audit', batchId, BigInt(range), point)),
    anchorTrace: async (batchId, traceRoot) => done(await answer('anchorTrace', batchId, traceRoot)),
    commitAttestation: async (batchId, digest) => done(await answer('commitAttestation', batchId, digest)),
    settle: async (batchId, votes, openings) => done(await onBatches('settle', batchId, votes, openings)),
    redraw: async (batchId) => done(await onBatches('redraw', batchId)),
    expire: async (batchId) => done(await onBatches('expire', batchId)),
    finalize: async (batchId) => done(await onBatches('finalize', batchId)),
    abandon: async (batchId) => done(await onBatches('abandon', batchId)),
    collect: async (batchId, range) => done(await onBatches('collect', batchId, BigInt(range))),
    releaseSeats: async (bench, voters) => done(await send(seats, seatsAbi as Abi, 'release', [bench, voters])),
    async drip(to) {
      if (faucet === undefined) throw new SinterError('NO_FAUCET', 'this network has no faucet')
      return done(await send(faucet, faucetAbi as Abi, 'drip', [to]))
    },
  }
}
