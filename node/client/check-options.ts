import { SinterError } from '../../protocol/errors.ts'
import type { ConsumerOptions } from './consumer.ts'

const whole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1
const positive = (value: unknown): boolean => Number.isFinite(value) && (value as number) > 0
const units = (value: unknown): boolean => typeof value === 'bigint' && value >= 0n

type Rule = [name: string, value: unknown, holds: (value: unknown) => boolean, what: string]

/** What a program that is not type-checked may have got wrong, said by name before anything is started. Throws `OPTION`. */
export function checkOptions(options: ConsumerOptions & { bootstrap: string[] }): void {
  const { ceiling, spendingLimit = 0n, audit = 0, bootstrap, scheduler = {} } = options
  const { providers = 1, sessionJobs = 1, bids = 1, windowMs = 1, openMs = 1, latencyValue = 0n } = scheduler
  const rules: Rule[] = [
    ['ceiling', ceiling, (value) => units(value) && value !== 0n, 'a bigint of base units, 10n ** 17n for 0.1 tokens'],
    ['spendingLimit', spendingLimit, units, 'a bigint of base units, 10n ** 18n for one token'],
    ['audit', audit, (value) => (value as number) >= 0 && (value as number) <= 1, 'a share from 0 to 1'],
    ['bootstrap', bootstrap, Array.isArray, 'a list of multiaddrs'],
    ['scheduler.providers', providers, whole, 'a whole number from 1'],
    ['scheduler.sessionJobs', sessionJobs, whole, 'a whole number from 1'],
    ['scheduler.bids', bids, whole, 'a whole number from 1'],
    ['scheduler.windowMs', windowMs, positive, 'milliseconds'],
    ['scheduler.openMs', openMs, positive, 'milliseconds'],
    ['scheduler.latencyValue', latencyValue, units, 'a bigint of base units'],
  ]
  const broken = rules.find(([, value, holds]) => !holds(value))
  if (broken !== undefined)
    throw new SinterError('OPTION', `${broken[0]} must be ${broken[3]}, not ${String(broken[1])}`)
}
