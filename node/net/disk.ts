import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SinterError } from '../../protocol/errors.ts'

/** SHA-256 in hex: the name of a block. */
export const keyOf = (block: Uint8Array): string => createHash('sha256').update(block).digest('hex')

/** Blocks as files, named by their SHA-256. What is read is checked: a block that the disk got wrong is dropped and counts as missing. */
export type Disk = {
  has(key: string): boolean
  /** Bytes of a block, 0 when it is missing. */
  size(key: string): number
  /** The block, or null when it is missing or was corrupt. */
  read(key: string): Promise<Uint8Array | null>
  /**
   * Stores a block whose hash the caller has checked: whole or not at all. Throws `CONTENT_DISK_FULL` when neither the quota nor the
   * disk has room and nothing may be evicted, `CONTENT_DISK` for any other failure of the disk.
   */
  write(key: string, block: Uint8Array): Promise<void>
  remove(key: string): Promise<void>
  /** Bytes of all blocks, those being written included. */
  used(): number
  /** The most they may be. */
  readonly quota: number
  keys(): Iterable<string>
}

const FULL = new Set(['ENOSPC', 'EDQUOT'])
const NAME = /^[0-9a-f]{64}$/

/**
 * Opens (or makes) the folder. `makeRoom` is asked to remove blocks of at least so many bytes, and does what it may;
 * `onWrite` hears of each new block before its bytes count.
 */
export async function openDisk(init: {
  folder: string
  quota: number
  makeRoom(bytes: number): Promise<void>
  onWrite(key: string): void
  onCorrupt(key: string): void
}): Promise<Disk> {
  const { folder, quota, makeRoom } = init
  const sizes = new Map<string, number>()
  const writing = new Map<string, Promise<void>>()
  let used = 0
  const pathOf = (key: string): string => join(folder, key.slice(0, 2), key)

  const forget = (key: string): void => {
    used -= sizes.get(key) ?? 0
    sizes.delete(key)
  }

  try {
    await mkdir(folder, { recursive: true })
    for (const part of await readdir(folder)) {
      if (!/^[0-9a-f]{2}$/.test(part)) continue
      for (const name of await readdir(join(folder, part))) {
        const path = join(folder, part, name)
        // What was being written when the process ended.
        if (!NAME.test(name)) await rm(path, { force: true })
        else {
          const { size } = await stat(path)
          sizes.set(name, size)
          used += size
        }
      }
    }
  } catch (cause) {
    throw new SinterError('STORE_OPEN', `the block store cannot be opened: ${folder}`, { cause })
  }

  const full = (why: string, cause?: unknown): SinterError =>
    new SinterError('CONTENT_DISK_FULL', why, { cause, detail: { used, quota } })

  async function put(key: string, block: Uint8Array): Promise<void> {
    const path = pathOf(key)
    const part = `${path}.part`
    try {
      await mkdir(join(folder, key.slice(0, 2)), { recursive: true })
      await writeFile(part, block)
      await rename(part, path)
    } catch (cause) {
      await rm(part, { force: true }).catch(() => {})
      if (FULL.has((cause as NodeJS.ErrnoException).code ?? '')) throw full('the disk is full', cause)
      throw new SinterError('CONTENT_DISK', 'a block could not be written', { cause })
    }
  }

  async function store(key: string, block: Uint8Array): Promise<void> {
    init.onWrite(key)
    // Counted before it is written, so that writes at the same time cannot pass the quota together.
    used += block.length
    try {
      if (used > quota) await makeRoom(used - quota)
      if (used > quota) throw full(`the quota of ${quota} bytes for blocks is used up`)
      try {
        await put(key, block)
      } catch (error) {
        if (!(error instanceof SinterError) || error.code !== 'CONTENT_DISK_FULL') throw error
        // Somebody else filled the disk: give what we can, and try once more.
        await makeRoom(block.length)
        await put(key, block)
      }
      sizes.set(key, block.length)
    } catch (error) {
      used -= block.length
      throw error
    }
  }

  return {
    quota,
    used: () => used,
    keys: () => sizes.keys(),
    has: (key) => sizes.has(key),
    size: (key) => sizes.get(key) ?? 0,
    async read(key) {
      if (!sizes.has(key)) return null
      let block: Uint8Array
      try {
        block = await readFile(pathOf(key))
      } catch {
        forget(key)
        return null
      }
      if (keyOf(block) === key) return block
      if (sizes.has(key)) {
        forget(key)
        await rm(pathOf(key), { force: true })
        init.onCorrupt(key)
      }
      return null
    },
    write(key, block) {
      if (sizes.has(key)) {
        init.onWrite(key)
        return Promise.resolve()
      }
      const same = writing.get(key)
      if (same !== undefined) return same
      const mine = store(key, block).finally(() => writing.delete(key))
      writing.set(key, mine)
      return mine
    },
    async remove(key) {
      if (!sizes.has(key)) return
      forget(key)
      await rm(pathOf(key), { force: true })
    },
  }
}
