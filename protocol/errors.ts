/**
 * The one error type of Sinter. Callers branch on `code`, people read `message`, and `cause` keeps what lies underneath.
 * Peers are judged with values (see `verdict.ts`); this is for faults on our own side and for input a person gave us.
 */
export class SinterError extends Error {
  readonly code: string
  readonly detail: Record<string, unknown> | undefined

  constructor(code: string, message: string, options: { cause?: unknown; detail?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SinterError'
    this.code = code
    this.detail = options.detail
  }
}

/** The code of a SinterError, or `UNEXPECTED` for anything else. */
export function errorCode(error: unknown): string {
  return error instanceof SinterError ? error.code : 'UNEXPECTED'
}

/** A one-line description of any thrown value, with the chain of causes; of what libraries say over several lines, the first. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const head =
    error instanceof SinterError ? `${error.code}: ${error.message}` : error.message.trim().split('\n', 1)[0]!
  return error.cause === undefined ? head : `${head} (${describeError(error.cause)})`
}
