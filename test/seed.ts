/**
 * Imported before a test file by the runner: what fast-check draws is the same in every run, so that one that passes here passes there, and how
 * often a kind of case came up is no matter of luck. `npm test -- --random` draws anew.
 */
import fc from 'fast-check'

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.TEST_SEED) })
