/** The public surface: `import { connect } from 'sinter'`. Everything else of the package is its own business. */
import { join as joinPath } from 'node:path'
import { pino } from 'pino'
import { SinterError } from '../protocol/errors.ts'
import type { NetworkFile } from '../protocol/network.ts'
import type { Payer } from './chain/opening.ts'
import { checkOptions } from './client/check-options.ts'
import { join } from './client/connect.ts'
import type { Consumer, ConsumerOptions } from './client/consumer.ts'
import { classified } from './client/failures.ts'
import { openMemory } from './client/stored-memory.ts'
import { readNetworkFile } from './commands/options.ts'
import type { Identity } from './identity/identity.ts'
import { loadIdentity } from './identity/keystore.ts'
import type { Log } from './net/log.ts'

export type { OpeningToSign, Payer } from './chain/opening.ts'
export type { AttestationCheck, BatchCheck, QuorumCheck } from './client/batch-checks.ts'
export type {
  BatchRun,
  Consumer,
  Inference,
  InferOptions,
  Listing,
  ModelInfo,
  Progress,
  Quote,
  Receipt,
  RunOptions,
  Step,
} from './client/consumer.ts'
export { AbortedError, InputError, MoneyError, ProviderError, UnavailableError } from './client/failures.ts'
export type { ReceiptState, ReceiptStatus } from './client/receipts.ts'
export type { Inputs, NamedTensors, Numbers, TensorLike } from './client/values.ts'
export { SinterError }

export type ConnectOptions = ConsumerOptions & {
  /** The network file: its path or its content. */
  network: string | NetworkFile
  /** JSON-RPC endpoint of the chain. It is believed about sessions, stakes and balances. */
  rpcUrl: string | readonly string[]
  /** Folder for the key and for blocks of models. */
  dataDir: string
  /** Password of `dataDir`/key.json, which is made on first use. Not needed with `identity`. */
  password?: string
  /** A key from elsewhere. */
  identity?: Identity
  /** Multiaddrs of known nodes; one is enough. */
  bootstrap: string[]
  /** Multiaddrs to listen on: providers send their bids there. @default ['/ip4/0.0.0.0/tcp/0'] */
  listen?: string[]
  /** A network on this machine only. @default false */
  devnet?: boolean
  /**
   * An account that pays in place of the key's own: a contract wallet (ERC-1271), or a key that is kept elsewhere. Its tokens lie in the
   * escrow already, and it signs its consent to each session; the key here signs for the jobs, and pays the gas. @default none
   */
  account?: Payer
  /** Peers that must take offers before `connect` returns. @default 1 */
  peers?: number
  /** @default silent */
  log?: Log
}

/**
 * Joins a network as a consumer. Throws `UnavailableError` (`PEERS_TOO_FEW` when nobody is found within 20 s, `CHAIN_RPC`,
 * `NETWORK_START`), and `InputError` for options, network file, key or data folder that cannot be used.
 */
export async function connect(options: ConnectOptions): Promise<Consumer> {
  const { network, dataDir, devnet = false, peers = 1 } = options
  const log = options.log ?? pino({ level: 'silent' })
  try {
    checkOptions(options)
    const file = typeof network === 'string' ? readNetworkFile(network) : network
    if (options.identity === undefined && options.password === undefined)
      throw new SinterError('OPTION', 'connect needs a password for the key in dataDir, or an identity')
    const identity =
      options.identity ??
      (await loadIdentity({
        path: joinPath(dataDir, 'key.json'),
        password: options.password!,
        cost: devnet ? 'devnet' : 'standard',
      }))
    const { consumer } = await join(
      {
        network: file,
        rpcUrl: options.rpcUrl,
        identity,
        dataDir,
        listen: options.listen ?? [devnet ? '/ip4/127.0.0.1/tcp/0' : '/ip4/0.0.0.0/tcp/0'],
        bootstrap: options.bootstrap,
        devnet,
        peers,
        ...(options.account === undefined ? {} : { account: options.account }),
        openMemory: () => openMemory(joinPath(dataDir, 'consumer'), identity.address, Date.now),
        log,
      },
      options,
    )
    return consumer
  } catch (error) {
    throw classified(error)
  }
}
