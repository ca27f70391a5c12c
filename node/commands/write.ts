import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { SinterError } from '../../protocol/errors.ts'

/** Files of answers. All throw `FILE_UNWRITABLE`: what stands there already is whole, and the same command goes on. */

function writing(path: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    throw new SinterError('FILE_UNWRITABLE', `cannot write ${path}: mend that, and the same command goes on`, { cause })
  }
}

export const makeFolder = (path: string): void => writing(path, () => void mkdirSync(path, { recursive: true }))

/** A finished file appears whole or not at all, so that one that is there needs no second look. */
export function writeWhole(path: string, text: string): void {
  const part = `${path}.part`
  writing(path, () => {
    try {
      writeFileSync(part, text)
      renameSync(part, path)
    } catch (error) {
      rmSync(part, { force: true })
      throw error
    }
  })
}

export const append = (path: string, text: string): void => writing(path, () => appendFileSync(path, text))
