import { encodeFunctionData } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import type { Anvil } from '../../node/chain/anvil.ts'
import { type Chain, openChain } from '../../node/chain/chain.ts'
import { deployNetwork } from '../../node/chain/deploy.ts'
import { signCommitment, signPayoutConsent, signVoucher } from '../../node/chain/eip712.ts'
import { openingToSign } from '../../node/chain/opening.ts'
import { devnetParams } from '../../node/chain/params.ts'
import type { Done, RangeInput } from '../../node/chain/steps.ts'
import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { tokenAbi } from '../../protocol/contracts/abi.ts'
import { voteCommitment } from '../../protocol/eip712.ts'
import { hash } from '../../protocol/hash.ts'
import { addressOf, publicKeyOf } from '../../protocol/signature.ts'
import { relationForgery, sendAs } from './gas-referee.ts'

/** Gas, and bytes of the signed transactions. */
export type Costs = { gas: number; bytes: number }

export type SettlementCosts = Record<
  | 'register'
  | 'deposit'
  | 'depositWithPermit'
  | 'approve'
  | 'openSessionFor'
  | 'openSession'
  | 'anchor'
  | 'furtherRange'
  | 'record'
  | 'anchorTrace'
  | 'commit'
  | 'commitVotes'
  | 'settle'
  | 'appeal'
  | 'proveProof'
  | 'collect'
  | 'withdraw'
  | 'transfer',
  Costs
>

const SNTR = 10n ** 18n
const DRAWS = 8
const bytes = (label: string): Uint8Array => hash('bench', new TextEncoder().encode(label))
const median = (all: Costs[]): Costs => [...all].sort((a, b) => a.gas - b.gas)[Math.floor(all.length / 2)]!

