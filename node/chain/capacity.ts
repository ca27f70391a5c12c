import { type Abi, encodeFunctionData, type Hex, keccak256, type PublicClient, stringToHex } from 'viem'
import { toHex } from '../../protocol/bytes.ts'
import { capacityAbi, emissionsAbi, registryAbi } from '../../protocol/contracts/abi.ts'
import { availability } from '../../protocol/economics.ts'
import { SinterError } from '../../protocol/errors.ts'
import type { NetworkFile } from '../../protocol/network.ts'
import type { EntryOpening } from '../../protocol/pulse.ts'
import type { Address } from '../../protocol/signature.ts'
import { type BeaconClock, slotValue } from './beacon.ts'
import { classPrices } from './economy.ts'
import { chainError } from './errors.ts'
import type { NetworkParams } from './params.ts'
import type { RoundSource } from './rounds.ts'
import type { Done } from './steps.ts'
import type { Call, Transactor } from './transact.ts'
import { lowerAddresses } from './values.ts'
import type { Views } from './views.ts'

/** `ICapacity.Pulse` of an open slot. `openedAt` in seconds; stakes count as of block `snapshot`. */
export type Pulse = { slot: bigint; openedAt: bigint; snapshot: bigint; drawSlot: bigint }

/** `ICapacity.Claim`. @param index the claimer's place in the registry. */
export type LaneClaim = {
  slot: bigint
  reporter: Address
  index: number
  path: Uint8Array[]
  answers: Uint8Array[]
  lane: number
  entries: EntryOpening[]
}

/** Capacity pulses (capacity.md). All throw `CHAIN_…` errors (see errors.ts), changes `CHAIN_READ_ONLY` without a key. */
export type Capacities = {
  /** The pulse that was opened last, null before the first. */
  lastPulse(): Promise<Pulse | null>
  /** null where the slot is no pulse, or not open. */
  pulse(slot: bigint): Promise<Pulse | null>
  /** Those who may report an open pulse; nobody for a network's first, before which no stake was counted. */
  reporters(slot: bigint): Promise<Address[]>
  /** Root that a reporter has brought, null while it has not. */
  reportRoot(slot: bigint, reporter: Address): Promise<Hex | null>
  laneClaimed(slot: bigint, operator: Address, lane: number): Promise<boolean>
  operatorCount(): Promise<number>
  /** Value of a slot that is recorded, or that the chain or a relay of drand lets one compute; null while neither does. */
  slotValue(slot: bigint): Promise<Hex | null>
  /** Slot whose value came out last, at a block. */
  slotAt(head: { block: bigint; timestamp: bigint }): bigint
  /** What units of a class's capacity earn, base units: as in the epoch before, or what the class's floor assures. */
  capacityPay(hardwareClass: string, units: bigint): Promise<bigint>
  /** Epochs that are over and that nobody has ended. */
  epochsBehind(): Promise<bigint>
  /** What was examined of a node and paid so far; null where the endpoint does not look back so far. */
  capacityHistory(operator: Address): Promise<{ lanes: number; units: bigint; credited: bigint } | null>
  /** The slot has to be recorded where the beacon cannot do it alone. */
  openPulse(slot: bigint): Promise<Done>
  reportPulse(slot: bigint, root: Hex): Promise<Done>
  claimLane(claim: LaneClaim): Promise<Done>
  /** Ends so many epochs at most. */
  rollEpochs(most: bigint): Promise<Done>
}

/** An entry as the contract takes it. */
const entryInput = (o: EntryOpening) => ({
  before: toHex(o.before),
  beforePath: o.beforePath.map(toHex),
  operand: toHex(o.operand),
  operandPath: o.operandPath.map(toHex),
  afterwards: toHex(o.after),
  afterPath: o.afterPath.map(toHex),
  result: toHex(o.result),
  resultPath: o.resultPath.map(toHex),
})

