import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { SinterError } from '../../protocol/errors.ts'
import { type NetworkFile, parseNetwork } from '../../protocol/network.ts'
import { POLICIES, type Policy } from '../../protocol/rules/receipt.ts'
import type { Identity } from '../identity/identity.ts'
import { loadIdentity, readPassword } from '../identity/keystore.ts'

const UNIT = 10n ** 18n

/** An amount in tokens, such as `1.5`, in base units. Throws `AMOUNT`. */
export function parseAmount(text: string): bigint {
  const match = /^(\d{1,20})(?:\.(\d{1,18}))?$/.exec(text)
  if (match === null) throw new SinterError('AMOUNT', `not an amount of tokens: ${text}`)
  return BigInt(match[1]!) * UNIT + BigInt((match[2] ?? '').padEnd(18, '0'))
}

/** Base units in tokens, exactly. */
export function formatAmount(amount: bigint): string {
  const sign = amount < 0n ? '-' : ''
  const whole = (amount < 0n ? -amount : amount).toString().padStart(19, '0')
  const fraction = whole.slice(-18).replace(/0+$/, '')
  return `${sign}${whole.slice(0, -18)}${fraction === '' ? '' : `.${fraction}`}`
}

/** Throws `OPTION`. */
export function parseCount(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new SinterError('OPTION', `not a whole number: ${text}`)
  return value
}

/** A share from 0 to 1. Throws `OPTION`. */
export function parseShare(text: string): number {
  const share = Number(text)
  if (!(share >= 0 && share <= 1) || text.trim() === '')
    throw new SinterError('OPTION', `not a share from 0 to 1: ${text}`)
  return share
}

/** A policy of drawn jobs by its name. Throws `OPTION`. */
export function parsePolicy(text: string): Policy {
  const policy = POLICIES.find((known) => known === text)
  if (policy === undefined) throw new SinterError('OPTION', `no policy ${text}: there are ${POLICIES.join(', ')}`)
  return policy
}

/** Wei from an amount in gwei, such as `0.05`. Throws `OPTION`. */
export function parseGwei(text: string): bigint {
  const match = /^(\d{1,9})(?:\.(\d{1,9}))?$/.exec(text)
  if (match === null) throw new SinterError('OPTION', `not an amount of gwei: ${text}`)
  return BigInt(match[1]!) * 10n ** 9n + BigInt((match[2] ?? '').padEnd(9, '0'))
}

/** JSON-RPC endpoints; the environment variable holds several with commas between them. Throws `OPTION`. */
export function parseRpc(urls: readonly string[]): string[] {
  const all = urls.flatMap((text) => text.split(/[\s,]+/)).filter((url) => url !== '')
  const bad = all.find((url) => !/^https?:\/\/\S+$/.test(url))
  if (bad !== undefined || all.length === 0) throw new SinterError('OPTION', `not a JSON-RPC endpoint: ${bad ?? ''}`)
  return all
}

/** A file a person named. Throws `FILE_UNREADABLE`. */
export function readInput(path: string): Uint8Array {
  try {
    // Neither a pipe, which would be waited for, nor a device, which never ends.
    if (!statSync(path).isFile()) throw new SinterError('FILE_UNREADABLE', `${path} is no file`)
    return new Uint8Array(readFileSync(path))
  } catch (cause) {
    if (cause instanceof SinterError) throw cause
    throw new SinterError('FILE_UNREADABLE', `cannot read ${path}`, { cause })
  }
}

/** Throws `FILE_UNREADABLE`, `NETWORK_FILE`. */
export function readNetworkFile(path: string): NetworkFile {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder().decode(readInput(path)))
  } catch (cause) {
    if (cause instanceof SinterError) throw cause
    throw new SinterError('NETWORK_FILE', `${path} is not JSON`, { cause })
  }
  return parseNetwork(json)
}

/** How pictures become numbers where nothing is said of it (`parseImage`). */
export const DEFAULT_IMAGE = 'fit=fill,range=0:1'

/** Where things are kept unless told otherwise. */
export const defaultHome = (): string => join(homedir(), '.sinter')

/** Options that every command that joins a network has. */
export type JoinOptions = {
  network: string
  rpc: string[]
  data: string
  bootstrap: string[]
  listen: string[]
  passwordFile?: string
  devnet: boolean
}

/** The identity in a data folder, made on first use. The password comes from a file or SINTER_PASSWORD. */
export async function openIdentity(options: Pick<JoinOptions, 'data' | 'passwordFile' | 'devnet'>): Promise<Identity> {
  mkdirSync(options.data, { recursive: true })
  const password = await readPassword({ file: options.passwordFile, env: 'SINTER_PASSWORD' })
  const cost = options.devnet ? ('devnet' as const) : ('standard' as const)
  return loadIdentity({ path: join(options.data, 'key.json'), password, cost })
}

/** Facts as JSON lines: on standard output for a node, on standard error where standard output is the answer. */
export function createLog(level: string, to: 'stdout' | 'stderr'): ReturnType<typeof pino> {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: to === 'stdout' ? 1 : 2, sync: true }),
  )
}

/** Exit code of a command that was asked to stop and can go on. */
export const STOPPED = 130

/** Resolves at the first signal that asks the process to end. */
export function untilAsked(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal))
  })
}