/** Runs batches through all steps with a first committee of this size, every step a transaction of its own. */
export async function measureSettlement(
  anvil: Anvil,
  { committeeSize, quorum }: { committeeSize: number; quorum: number },
): Promise<SettlementCosts> {
  const none = '00'.repeat(32)
  const circuits = { relation: none, pointwise: none, product: none, extremum: none }
  const params = { ...devnetParams, draws: DRAWS, committeeSize, quorum }
  const at = { rpcUrl: anvil.rpcUrl, key: anvil.key }
  const name = `gas-${committeeSize}`
  const network = await deployNetwork({ ...at, name, params, tileDraws: 8, circuits, faucet: true })
  const funder = await openChain({ network, ...at, pollMs: 5 })

  async function costs({ tx, gasUsed }: Pick<Done, 'tx' | 'gasUsed'>): Promise<Costs> {
    const raw = (await anvil.request('eth_getRawTransactionByHash', [tx])) as Hex
    return { gas: Number(gasUsed), bytes: raw.length / 2 - 1 }
  }
  async function enter(label: string): Promise<{ chain: Chain; key: Hex }> {
    const key = toHex(bytes(`${name} ${label}`))
    const chain = await openChain({ network, rpcUrl: anvil.rpcUrl, key, pollMs: 5 })
    await funder.drip(chain.address!)
    return { chain, key }
  }

  const consumer = await enter('consumer')
  const registered: Costs[] = []
  const keys = new Map<string, Hex>()
  const nodes: Chain[] = []
  // One more than sit in the first committee, so that an appeal finds a larger one.
  for (let i = 0; i <= committeeSize + 1; i++) {
    const { chain, key } = await enter(`node ${i}`)
    const payoutKey = bytes(`${name} payout ${i}`)
    const payout = addressOf(publicKeyOf(payoutKey))
    const payoutConsent = await signPayoutConsent(network, toHex(payoutKey), chain.address!)
    const stake = 2_000n * SNTR
    registered.push(await costs(await chain.register({ payout, hardwareClass: 'cpu', stake, payoutConsent })))
    keys.set(chain.address!, key)
    nodes.push(chain)
    if (i > 0) chain.close()
  }
  const provider = nodes[0]!
  await provider.deposit(100n * SNTR)
  // The first is a permit's first, and that of a balance.
  await consumer.chain.deposit(1n)
  const depositWithPermit = await costs(await consumer.chain.deposit(1n))
  const allowance = encodeFunctionData({
    abi: tokenAbi,
    functionName: 'approve',
    args: [network.contracts.escrow, 2n ** 256n - 1n],
  })
  const approve = await costs(await sendAs(anvil, network, consumer.key, network.contracts.token, allowance))
  const deposit = await costs(await consumer.chain.deposit(5_000n * SNTR))
  const { timestamp } = await funder.head()
  const opened: Costs[] = []
  const sessions: Hex[] = []
  for (let i = 0; i < 4; i++) {
    const done = await consumer.chain.openSession(provider.address!, 100n * SNTR, timestamp + 10n ** 6n)
    opened.push(await costs(done))
    sessions.push(done.session)
  }
  const owner = privateKeyToAccount(consumer.key)
  const opening = {
    consumer: consumer.chain.address!,
    provider: provider.address!,
    ceiling: SNTR,
    expiry: timestamp + 10n ** 6n,
    signer: provider.address!,
    nonce: await funder.sessionNonce(consumer.chain.address!),
    deadline: timestamp + 10n ** 6n,
  }
  const consent = await owner.signTypedData(openingToSign(network, opening))
  const openSessionFor = await costs(await funder.openSessionFor(opening, consent))

  async function range(session: Hex): Promise<RangeInput> {
    const { cursor, anchored } = await provider.session(session)
    const fields = {
      session: fromHex(session),
      seq: cursor + 100n,
      cumulative: anchored + SNTR,
      receipt: bytes(session),
    }
    const signature = toHex(signVoucher(network, consumer.key, fields))
    return { session, toSeq: fields.seq, cumulative: fields.cumulative, receiptHash: toHex(fields.receipt), signature }
  }
  async function record(slot: bigint): Promise<Costs> {
    while ((await funder.head()).block <= funder.slotHeight(slot)) await anvil.mine(1)
    return costs((await provider.recordSlot(slot))!)
  }

  /** One batch up to its committee, committed to this attestation. */
  async function toCommittee(label: string, of: Hex[], digest: Uint8Array) {
    const ranges: RangeInput[] = []
    for (const session of of) ranges.push(await range(session))
    const done = await provider.anchorBatch(toHex(bytes(label)), ranges)
    const id = done.batchId
    const slots = [await record((await provider.batch(id)).sampleSlot)]
    // Audits are named until then.
    await anvil.mine(2, params.auditWindow + 1)
    const trace = await costs(await provider.anchorTrace(id, toHex(bytes('trace'))))
    slots.push(await record((await provider.batch(id)).challengeSlot))
    const commit = await costs(await provider.commitAttestation(id, toHex(digest)))
    slots.push(await record((await provider.batch(id)).committeeSlot))
    return { id, anchor: await costs(done), slots, trace, commit }
  }

  /** One batch up to the verdict of its committee: that of every draw. */
  async function judged(label: string, of: Hex[], verdict: '01' | '05') {
    const { id, ...steps } = await toCommittee(label, of, bytes('attestation'))
    const { attestation, attempt } = await provider.batch(id)
    const members = await provider.committee(id)
    const verdicts = `0x${verdict.repeat(DRAWS).padEnd(64, '0')}` as Hex
    const batch = fromHex(id)
    // All members commit, a quorum is opened.
    const cast = members.map((member, seat) => {
      const [digest, salt] = [bytes(member), bytes(`salt ${member}`)]
      const fields = { batch, attempt, attestation: fromHex(attestation), verdicts: fromHex(verdicts), digest }
      const commitment = voteCommitment(fields, salt, member)
      const signature = signCommitment(network, keys.get(member)!, { ...fields, commitment })
      const vote = { place: BigInt(seat), verdicts, digest: toHex(digest), salt: toHex(salt) }
      return { seat, commitment, signature, vote, committed: { voter: member, commitment: toHex(commitment) } }
    })
    const commitVotes = await costs(await provider.commitVotes(id, attempt, cast))
    const votes = cast.slice(0, quorum).map(({ vote }) => vote)
    const list = cast.map(({ committed }) => committed)
    const settle = await costs(await provider.settle(id, list, votes, []))
    return { id, ...steps, commitVotes, settle }
  }

  /** One batch from anchor to collection. */
  async function batch(label: string, of: Hex[]) {
    const { id, ...steps } = await judged(label, of, '01')
    const collected: Costs[] = []
    for (let i = 0; i < of.length; i++) collected.push(await costs(await provider.collect(id, i)))
    return { ...steps, collect: median(collected) }
  }

  // The first batch writes accounts and balances that stay; what counts is the ones after it.
  await batch('first', sessions)
  const one = await batch('one', [sessions[0]!])
  const four = await batch('four', sessions)
  const forgery = await relationForgery(bytes('forged'))
  const { id: forged } = await toCommittee('forged', [sessions[0]!], forgery.digest)
  const proveProof = await costs(await forgery.convict(anvil, network, keys.get(provider.address!)!, forged))
  const appeal = await costs(await provider.appeal((await judged('condemned', [sessions[0]!], '05')).id))
  await consumer.chain.withdraw(1n)
  const withdraw = await costs(await consumer.chain.withdraw(SNTR))
  await consumer.chain.transferTokens(funder.address!, 1n)
  const transfer = await costs(await consumer.chain.transferTokens(funder.address!, SNTR))
  for (const chain of [funder, consumer.chain, provider]) chain.close()
  return {
    register: median(registered),
    deposit,
    depositWithPermit,
    approve,
    openSessionFor,
    openSession: median(opened),
    anchor: one.anchor,
    furtherRange: {
      gas: Math.round((four.anchor.gas - one.anchor.gas) / 3),
      bytes: Math.round((four.anchor.bytes - one.anchor.bytes) / 3),
    },
    record: median([...one.slots, ...four.slots]),
    anchorTrace: one.trace,
    commit: one.commit,
    commitVotes: one.commitVotes,
    settle: one.settle,
    appeal,
    proveProof,
    collect: four.collect,
    withdraw,
    transfer,
  }
}
