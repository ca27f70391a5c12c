import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { SinterError } from '../../protocol/errors.ts'
import { type Disk, openDisk } from './disk.ts'

/** Files on disk as a whole: which blocks each has, when it was last used, and which must stay. */
export type Shelf = {
  disk: Disk
  /** Notes that all blocks of a file are here. Blocks that several files share are kept until the last of them goes. */
  record(cid: string, keys: string[], flags?: Partial<FileFlags>): Promise<void>
  has(cid: string): boolean
  /** The file was read or served. */
  touch(cid: string): void
  /** The file a block belongs to was served. */
  touchBlock(key: string): void
  /** Keeps a file until the returned function is called; several may. The file need not be here yet. */
  pin(cid: string): () => void
  /** Keeps, or no longer keeps, a file over restarts, or notes that it is announced. Nothing for a file that is not here. */
  flag(cid: string, flags: Partial<FileFlags>): Promise<void>
  /** Blocks that a fetch has written or means to use stay until it ends. */
  hold(): Hold
  files(): StoredFile[]
  usage(): Usage
}

export type FileFlags = {
  /** Kept whatever happens. */
  keep: boolean
  /** We told the DHT that we have it. */
  announced: boolean
}
export type StoredFile = FileFlags & { cid: string; keys: string[]; usedAt: number }
export type Hold = { add(key: string): void; release(): void }
export type Usage = { usedBytes: number; quotaBytes: number; files: number; pinnedFiles: number; evicted: number }

const recordSchema = z.object({ keys: z.array(z.string()), keep: z.boolean(), announced: z.boolean() })

