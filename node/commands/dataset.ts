import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { extname, join } from 'node:path'
import { SinterError } from '../../protocol/errors.ts'
import { networkId } from '../../protocol/network.ts'
import { startClient } from '../client/client.ts'
import { sealDataset } from '../client/dataset.ts'
import { publicKeyOfPeer } from '../identity/identity.ts'
import {
  createLog,
  type JoinOptions,
  openIdentity,
  parseRpc,
  readInput,
  readNetworkFile,
  untilAsked,
} from './options.ts'

export type DatasetOptions = JoinOptions & { for?: string; json: boolean; once: boolean; logLevel: string }

/** What a batch reads, and what it writes. */
export const READABLE = new Set(['.json', '.npy'])

/** Names of the inputs in a folder, in order. Throws `FILE_UNREADABLE`, `INPUT_FILE` when there are none. */
export function inputNames(folder: string): string[] {
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => READABLE.has(extname(name)))
  } catch (cause) {
    throw new SinterError('FILE_UNREADABLE', `cannot read the folder ${folder}`, { cause })
  }
  if (names.length === 0) throw new SinterError('INPUT_FILE', `${folder} holds no .json and no .npy files`)
  return names.sort()
}

/**
 * Seals the files of a folder for one reader, by default this identity, and serves the result by content until asked to stop. Nothing
 * plain is stored.
 */
export async function dataset(folder: string, options: DatasetOptions): Promise<void> {
  const network = readNetworkFile(options.network)
  const identity = await openIdentity(options)
  const reader = options.for === undefined ? identity.publicKey : publicKeyOfPeer(options.for)
  const names = inputNames(folder)
  const files = names.map((name) => ({ name, data: readInput(join(folder, name)) }))
  const random = (bytes: number): Uint8Array => new Uint8Array(randomBytes(bytes))
  const sealed = sealDataset(files, { identity, reader, networkId: networkId(network), random })
  const { data: dataDir, listen, bootstrap, devnet } = options
  const log = createLog(options.logLevel, 'stderr')
  const rpcUrl = parseRpc(options.rpc)
  const client = await startClient({ network, rpcUrl, identity, dataDir, listen, bootstrap, devnet, log })
  try {
    const cid = await client.content.add(sealed, { keep: true })
    await client.network.waitForPeers(1, 20_000)
    await client.content.provide(cid)
    const facts = { cid, files: names.length, bytes: sealed.length, sender: client.network.peerId }
    if (options.json) console.log(JSON.stringify({ event: 'dataset', ...facts }))
    else {
      console.log(`${names.length} files sealed by ${facts.sender}\n${cid}`)
      if (!options.once) console.log('serving it until you stop this command')
    }
    if (!options.once) await untilAsked()
  } finally {
    await client.stop()
  }
}
