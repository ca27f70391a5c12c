import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import { printable } from '../printable.ts'

/** What was given is wrong, be it an input, an option, a password or a folder: mend it, do not repeat it. */
export class InputError extends SinterError {}
/** The spending limit or the account's balance stands against it. */
export class MoneyError extends SinterError {}
/** Nobody bid, or nobody could be reached. Later, or with a higher ceiling, it may go. */
export class UnavailableError extends SinterError {}
/** Providers took the job and failed, each that was tried. `code` is the last one's. */
export class ProviderError extends SinterError {}
/** The caller aborted, or the client was stopped. */
export class AbortedError extends SinterError {}

const CLASSES = [InputError, MoneyError, UnavailableError, ProviderError, AbortedError]

type Kind = new (...args: ConstructorParameters<typeof SinterError>) => SinterError

const KINDS: [codes: RegExp, kind: Kind][] = [
  [
    /^(TENSOR_|INPUT_|CID_|MANIFEST_|CONTENT_(CID|TYPE|MALFORMED|TOO_LARGE|DISK)|MODEL_(HASH|TOO_LARGE)|GRAPH_|OPTION|OUTPUT_OFF_TOLERANCE)/,
    InputError,
  ],
  [
    /^(FILE_|NETWORK_(FILE|PARAMS)|KEYSTORE_|IDENTITY_|BOOTSTRAP_ADDRESS|CHAIN_(ID|NO_CONTRACTS)|STORE_|RECEIPT_UNKNOWN)/,
    InputError,
  ],
  [/^(SPENDING_LIMIT|BALANCE_TOO_LOW|CHAIN_GAS_FUNDS)/, MoneyError],
  [/^(NO_BIDS|PEER|PEERS|CONTENT_UNAVAILABLE|CHAIN_RPC|OPEN_TIMEOUT|NETWORK_START|GOSSIP)/, UnavailableError],
  [/^(ABORTED|CLIENT_STOPPED|CONTENT_ABORTED)/, AbortedError],
  // A fault of this program's, and nobody else's.
  [/^UNEXPECTED$/, SinterError],
]

/** The class that says what a caller can do about it; the code and the cause stay. Codes without a class are a provider's. */
export function classified(error: unknown): SinterError {
  if (CLASSES.some((each) => error instanceof each)) return error as SinterError
  const code = errorCode(error)
  const kind = KINDS.find(([codes]) => codes.test(code))?.[1] ?? ProviderError
  const message = error instanceof Error ? error.message : describeError(error)
  const detail = error instanceof SinterError && error.detail !== undefined ? { detail: error.detail } : {}
  // Its own cause, where it is the same error under its class.
  const cause = error instanceof SinterError ? error.cause : error
  return new kind(code, message, { cause, ...detail })
}

/** Failures that another provider would not mend. */
export const FINAL: ReadonlySet<string> = new Set(['SPENDING_LIMIT', 'BALANCE_TOO_LOW', 'CLIENT_STOPPED', 'ABORTED'])
/** What else this side decides by. */
const OURS = new Set([...FINAL, 'NO_BIDS', 'CANCELLED', 'JOB_TIMEOUT', 'OPEN_TIMEOUT', 'SESSION_ENDED', 'UNEXPECTED'])
const CODE = /^[A-Z][A-Za-z0-9_]{0,63}$/

/**
 * What a provider says of its failure. Its code is kept if it is one, and none of those by which we decide: a peer that could say
 * `SPENDING_LIMIT` would keep a request from all other providers. The class is the provider's, but for an input that is said to be outside of
 * what the model was calibrated for.
 */
export function saidByProvider({ code, message }: { code: string; message: string }): SinterError {
  const words = printable(`the provider says: ${message}`)
  if (code === 'OUTPUT_OFF_TOLERANCE') return new InputError(code, words)
  return new ProviderError(CODE.test(code) && !OURS.has(code) ? code : 'PROVIDER_FAILED', words)
}

export function rethrow(error: unknown): never {
  throw classified(error)
}

/** The outcome of work that others may wait for too, or `ABORTED` when the caller does not want it any more. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const onAbort = (): void =>
      reject(new AbortedError('ABORTED', 'the caller aborted the request', { cause: signal.reason }))
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
