import { join } from 'node:path'
import { toHex } from '../../protocol/bytes.ts'
import type { Address } from '../../protocol/signature.ts'
import { type Chain, openChain } from '../chain/chain.ts'
import type { StrikeRecord } from '../chain/views.ts'
import { storedUsage } from '../net/shelf.ts'
import { pulseStatus } from '../stages/pulse-notes.ts'
import { describeBatch, describeSeats, openBatches } from './batch-status.ts'
import { formatAmount, type JoinOptions } from './joined.ts'
import { openIdentity, parseRpc, readNetworkFile } from './options.ts'
import { describePulses } from './pulse-status.ts'

export type StatusOptions = JoinOptions & { json: boolean; logLevel: string }

/** Where a provider stands in the sequential test of its answers (settlement.md), in words. */
export function describeStrikes(record: StrikeRecord, threshold: number, now: bigint): string {
  const { score, strikes, graceUntil, excludedUntil } = record
  const utc = (seconds: bigint): string => new Date(Number(seconds) * 1000).toISOString()
  if (now < excludedUntil)
    return (
      `excluded until ${utc(excludedUntil)}: answers of this node were off tolerance too often (${strikes} receipts so far); ` +
      `batches are taken until ${utc(graceUntil)}`
    )
  const share = Math.floor((Number(score) * 100) / threshold)
  return `${strikes} receipts off tolerance so far, ${share}% of the way to an exclusion`
}

/** What is minted for a node's work and capacity, in words. Amounts in base units; `minted` null where nobody knows. */
export function describeMint(payout: Address, waiting: bigint, minted: bigint | null): string {
  const waits = waiting === 0n ? 'nothing waits' : `${formatAmount(waiting)} SNTR wait`
  const so = minted === null ? '' : `, ${formatAmount(minted)} SNTR were minted to ${payout} so far`
  return `mint: ${waits} to be claimed${so}`
}

export type ListedSession = { session: string; provider: string; ceiling: string; anchored: string; state: string }

/** Sessions in which money still lies, and how many are over. */
export function describeSessions(listed: readonly ListedSession[]): string[] {
  const lasting = listed.filter(({ state }) => state !== 'closed')
  const over = listed.length - lasting.length
  return [
    ...lasting.map(
      ({ session, provider, ceiling, anchored, state }) =>
        `${session} with ${provider}: ${state}, ${anchored} of ${ceiling} SNTR anchored`,
    ),
    ...(over > 0 ? [`${over} session${over === 1 ? ' is' : 's are'} closed`] : []),
  ]
}

async function pulsesOf(chain: Chain, address: Address, folder: string): Promise<string[]> {
  const [last, history, noted] = await Promise.all([
    chain.lastPulse(),
    chain.capacityHistory(address),
    pulseStatus(join(folder, 'pulses')),
  ])
  return describePulses(last, history, noted)
}

/** What the chain says of this account: tokens, escrow and sessions, a node's mint, seats, pulses and batches with what is pending against them; and what its files take on disk. Joins no network. */
export async function status(options: StatusOptions): Promise<void> {
  const { address, privateKey } = await openIdentity(options)
  const chain = await openChain({
    network: readNetworkFile(options.network),
    rpcUrl: parseRpc(options.rpc),
    key: toHex(privateKey),
  })
  const [tokens, escrow, sessions, node, strikes, head] = await Promise.all([
    chain.tokensOf(address),
    chain.balanceOf(address),
    chain.sessionsOf(address),
    chain.node(address),
    chain.strikes(address),
    chain.head(),
  ])
  const listed = sessions.map(({ id, session }) => ({
    session: id,
    provider: session.provider,
    ceiling: formatAmount(session.ceiling),
    anchored: formatAmount(session.anchored),
    state: session.closed ? 'closed' : session.closesAt !== 0n ? 'closing' : 'open',
  }))
  const reserved = sessions.reduce(
    (sum, { session }) => sum + (session.closed ? 0n : session.ceiling - session.anchored),
    0n,
  )
  const standing = node === null ? null : describeStrikes(strikes, chain.params.strikeThreshold, head.timestamp)
  const facts = {
    address,
    tokens: formatAmount(tokens),
    escrow: formatAmount(escrow),
    reserved: formatAmount(reserved),
    ...(node === null
      ? {}
      : {
          stake: formatAmount(node.stake),
          locked: formatAmount(node.locked),
          strikes: Number(strikes.strikes),
          standing,
        }),
  }
  const batches = node === null ? [] : (await openBatches(chain, address)).map(describeBatch)
  const [seats, waiting, minted] =
    node === null
      ? [null, null, null]
      : await Promise.all([describeSeats(chain, address), chain.claimable(address), chain.minted(address)])
  const mint = node === null ? null : describeMint(node.payout, waiting?.amount ?? 0n, minted)
  const pulses = node === null ? [] : await pulsesOf(chain, address, options.data)
  const disk = await storedUsage(join(options.data, 'blocks'))
  if (options.json) {
    console.log(JSON.stringify({ event: 'status', ...facts, mint, seats, pulses, batches, sessions: listed, disk }))
    return
  }
  console.log(`${address}: ${facts.tokens} SNTR, ${facts.escrow} in the escrow, ${facts.reserved} reserved by sessions`)
  if (node !== null) console.log(`node: ${facts.stake} SNTR at stake, ${facts.locked} of it locked; ${standing}`)
  for (const line of [mint, seats, ...pulses]) if (line !== null) console.log(`  ${line}`)
  for (const [first, ...more] of batches) {
    console.log(`  batch ${first}`)
    for (const line of more) console.log(`    ${line}`)
  }
  for (const line of describeSessions(listed)) console.log(`  ${line}`)
  if (disk !== null) {
    const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(2)
    console.log(`${disk.files} files on disk: ${gib(disk.usedBytes)} of ${gib(disk.quotaBytes)} GiB`)
  }
}