export function openCapacities(
  client: PublicClient,
  network: NetworkFile,
  params: NetworkParams,
  views: Pick<Views, 'beaconValue'>,
  transactor: Transactor | null,
  clock: BeaconClock,
  rounds: RoundSource | null,
): Capacities {
  const capacity = { address: network.contracts.capacity, abi: capacityAbi } as const
  const emissions = { address: network.contracts.emissions, abi: emissionsAbi } as const
  const registry = { address: network.contracts.registry, abi: registryAbi } as const
  const read = client.readContract

  async function ask<T>(name: string, answer: Promise<T>): Promise<T> {
    try {
      return lowerAddresses(await answer)
    } catch (error) {
      throw chainError(error, name)
    }
  }
  async function send(
    contract: { address: Hex; abi: Abi },
    functionName: string,
    args: unknown[],
    traits: Pick<Call, 'volatile'> = {},
  ): Promise<Done> {
    if (transactor === null) throw new SinterError('CHAIN_READ_ONLY', 'this chain was opened without a key')
    const data = encodeFunctionData({ abi: contract.abi, functionName, args })
    const receipt = await transactor.send({ to: contract.address, data, action: functionName, ...traits })
    return { tx: receipt.transactionHash, block: receipt.blockNumber, gasUsed: receipt.gasUsed }
  }
  /** Each answers a beacon's value: after a fork that changed it, it is refused at best. */
  const answer = (functionName: string, ...args: unknown[]): Promise<Done> =>
    send(capacity as never, functionName, args, { volatile: true })

  async function pulse(slot: bigint): Promise<Pulse | null> {
    const facts = await ask('pulse', read({ ...capacity, functionName: 'pulseOf', args: [slot] }))
    return facts.openedAt === 0n ? null : { slot, ...facts }
  }
  const openEpoch = (): Promise<{ index: bigint }> => ask('epoch', read({ ...emissions, functionName: 'epoch' }))

  return {
    async lastPulse() {
      const slot = await ask('lastPulse', read({ ...capacity, functionName: 'lastPulse' }))
      return slot === 0n ? null : pulse(slot)
    },
    pulse,
    reporters: async (slot) => [
      ...(await ask('reporters', read({ ...capacity, functionName: 'reportersOf', args: [slot] }))),
    ],
    async reportRoot(slot, reporter) {
      const args = [slot, reporter] as const
      const root = await ask('reportRoot', read({ ...capacity, functionName: 'reportOf', args }))
      return BigInt(root) === 0n ? null : root
    },
    laneClaimed: (slot, operator, lane) =>
      ask('laneClaimed', read({ ...capacity, functionName: 'claimed', args: [slot, operator, lane] })),
    operatorCount: async () => Number(await ask('operatorCount', read({ ...registry, functionName: 'operatorCount' }))),
    async slotValue(slot) {
      const recorded = await views.beaconValue(slot)
      if (recorded !== null) return recorded
      if (clock.drand !== null) {
        const signature = await rounds?.signature(clock.roundOf(slot)).catch(() => null)
        return signature ? slotValue(network, slot, keccak256(toHex(signature))) : null
      }
      const block = await client.getBlock({ blockNumber: clock.opensAt(slot) }).catch(() => null)
      return block === null ? null : slotValue(network, slot, block.hash)
    },
    slotAt: (head) => clock.slotAt(clock.position(head)),
    async capacityPay(hardwareClass, units) {
      const name = keccak256(stringToHex(hardwareClass))
      const { index } = await openEpoch()
      const args = [name, index - 1n] as const
      const each = index === 0n ? 0n : await ask('perUnit', read({ ...emissions, functionName: 'perUnit', args }))
      if (each > 0n) return units * each
      const floor = classPrices(params).find((price) => price.class === name)?.floor ?? 0n
      return availability(units, floor, 0n)
    },
    async epochsBehind() {
      const now = await ask('epochNow', read({ ...emissions, functionName: 'epochNow' }))
      return now - (await openEpoch()).index
    },
    async capacityHistory(operator) {
      const filter = { args: { operator }, fromBlock: BigInt(network.deployBlock), strict: true } as const
      try {
        const [claims, credits] = await Promise.all([
          client.getContractEvents({ ...capacity, eventName: 'CapacityClaimed', ...filter }),
          client.getContractEvents({ ...emissions, eventName: 'AvailabilityCredited', ...filter }),
        ])
        const units = claims.reduce((sum, { args }) => sum + args.units, 0n)
        return { lanes: claims.length, units, credited: credits.reduce((sum, { args }) => sum + args.amount, 0n) }
      } catch {
        return null
      }
    },
    openPulse: (slot) => answer('open', slot),
    reportPulse: (slot, root) => answer('report', slot, root),
    claimLane: ({ path, answers, entries, ...rest }) =>
      answer('claim', {
        ...rest,
        path: path.map(toHex),
        answers: answers.map(toHex),
        entries: entries.map(entryInput),
      }),
    rollEpochs: (most) => send(emissions as never, 'roll', [most]),
  }
}
