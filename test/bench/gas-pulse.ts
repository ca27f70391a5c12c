import { type Abi, createPublicClient, encodeAbiParameters, encodeFunctionData, http, keccak256 } from 'viem'
import type { Anvil } from '../../node/chain/anvil.ts'
import { type Chain, openChain } from '../../node/chain/chain.ts'
import { deployNetwork } from '../../node/chain/deploy.ts'
import { signPayoutConsent } from '../../node/chain/eip712.ts'
import { devnetParams } from '../../node/chain/params.ts'
import { fromHex, type Hex, toHex } from '../../protocol/bytes.ts'
import { beaconAbi, capacityAbi, registryAbi } from '../../protocol/contracts/abi.ts'
import { hash } from '../../protocol/hash.ts'
import {
  entryOf,
  type KeptState,
  laneSeed,
  laneTree,
  matrixRow,
  openEntry,
  operandRow,
  type PulseClass,
  type PulseDraw,
  positions,
  reportLeaf,
  reportTree,
  stateTree,
  stepSeed,
  stepVectors,
} from '../../protocol/pulse.ts'
import { addressOf, publicKeyOf } from '../../protocol/signature.ts'
import { sendAs } from './gas-referee.ts'
import type { Costs } from './gas-world.ts'

const SNTR = 10n ** 18n
const STEPS = 4_096
const ENTRIES = 4
const bytes = (label: string): Uint8Array => hash('bench-pulse', new TextEncoder().encode(label))

/**
 * A lane that is right in what `draw` examines and one elsewhere: gas depends on which bytes are zero alone, and the whole of it would take a
 * machine of the class.
 */
function laneFor(draw: PulseDraw, seed: Uint8Array, { n, steps, entries }: PulseClass) {
  const places = positions(draw, { n, steps, entries })
  const ones = new Uint8Array(n * n).fill(1)
  const blank: KeptState = { state: ones, tree: stateTree(ones, n) }
  const states = new Map<number, KeptState>()
  const before = (step: number): KeptState => states.get(step - 1) ?? blank
  for (const step of [...new Set(places.map((at) => at.step))].sort((a, b) => a - b)) {
    const state = ones.slice()
    const root = step === 0 ? new Uint8Array(32) : before(step).tree.root
    for (const { row, column } of places.filter((at) => at.step === step)) {
      const x = before(step).state.subarray(n * column, n * column + n)
      state[n * row + column] = entryOf(
        matrixRow(row, n),
        operandRow(stepVectors(stepSeed(seed, step, root), n), column, x),
      )
    }
    states.set(step, { state, tree: stateTree(state, n) })
  }
  const tree = laneTree(Array.from({ length: steps }, (_, step) => (states.get(step) ?? blank).tree.root))
  const openings = places.map((at) =>
    openEntry(at, n, tree, at.step === 0 ? null : before(at.step), states.get(at.step)!),
  )
  return { answer: tree.answer, openings }
}

