import { toHex } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { sha256 } from '../../protocol/sha256.ts'
import type { Files } from './files.ts'

/** SHA-256 in hex: the name of a block. */
export const keyOf = (block: Uint8Array): string => toHex(sha256(block)).slice(2)

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

const NAME = /^([0-9a-f]{2})\/\1[0-9a-f]{62}$/

/**
 * The blocks among `files`, of which `listed` are there. `makeRoom` is asked to remove blocks of at least so many bytes, and does
 * what it may; `onWrite` hears of each new block before its bytes count.
 */
export function openDisk(init: {
  files: Files
  listed: Awaited<ReturnType<Files['list']>>
  quota: number
  makeRoom(bytes: number): Promise<void>
  onWrite(key: string): void
  onCorrupt(key: string): void
}): Disk {
  const { files, quota, makeRoom } = init
  const sizes = new Map<string, number>()
  const writing = new Map<string, Promise<void>>()
  let used = 0
  const nameOf = (key: string): string => `${key.slice(0, 2)}/${key}`

  for (const { name, bytes } of init.listed)
    if (NAME.test(name)) {
      sizes.set(name.slice(3), bytes)
      used += bytes
    }

  const forget = (key: string): void => {
    used -= sizes.get(key) ?? 0
    sizes.delete(key)
  }
  const full = (): SinterError =>
    new SinterError('CONTENT_DISK_FULL', `the quota of ${quota} bytes for blocks is used up`, { detail: { used } })

  async function store(key: string, block: Uint8Array): Promise<void> {
    init.onWrite(key)
    // Counted before it is written, so that writes at the same time cannot pass the quota together.
    used += block.length
    try {
      if (used > quota) await makeRoom(used - quota)
      if (used > quota) throw full()
      try {
        await files.write(nameOf(key), block)
      } catch (error) {
        if (errorCode(error) !== 'CONTENT_DISK_FULL') throw error
        // Somebody else filled the disk: give what we can, and try once more.
        await makeRoom(block.length)
        await files.write(nameOf(key), block)
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
      const block = await files.read(nameOf(key))
      if (block !== null && keyOf(block) === key) return block
      if (!sizes.has(key)) return null
      forget(key)
      await files.remove(nameOf(key))
      if (block !== null) init.onCorrupt(key)
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
      await files.remove(nameOf(key))
    },
  }
}
