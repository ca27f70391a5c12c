import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts'
import { type Anvil, startAnvil } from '../../node/chain/anvil.ts'
import { type Chain, openChain } from '../../node/chain/chain.ts'
import { deployNetwork, deployFeed as deployPriceFeed } from '../../node/chain/deploy.ts'
import { signCommitment, signPayoutConsent, signVoucher } from '../../node/chain/eip712.ts'
import { devnetParams, type NetworkParams } from '../../node/chain/params.ts'
import type { RoundSource } from '../../node/chain/rounds.ts'
import type { CommitmentInput, VoteInput } from '../../node/chain/steps.ts'
import { bigintToBytes, fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { attestationParts } from '../../protocol/claims.ts'
import { encode } from '../../protocol/codec.ts'
import type { DrandNetwork } from '../../protocol/drand.ts'
import { voteCommitment } from '../../protocol/eip712.ts'
import { errorCode } from '../../protocol/errors.ts'
import { AttestationSchema } from '../../protocol/gen/sinter_pb.js'
import { keccak256 } from '../../protocol/hash.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import { type SumTree, sumTree } from '../../protocol/sum-tree.ts'

export { generatePrivateKey, type Hex }

const SNTR = 10n ** 18n
export type Actor = { key: Hex; chain: Chain }
export type World = {
  anvil: Anvil
  network: NetworkFile
  params: NetworkParams
  funder: Chain
  reader: Chain
  provider: Actor
  consumer: Actor
  /** Staked nodes; the first is the provider. */
  nodes: Actor[]
  payouts: Hex[]
  session: Hex
  keyOf(operator: Hex): Hex
  registerAgain(): Promise<unknown>
}

export const word = (value: bigint): Hex => toHex(bigintToBytes(value, 32))

/** A price feed with this answer, of 8 decimals. */
export const deployFeed = (anvil: Anvil, answer: bigint): Promise<Hex> =>
  deployPriceFeed(anvil.rpcUrl, anvil.key, 'ETH / USD', answer)

/** Code of the error an action is refused with. */
export async function code(action: Promise<unknown>): Promise<string> {
  return action.then(
    () => 'NO_ERROR',
    (error: unknown) => errorCode(error),
  )
}

/**
 * An anvil that mines what comes at once, and a block of a second of its clock every `blockMs`: tests that only wait for the chain are
 * done in a fraction of the time.
 */
export async function fastAnvil(blockMs: number): Promise<Anvil & { pause(paused: boolean): Promise<void> }> {
  const anvil = await startAnvil({ blockTime: 0 })
  let mining = true
  const timer = setInterval(() => mining && void anvil.mine(1).catch(() => {}), blockMs)
  return {
    ...anvil,
    /** What comes while it is paused waits. */
    async pause(paused) {
      mining = !paused
      await anvil.request('evm_setAutomine', [mining])
    },
    async stop() {
      clearInterval(timer)
      await anvil.stop()
    },
  }
}

/** Anvil with the contracts, five staked nodes, a consumer and its session with the first node. */
export async function openWorld(
  drand?: { network: DrandNetwork; rounds: RoundSource },
  change: Partial<NetworkParams> = {},
  start: () => Promise<Anvil> = startAnvil,
): Promise<World> {
  const anvil = await start()
  try {
    // Nobody names audits here but where a test says so.
    const params = { ...devnetParams, auditWindow: 1, ...change }
    const none = '00'.repeat(32)
    const circuits = { relation: none, pointwise: none, product: none, extremum: none }
    const at = { rpcUrl: anvil.rpcUrl, key: anvil.key }
    const network = await deployNetwork({
      ...at,
      name: 'test',
      params,
      tileDraws: 4,
      circuits,
      faucet: true,
      drand: drand?.network ?? null,
    })
    const rounds = drand?.rounds ?? null
    const funder = await openChain({ network, ...at })
    const reader = await openChain({ network, rpcUrl: anvil.rpcUrl })
    const enter = async (): Promise<Actor> => {
      const key = generatePrivateKey()
      const chain = await openChain({ network, rpcUrl: anvil.rpcUrl, key, rounds })
      await funder.drip(chain.address!)
      return { key, chain }
    }
    const [consumer, ...nodes] = await Promise.all(Array.from({ length: 6 }, enter))
    const payoutKeys = nodes.map(() => generatePrivateKey())
    const register = async ({ chain }: Actor, payoutKey: Hex): Promise<unknown> => {
      const payoutConsent = await signPayoutConsent(network, payoutKey, chain.address!)
      const payout = privateKeyToAddress(payoutKey)
      return chain.register({ payout, hardwareClass: 'cpu', stake: 2_000n * SNTR, payoutConsent })
    }
    await Promise.all(nodes.map((node, i) => register(node, payoutKeys[i]!)))
    const provider = nodes[0]!
    await Promise.all([provider.chain.deposit(10n * SNTR), consumer!.chain.deposit(100n * SNTR)])
    const { timestamp } = await reader.head()
    const { session } = await consumer!.chain.openSession(provider.chain.address!, 60n * SNTR, timestamp + 86_400n)
    const payouts = payoutKeys.map((key) => privateKeyToAddress(key))
    return {
      anvil,
      network,
      params,
      funder,
      reader,
      provider,
      consumer: consumer!,
      nodes,
      payouts,
      session,
      keyOf: (operator) => nodes.find(({ chain }) => chain.address === operator)!.key,
      registerAgain: () => register(provider, payoutKeys[0]!),
    }
  } catch (error) {
    await anvil.stop()
    throw error
  }
}

/** Anchors one batch over the session's next receipts, with these prices. */
export async function anchored(world: World, prices: bigint[]): Promise<{ batchId: Hex; tree: SumTree }> {
  const { chain } = world.provider
  const { cursor, anchored: paid } = await chain.session(world.session)
  const leaves = prices.map((price, i) => ({
    receiptHash: keccak256(bigintToBytes(cursor + BigInt(i) + 1n, 32)),
    price: price * 10n ** 15n + 1n,
  }))
  const tree = sumTree(leaves)
  const seq = cursor + BigInt(prices.length)
  const receipt = leaves.at(-1)!.receiptHash
  const cumulative = paid + tree.root.sum
  const fields = { session: fromHex(world.session), seq, cumulative, receipt }
  const signature = toHex(signVoucher(world.network, world.consumer.key, fields))
  const range = { session: world.session, toSeq: seq, cumulative, receiptHash: toHex(receipt), signature }
  const { batchId } = await chain.anchorBatch(toHex(tree.root.hash), [range])
  return { batchId, tree }
}

/** What a member says of a batch; `verdicts` in hex, without the zeros behind. */
export type Said = { verdicts: string; digest: Hex }
export type Opened = { committed: CommitmentInput[]; votes: VoteInput[] }

/** Commits what the first members of the committee say, and something that nobody opens for the others, so that votes can be opened. */
export async function cast(world: World, batchId: Hex, said: Said[]): Promise<Opened> {
  const { chain } = world.provider
  const { committeeSlot, attestation, attempt } = await chain.batch(batchId)
  await chain.awaitSlot(committeeSlot)
  const members = await chain.committee(batchId)
  const batch = fromHex(batchId)
  const spoken = members.map((member, seat) => {
    const { verdicts, digest } = said[seat] ?? { verdicts: '', digest: word(0n) }
    const vector: Hex = `0x${verdicts.padEnd(64, '0')}`
    const salt = bigintToBytes(BigInt(seat + 1), 32)
    const fields = {
      batch,
      attempt,
      attestation: fromHex(attestation),
      verdicts: fromHex(vector),
      digest: fromHex(digest),
    }
    const commitment = voteCommitment(fields, salt, member)
    const signature = signCommitment(world.network, world.keyOf(member), { ...fields, commitment })
    const vote = { place: BigInt(seat), verdicts: vector, digest, salt: toHex(salt) }
    return { seat, commitment, signature, vote, committed: { voter: member, commitment: toHex(commitment) } }
  })
  await chain.commitVotes(batchId, attempt, spoken)
  return {
    committed: spoken.map((each) => each.committed),
    votes: spoken.slice(0, said.length).map(({ vote }) => vote),
  }
}

/** Takes a batch whose sample is recorded to its committee. */
export async function toCommittee(world: World, batchId: Hex): Promise<void> {
  const { chain } = world.provider
  await chain.awaitTime((await chain.batch(batchId)).auditUntil)
  await chain.anchorTrace(batchId, word(11n))
  await chain.awaitSlot((await chain.batch(batchId)).challengeSlot)
  await chain.commitAttestation(batchId, word(12n))
  await chain.awaitSlot((await chain.batch(batchId)).committeeSlot)
}

/** Takes a batch whose sample is recorded to its committee, and returns two members' votes. */
export async function committed(world: World, batchId: Hex, verdicts: string): Promise<Opened> {
  await toCommittee(world, batchId)
  return cast(
    world,
    batchId,
    [0n, 1n].map((digest) => ({ verdicts, digest: word(digest) })),
  )
}

/** A batch whose provider has committed to an attestation with one proof of these bytes. `payload` is its encoding. */
export async function attested(
  world: World,
  networkId: Uint8Array,
  proof: Uint8Array,
  signals: Uint8Array = new Uint8Array(32),
): Promise<{ batchId: Hex; payload: Uint8Array }> {
  const { chain } = world.provider
  const { batchId } = await anchored(world, [100n, 200n])
  await chain.awaitSlot((await chain.batch(batchId)).sampleSlot)
  await chain.awaitTime((await chain.batch(batchId)).auditUntil)
  await chain.anchorTrace(batchId, word(11n))
  await chain.awaitSlot((await chain.batch(batchId)).challengeSlot)
  const segments = [{ proof, signals }]
  const payload = encode(AttestationSchema, { batch: fromHex(batchId), jobs: [{ statements: [{ segments }] }] })
  await chain.commitAttestation(batchId, toHex(attestationParts(payload, networkId).digest))
  return { batchId, payload }
}

/** Settles with the votes of the whole committee, which all say this. */
export async function voteAll(world: World, batchId: Hex, verdicts: string, digest: Hex): Promise<void> {
  const { chain } = world.provider
  await chain.awaitSlot((await chain.batch(batchId)).committeeSlot)
  const members = await chain.committee(batchId)
  const said = members.map(() => ({ verdicts, digest }))
  const { committed, votes } = await cast(world, batchId, said)
  await chain.settle(batchId, committed, votes, [])
}

/** Everything the token's supply is made of, and some of its parts. */
export async function holdings(world: World) {
  const { reader, network, nodes, consumer, payouts, funder, provider } = world
  const { registry, escrow, faucet } = network.contracts
  const accounts = [...nodes.map(({ chain }) => chain.address!), consumer.chain.address!, ...payouts, funder.address!]
  const sum = async (read: (account: Hex) => Promise<bigint>, of: Hex[]): Promise<bigint> =>
    (await Promise.all(of.map(read))).reduce((a, b) => a + b, 0n)
  const holders = [...accounts, registry, escrow, faucet!] as Hex[]
  return {
    supply: await reader.tokenSupply(),
    all: await sum(reader.tokensOf, holders),
    payouts: await sum(reader.balanceOf, payouts),
    operator: await reader.balanceOf(provider.chain.address!),
    providerStake: (await reader.node(provider.chain.address!))!.stake,
    /** Claims on the escrow, which must be exactly what it holds when all pots are empty. */
    claims: await sum(reader.balanceOf, accounts),
    reserve: await reader.session(world.session).then(({ ceiling, anchored: used }) => ceiling - used),
    escrow: await reader.tokensOf(escrow),
  }
}
