import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SinterError } from '../../protocol/errors.ts'

/** Small files by name in one place; a name may have one folder in it. What a browser has instead is in files.browser.ts. */
export type Files = {
  list(): Promise<{ name: string; bytes: number; usedAt: number }[]>
  /** Null when there is none. */
  read(name: string): Promise<Uint8Array | null>
  /** Whole or not at all. Throws `CONTENT_DISK_FULL`, or `CONTENT_DISK` for any other failure. */
  write(name: string, bytes: Uint8Array): Promise<void>
  remove(name: string): Promise<void>
  /** Sets the time of last use to now. */
  touch(name: string): Promise<void>
}

const FULL = new Set(['ENOSPC', 'EDQUOT'])
/** What is being written is named so; such files are left over only by a process that ended meanwhile. */
const PART = '.part'

/** Opens (or makes) the folder. Throws the file system's own errors. */
export async function openFiles(folder: string): Promise<Files> {
  await mkdir(folder, { recursive: true })
  const pathOf = (name: string): string => join(folder, name)
  const made = new Set<string>()
  async function store(path: string, bytes: Uint8Array): Promise<void> {
    const parent = dirname(path)
    if (!made.has(parent)) await mkdir(parent, { recursive: true })
    made.add(parent)
    await writeFile(`${path}${PART}`, bytes)
    await rename(`${path}${PART}`, path)
  }
  return {
    async list() {
      const found: { name: string; bytes: number; usedAt: number }[] = []
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        const names = entry.isDirectory()
          ? (await readdir(pathOf(entry.name))).map((name) => `${entry.name}/${name}`)
          : [entry.name]
        for (const name of names) {
          if (name.endsWith(PART)) await rm(pathOf(name), { force: true })
          // One that is removed meanwhile is none.
          const facts = await stat(pathOf(name)).catch(() => null)
          if (facts !== null) found.push({ name, bytes: facts.size, usedAt: facts.mtimeMs })
        }
      }
      return found
    },
    read: (name) => readFile(pathOf(name)).catch(() => null),
    async write(name, bytes) {
      const path = pathOf(name)
      try {
        await store(path, bytes).catch((error: NodeJS.ErrnoException) => {
          // Somebody removed a folder that was here.
          if (error.code !== 'ENOENT' || !made.delete(dirname(path))) throw error
          return store(path, bytes)
        })
      } catch (cause) {
        await rm(`${path}${PART}`, { force: true }).catch(() => {})
        if (FULL.has((cause as NodeJS.ErrnoException).code ?? ''))
          throw new SinterError('CONTENT_DISK_FULL', 'the disk is full', { cause })
        throw new SinterError('CONTENT_DISK', `a file could not be written: ${name}`, { cause })
      }
    },
    remove: (name) => rm(pathOf(name), { force: true }),
    touch: (name) => utimes(pathOf(name), new Date(), new Date()).catch(() => {}),
  }
}
