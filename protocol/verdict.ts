/** What a node does with a peer's message: take it, drop it silently, or drop it and hold it against the peer. */
export type Verdict<C extends string = string> = { action: 'accept' } | { action: 'ignore' | 'reject'; code: C }

export const accept: { action: 'accept' } = { action: 'accept' }
export const ignore = <C extends string>(code: C): { action: 'ignore'; code: C } => ({ action: 'ignore', code })
export const reject = <C extends string>(code: C): { action: 'reject'; code: C } => ({ action: 'reject', code })