/** Opens the blocks in `folder` and the records of files beside them. Throws `STORE_OPEN`. */
export async function openShelf(init: {
  folder: string
  quota: number
  onCorrupt(key: string): void
  onEvict(file: StoredFile): void
}): Promise<Shelf> {
  const folder = join(init.folder, 'files')
  const files = new Map<string, StoredFile>()
  /** How many recorded files have a block. */
  const owners = new Map<string, Set<string>>()
  const pins = new Map<string, number>()
  const holds = new Set<Set<string>>()
  let evicted = 0

  const pathOf = (cid: string): string => join(folder, `${cid}.json`)
  const held = (key: string): boolean => [...holds].some((hold) => hold.has(key))
  const pinned = (cid: string): boolean => pins.has(cid) || files.get(cid)?.keep === true

  function own(cid: string, keys: string[]): void {
    for (const key of keys) {
      const of = owners.get(key)
      if (of === undefined) owners.set(key, new Set([cid]))
      else of.add(cid)
    }
  }
  function disown(cid: string, keys: string[]): void {
    for (const key of keys) {
      const of = owners.get(key)
      of?.delete(cid)
      if (of?.size === 0) owners.delete(key)
    }
  }

  async function drop(file: StoredFile): Promise<void> {
    files.delete(file.cid)
    disown(file.cid, file.keys)
    // The record first: a file whose record is there and blocks are not would count as whole.
    await rm(pathOf(file.cid), { force: true })
    for (const key of file.keys) if (!owners.has(key) && !held(key)) await disk.remove(key)
  }

  /** Removes what may go until so many bytes are free: first what belongs to no file, then files by their last use. */
  async function evict(bytes: number): Promise<void> {
    const until = disk.used() - bytes
    for (const key of [...disk.keys()]) {
      if (disk.used() <= until) return
      if (!owners.has(key) && !held(key)) await disk.remove(key)
    }
    for (const file of [...files.values()].sort((a, b) => a.usedAt - b.usedAt)) {
      if (disk.used() <= until) return
      if (pinned(file.cid)) continue
      await drop(file)
      evicted++
      init.onEvict(file)
    }
  }
  let evicting: Promise<void> = Promise.resolve()

  const disk = await openDisk({
    folder: init.folder,
    quota: init.quota,
    // One at a time, so that two writes do not throw out twice of what they need.
    makeRoom(bytes) {
      const until = disk.used() - bytes
      evicting = evicting.catch(() => {}).then(() => evict(disk.used() - until))
      return evicting
    },
    onWrite(key) {
      for (const hold of holds) hold.add(key)
    },
    onCorrupt: init.onCorrupt,
  })

  async function save({ cid, keys, keep, announced }: StoredFile): Promise<void> {
    try {
      await writeFile(`${pathOf(cid)}.part`, JSON.stringify({ keys, keep, announced }))
      await rename(`${pathOf(cid)}.part`, pathOf(cid))
    } catch (cause) {
      await rm(`${pathOf(cid)}.part`, { force: true }).catch(() => {})
      const full = ['ENOSPC', 'EDQUOT'].includes((cause as NodeJS.ErrnoException).code ?? '')
      throw new SinterError(full ? 'CONTENT_DISK_FULL' : 'CONTENT_DISK', 'the record of a file could not be written', {
        cause,
      })
    }
  }

  try {
    await mkdir(folder, { recursive: true })
    // For `storedUsage`, which runs in another process.
    await writeFile(join(init.folder, 'quota'), String(init.quota))
    for (const name of await readdir(folder)) {
      const path = join(folder, name)
      try {
        const { keys, ...flags } = recordSchema.parse(JSON.parse(await readFile(path, 'utf8')))
        if (!name.endsWith('.json') || !keys.every((key) => disk.has(key))) throw new Error('not whole')
        const cid = name.slice(0, -'.json'.length)
        files.set(cid, { cid, keys, ...flags, usedAt: (await stat(path)).mtimeMs })
        own(cid, keys)
      } catch {
        // Half written, or blocks are gone: its blocks are then nobody's, and the next to be evicted.
        await rm(path, { force: true })
      }
    }
  } catch (cause) {
    throw new SinterError('STORE_OPEN', `the block store cannot be opened: ${init.folder}`, { cause })
  }

  function touch(cid: string): void {
    const file = files.get(cid)
    if (file === undefined) return
    const before = file.usedAt
    file.usedAt = Date.now()
    // On disk to the second: nobody needs it finer after a restart.
    if (file.usedAt - before > 1_000) utimes(pathOf(cid), new Date(), new Date()).catch(() => {})
  }

  return {
    disk,
    async record(cid, keys, flags = {}) {
      const known = files.get(cid)
      const file = { keep: false, announced: false, ...known, ...flags, cid, keys, usedAt: Date.now() }
      await save(file)
      files.set(cid, file)
      own(cid, keys)
    },
    has: (cid) => files.has(cid),
    touch,
    touchBlock(key) {
      for (const cid of owners.get(key) ?? []) touch(cid)
    },
    pin(cid) {
      pins.set(cid, (pins.get(cid) ?? 0) + 1)
      let over = false
      return () => {
        if (over) return
        over = true
        const left = pins.get(cid)! - 1
        if (left === 0) pins.delete(cid)
        else pins.set(cid, left)
      }
    },
    async flag(cid, flags) {
      const file = files.get(cid)
      if (file === undefined) return
      Object.assign(file, flags)
      await save(file)
    },
    hold() {
      const mine = new Set<string>()
      holds.add(mine)
      return { add: (key) => void mine.add(key), release: () => void holds.delete(mine) }
    },
    files: () => [...files.values()],
    usage: () => ({
      usedBytes: disk.used(),
      quotaBytes: disk.quota,
      files: files.size,
      pinnedFiles: [...files.keys()].filter(pinned).length,
      evicted,
    }),
  }
}

/** What lies in the folder of a node that may be running or not; null when there is none. `quotaBytes` is that of its last start. */
export async function storedUsage(folder: string): Promise<Pick<Usage, 'usedBytes' | 'quotaBytes' | 'files'> | null> {
  const quota = await readFile(join(folder, 'quota'), 'utf8').catch(() => null)
  if (quota === null) return null
  let usedBytes = 0
  for (const part of await readdir(folder))
    if (/^[0-9a-f]{2}$/.test(part))
      // One that is evicted meanwhile counts for nothing.
      for (const name of await readdir(join(folder, part)))
        usedBytes += (await stat(join(folder, part, name)).catch(() => ({ size: 0 }))).size
  const files = (await readdir(join(folder, 'files')).catch(() => [])).filter((name) => name.endsWith('.json')).length
  return { usedBytes, quotaBytes: Number(quota), files }
}
