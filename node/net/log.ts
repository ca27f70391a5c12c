import type { BaseLogger } from 'pino'

/** The part of a pino logger that adapters use: an object of facts first, then a sentence. */
export type Log = Pick<BaseLogger, 'debug' | 'info' | 'warn' | 'error'>
