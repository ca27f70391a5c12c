import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import { checkRuntime, type ExecutionProvider } from '../../models/session.ts'
import { describeError } from '../../protocol/errors.ts'
import { parseFeed } from '../chain/oracle.ts'
import { placements } from '../exec/devices.ts'
import { type NodeParts, startNode } from '../node.ts'
import { bothOrNone } from '../stages/upkeep.ts'
import {
  createLog,
  type JoinOptions,
  openIdentity,
  parseAmount,
  parseCount,
  parseGwei,
  parseRpc,
  readNetworkFile,
  untilAsked,
} from './options.ts'

export type UpOptions = JoinOptions & {
  price: string
  stake: string
  floorDeposit: string
  hardwareClass: string
  region?: string
  ep: ExecutionProvider
  devices?: string
  sessions: string
  memory: string
  disk?: string
  modelsMemory?: string
  vram?: string
  maxModels: string
  provers?: string
  rapidsnark?: string
  quiet: string
  batchAge: string
  maxGasPrice?: string
  confirmations?: string
  drand?: string[]
  etherUsd?: string
  tokenUsd?: string
  claimFrom: string
  lanes: string
  canaryAccount?: string
  logLevel: string
}

/** Runs one node until it is asked to stop. Throws `RUNTIME_MISSING` and the codes of `startNode`. */
export async function up(options: UpOptions, parts?: Partial<NodeParts>): Promise<void> {
  checkRuntime()
  const log = createLog(options.logLevel, 'stdout')
  // A promise that some library forgot must not end a node that has proofs to make.
  process.on('unhandledRejection', (error) =>
    log.error({ event: 'node.unhandled', error: describeError(error) }, 'a failure that nobody waited for'),
  )
  const rpcUrl = parseRpc(options.rpc)
  const prices = bothOrNone(options.etherUsd, options.tokenUsd)
  const claimFrom = parseAmount(options.claimFrom)
  const { canaryAccount } = options
  const bait = canaryAccount === undefined ? null : await openIdentity({ ...options, data: canaryAccount })
  const node = await startNode(
    {
      network: readNetworkFile(options.network),
      rpcUrl,
      identity: await openIdentity(options),
      dataDir: options.data,
      listen: options.listen,
      bootstrap: options.bootstrap,
      devnet: options.devnet,
      executionProvider: options.ep,
      hardwareClass: options.hardwareClass,
      ...(options.region === undefined ? {} : { region: options.region }),
      price: parseAmount(options.price),
      stake: parseAmount(options.stake),
      floorDeposit: parseAmount(options.floorDeposit),
      memoryMib: parseCount(options.memory),
      ...(options.disk === undefined ? {} : { diskBytes: parseCount(options.disk) * 2 ** 30 }),
      placements: placements({
        executionProvider: options.ep,
        devices: options.devices?.split(',').map((device) => device.trim()) ?? [],
        sessionsPerDevice: parseCount(options.sessions),
      }),
      models: {
        maxModels: parseCount(options.maxModels),
        // What is left is for the operating system and the node's own work.
        totalMib: options.modelsMemory ? parseCount(options.modelsMemory) : Math.floor((0.75 * totalmem()) / 2 ** 20),
        ...(options.vram === undefined ? {} : { deviceMib: parseCount(options.vram) }),
      },
      ...(options.provers === undefined ? {} : { provers: parseCount(options.provers) }),
      ...(options.rapidsnark === undefined ? {} : { rapidsnark: resolve(options.rapidsnark) }),
      confirmations: options.confirmations === undefined ? (options.devnet ? 0 : 3) : parseCount(options.confirmations),
      ...(options.maxGasPrice === undefined ? {} : { maxFeePerGas: parseGwei(options.maxGasPrice) }),
      ...(options.drand === undefined ? {} : { drandUrls: parseRpc(options.drand) }),
      prices: prices && { ether: parseFeed(prices.ether, rpcUrl), token: parseFeed(prices.token, rpcUrl) },
      claimFrom: claimFrom === 0n ? null : claimFrom,
      lanes: parseCount(options.lanes),
      ...(bait === null ? {} : { canaryKey: bait.privateKey }),
      batch: { quietMs: 1000 * parseCount(options.quiet), maxAgeMs: 1000 * parseCount(options.batchAge) },
      log,
    },
    parts,
  )
  const signal = await untilAsked()
  log.info({ event: 'node.stopping', signal }, 'stopping')
  await node.stop()
}
