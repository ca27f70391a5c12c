import { reject, type Verdict } from '../verdict.ts'

/** A verdict that carries what was learned from an accepted message. */
export type Judged<T, C extends string = string> =
  | { action: 'accept'; value: T }
  | Exclude<Verdict<C>, { action: 'accept' }>

export const accepted = <T>(value: T): { action: 'accept'; value: T } => ({ action: 'accept', value })

/** The cheapest check of all: a message beyond its cap is not even decoded. */
export function oversized(bytes: Uint8Array, limit: number): ReturnType<typeof reject<'TOO_LARGE'>> | null {
  return bytes.length > limit ? reject('TOO_LARGE') : null
}
