/**
 * `import { connect } from 'sinter/light'`: a consumer in a web page, with the protocol, the checks and the interface of the package's
 * main entry. Bundlers put the browser's parts in place of Node's by the `browser` field of package.json.
 */
import { randomBytes } from '@noble/hashes/utils.js'
import { fromHex, type Hex } from '../protocol/bytes.ts'
import { SinterError } from '../protocol/errors.ts'
import { type NetworkFile, parseNetwork } from '../protocol/network.ts'
import type { Payer } from './chain/opening.ts'
import { checkOptions } from './client/check-options.ts'
import { join } from './client/connect.ts'
import type { Consumer, ConsumerOptions } from './client/consumer.ts'
import { classified } from './client/failures.ts'
import { identityFromKey } from './identity/identity.ts'
import type { Log } from './net/log.ts'

export type { OpeningToSign, Payer } from './chain/opening.ts'
export type { AttestationCheck, BatchCheck, QuorumCheck } from './client/batch-checks.ts'
export { TRUST_STATEMENT } from './client/client.ts'
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
} from './client/consumer.ts'
export { AbortedError, InputError, MoneyError, ProviderError, UnavailableError } from './client/failures.ts'
export type { ReceiptState, ReceiptStatus } from './client/receipts.ts'
export type { Inputs, NamedTensors, Numbers, TensorLike } from './client/values.ts'
export { SinterError }

export type LightOptions = ConsumerOptions & {
  /** Content of the network file. */
  network: NetworkFile
  /** JSON-RPC endpoint of the chain, which must allow requests from the page's origin. It is believed about sessions, stakes and balances. */
  rpcUrl: string | readonly string[]
  /** Multiaddrs of known nodes that a browser can reach: over WebSockets (`…/ws`, `…/tls/ws`) or WebRTC (`…/webrtc-direct/certhash/…`). */
  bootstrap: string[]
  /**
   * The private key of the account that pays: 32 bytes, or hex. Whoever has it has the account; a page keeps it where no other script
   * can read it. @default a new one that lives as long as the connection
   */
  key?: Uint8Array | string
  /** Name of the IndexedDB database in which blocks of models are kept between visits. @default 'sinter' */
  database?: string
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

/** A consumer that also says whom it is connected to. */
export type LightConsumer = Consumer & {
  /** Multiaddrs of the nodes at the other end of open connections. */
  connections(): string[]
}

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** A new private key, 32 random bytes. */
export const newKey = (): Uint8Array => randomBytes(32)

/** The account's address (`0x` hex) of a private key. Throws `IDENTITY_KEY`. */
export const addressOfKey = (key: Uint8Array): Hex => identityFromKey(key).address

/**
 * Joins a network as a consumer. Providers answer over the connections that the page makes, so those it cannot connect to do not
 * bid. Throws `UnavailableError` (`PEERS_TOO_FEW` when nobody is found within 20 s, `CHAIN_RPC`, `NETWORK_START`), and `InputError` for
 * options, network file or key that cannot be used.
 */
export async function connect(options: LightOptions): Promise<LightConsumer> {
  const { key = newKey(), database = 'sinter', devnet = false, peers = 1, log = SILENT } = options
  try {
    checkOptions(options)
    const identity = identityFromKey(typeof key === 'string' ? fromHex(key) : key)
    const { consumer, network } = await join(
      {
        network: parseNetwork(options.network),
        rpcUrl: options.rpcUrl,
        identity,
        dataDir: database,
        listen: [],
        bootstrap: options.bootstrap,
        devnet,
        peers,
        ...(options.account === undefined ? {} : { account: options.account }),
        log,
      },
      options,
    )
    const connections = (): string[] => network.libp2p.getConnections().map(({ remoteAddr }) => remoteAddr.toString())
    return Object.defineProperty(consumer as LightConsumer, 'connections', { value: connections })
  } catch (error) {
    throw classified(error)
  }
}
