import * as assert from 'uvu/assert'
import { SinterError } from '../protocol/errors.ts'

/** The coded error with which work fails; that it does not is a failure of the test. */
export async function failure(work: Promise<unknown>): Promise<SinterError> {
  try {
    await work
  } catch (error) {
    assert.instance(error, SinterError)
    return error as SinterError
  }
  throw new Error('it did not fail')
}
