import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'

/** What was given is wrong: mend it, do not repeat it. */
export class InputError extends SinterError {}
/** The spending limit or the account's balance stands against it. */
export class MoneyError extends SinterError {}
/** Nobody bid, or nobody could be reached. Later, or with a higher ceiling, it may go. */
export class UnavailableError extends SinterError {}
/** Providers took the job and failed, each that was tried. `code` is the last one's. */
export class ProviderError extends SinterError {}
/** The caller aborted, or the client was stopped. */
export class AbortedError extends SinterError {}

type Kind = new (...args: ConstructorParameters<typeof SinterError>) => SinterError

const KINDS: [codes: RegExp, kind: Kind][] = [
  [
    /^(TENSOR_|INPUT_|CID_|MANIFEST_|CONTENT_(CID|TYPE|MALFORMED|TOO_LARGE)|MODEL_(HASH|TOO_LARGE)|GRAPH_|OPTION|OUTPUT_OFF_TOLERANCE)/,
    InputError,
  ],
  [/^(SPENDING_LIMIT|BALANCE_TOO_LOW|CHAIN_GAS_FUNDS)/, MoneyError],
  [/^(NO_BIDS|PEER|PEERS|CONTENT_UNAVAILABLE|CHAIN_RPC|OPEN_TIMEOUT|NETWORK_START|GOSSIP)/, UnavailableError],
  [/^(ABORTED|CLIENT_STOPPED|CONTENT_ABORTED)/, AbortedError],
]

/** The class that says what a caller can do about it; the code and the cause stay. Codes without a class are a provider's. */
export function classified(error: unknown): SinterError {
  if (KINDS.some(([, kind]) => error instanceof kind) || error instanceof ProviderError) return error as SinterError
  const code = errorCode(error)
  const kind = KINDS.find(([codes]) => codes.test(code))?.[1] ?? ProviderError
  const message = error instanceof Error ? error.message : describeError(error)
  const detail = error instanceof SinterError && error.detail !== undefined ? { detail: error.detail } : {}
  return new kind(code, message, { cause: error, ...detail })
}

export function rethrow(error: unknown): never {
  throw classified(error)
}