/** Opening, a report, and the claim of a lane of a class with each n. */
export async function measurePulse(
  anvil: Anvil,
  sizes: readonly number[],
): Promise<{ open: Costs; report: Costs; claims: Costs[] }> {
  const none = '00'.repeat(32)
  const circuits = { relation: none, pointwise: none, product: none, extremum: none }
  const of = (form: (n: number) => string): string => sizes.map(form).join(',')
  const params = {
    ...devnetParams,
    ...{ pulseRarity: 1, pulseClaimWindow: 100_000, epochLength: 100_000 },
    classes: of((n) => `n${n}:1000:1000`),
    capacityClasses: of((n) => `n${n}:${n}:${STEPS}:${ENTRIES}:1:1:1000`),
  }
  const at = { rpcUrl: anvil.rpcUrl, key: anvil.key }
  const network = await deployNetwork({ ...at, name: 'gas-pulse', params, tileDraws: 8, circuits, faucet: true })
  const { capacity, beacon, registry } = network.contracts
  const client = createPublicClient({ transport: http(anvil.rpcUrl) })
  const funder = await openChain({ network, ...at, pollMs: 5 })
  const nodes: { chain: Chain; key: Hex }[] = []
  for (const n of sizes) {
    const key = toHex(bytes(`node ${n}`))
    const chain = await openChain({ network, rpcUrl: anvil.rpcUrl, key, pollMs: 5 })
    await funder.drip(chain.address!)
    const payoutKey = toHex(bytes(`payout ${n}`))
    const payoutConsent = await signPayoutConsent(network, payoutKey, chain.address!)
    const payout = addressOf(publicKeyOf(fromHex(payoutKey)))
    await chain.register({ payout, hardwareClass: `n${n}`, stake: 2_000n * SNTR, payoutConsent })
    nodes.push({ chain, key })
  }
  const send = async (key: Hex, functionName: string, args: unknown[]): Promise<Costs> => {
    const data = encodeFunctionData({ abi: capacityAbi as Abi, functionName, args })
    const { gasUsed, tx } = await sendAs(anvil, network, key, capacity, data)
    const raw = (await anvil.request('eth_getRawTransactionByHash', [tx])) as Hex
    return { gas: Number(gasUsed), bytes: raw.length / 2 - 1 }
  }
  const ask = (address: Hex, abi: unknown, functionName: string, args: unknown[]): Promise<unknown> =>
    client.readContract({ address, abi: abi as Abi, functionName, args })

  async function openPulse(): Promise<{ slot: bigint; open: Costs }> {
    const { block } = await funder.head()
    const slot = (await ask(beacon, beaconAbi, 'slotAfter', [block])) as bigint
    while ((await funder.head()).block <= funder.slotHeight(slot)) await anvil.mine(1)
    return { slot, open: await send(anvil.key, 'open', [slot]) }
  }
  await openPulse()
  await anvil.mine(1, params.pulseWindow + 1)
  const { slot, open } = await openPulse()

  const { drawSlot } = (await ask(capacity, capacityAbi, 'pulseOf', [slot])) as { drawSlot: bigint }
  const value = fromHex((await ask(beacon, beaconAbi, 'value', [slot])) as Hex)
  const drawn = bytes('drawn')
  const lanes = sizes.map((n, i) => {
    const operator = nodes[i]!.chain.address!
    const seed = laneSeed({ chainId: network.chainId, capacity, value, operator, lane: 0 })
    return laneFor({ slot, value: drawn, operator, lane: 0 }, seed, { n, steps: STEPS, entries: ENTRIES })
  })
  const operators = (await ask(registry, registryAbi, 'operators', [0n, 100n])) as Hex[]
  const indices = nodes.map(({ chain }) => operators.findIndex((each) => each.toLowerCase() === chain.address))
  const leaves = lanes.map(({ answer }, i) => [indices[i]!, reportLeaf(nodes[i]!.chain.address!, [answer])] as const)
  const tree = reportTree(new Map(leaves))
  const [reporter] = (await ask(capacity, capacityAbi, 'reportersOf', [slot])) as Hex[]
  const by = nodes.find(({ chain }) => chain.address === reporter!.toLowerCase())!
  const report = await send(by.key, 'report', [slot, toHex(tree.root)])

  while ((await funder.head()).block <= funder.slotHeight(drawSlot)) await anvil.mine(1)
  await funder.recordSlot(drawSlot)
  // The value that the lanes were made for: HeaderBeacon keeps values in its first mapping.
  const place = keccak256(encodeAbiParameters([{ type: 'uint256' }, { type: 'uint256' }], [drawSlot, 0n]))
  await anvil.request('anvil_setStorageAt', [beacon, place, toHex(drawn)])

  const claims: Costs[] = []
  for (const [i, { answer, openings }] of lanes.entries()) {
    const entries = openings.map((o) => ({
      ...{ before: toHex(o.before), beforePath: o.beforePath.map(toHex) },
      ...{ operand: toHex(o.operand), operandPath: o.operandPath.map(toHex) },
      ...{ afterwards: toHex(o.after), afterPath: o.afterPath.map(toHex) },
      ...{ result: toHex(o.result), resultPath: o.resultPath.map(toHex) },
    }))
    const path = tree.path(indices[i]!).map(toHex)
    const claim = { slot, reporter, index: indices[i], path, answers: [toHex(answer)], lane: 0, entries }
    claims.push(await send(nodes[i]!.key, 'claim', [claim]))
  }
  for (const { chain } of [{ chain: funder }, ...nodes]) chain.close()
  return { open, report, claims }
}
