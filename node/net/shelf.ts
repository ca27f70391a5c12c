import { z } from 'zod'
import { utf8 } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { type Disk, openDisk } from './disk.ts'
import { openFiles } from './files.ts'

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
  const onDisk = await openFiles(init.folder).catch((cause: unknown) => {
    throw new SinterError('STORE_OPEN', `the block store cannot be opened: ${init.folder}`, { cause })
  })
  const files = new Map<string, StoredFile>()
  /** How many recorded files have a block. */
  const owners = new Map<string, Set<string>>()
  const pins = new Map<string, number>()
  const holds = new Set<Set<string>>()
  let evicted = 0

  const nameOf = (cid: string): string => `files/${cid}.json`
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
    await onDisk.remove(nameOf(file.cid))
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

  const listed = await onDisk.list()
  const disk = openDisk({
    files: onDisk,
    listed,
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

  const save = ({ cid, keys, keep, announced }: StoredFile): Promise<void> =>
    onDisk.write(nameOf(cid), utf8(JSON.stringify({ keys, keep, announced })))

  // For `storedUsage`, which runs in another process. A full disk is no reason not to start.
  await onDisk.write('quota', utf8(String(init.quota))).catch(() => {})
  for (const { name, usedAt } of listed) {
    const cid = /^files\/(\w+)\.json$/.exec(name)?.[1]
    if (cid === undefined) continue
    try {
      const bytes = await onDisk.read(name)
      const { keys, ...flags } = recordSchema.parse(JSON.parse(new TextDecoder().decode(bytes ?? new Uint8Array())))
      if (!keys.every(disk.has)) throw new Error('not whole')
      files.set(cid, { cid, keys, ...flags, usedAt })
      own(cid, keys)
    } catch {
      // Half written, or blocks are gone: its blocks are then nobody's, and the next to be evicted.
      await onDisk.remove(name)
    }
  }

  function touch(cid: string): void {
    const file = files.get(cid)
    if (file === undefined) return
    const before = file.usedAt
    file.usedAt = Date.now()
    // On disk to the second: nobody needs it finer after a restart.
    if (file.usedAt - before > 1_000) void onDisk.touch(nameOf(cid))
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
  const files = await openFiles(folder)
  const quota = await files.read('quota')
  if (quota === null) return null
  const listed = await files.list()
  const sum = (of: RegExp): number => listed.reduce((bytes, each) => bytes + (of.test(each.name) ? each.bytes : 0), 0)
  return {
    usedBytes: sum(/^[0-9a-f]{2}\//),
    quotaBytes: Number(new TextDecoder().decode(quota)),
    files: listed.filter(({ name }) => name.startsWith('files/')).length,
  }
}
