import { SinterError } from '../../protocol/errors.ts'
import type { Files } from './files.ts'

type Kept = { bytes: Uint8Array; usedAt: number }

const STORE = 'files'

const settled = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

/** In an IndexedDB database of this name: a page that is opened anew has the models that it used. */
export async function openFiles(name: string): Promise<Files> {
  const opening = indexedDB.open(name, 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE)
  const database = await settled(opening)
  const store = (mode: IDBTransactionMode): IDBObjectStore => database.transaction(STORE, mode).objectStore(STORE)
  /** Resolves when the change is kept, not when it was asked for: only then is it known whether there was room. */
  async function change(ask: (files: IDBObjectStore) => void): Promise<void> {
    const files = store('readwrite')
    ask(files)
    await new Promise<void>((resolve, reject) => {
      files.transaction.oncomplete = () => resolve()
      files.transaction.onabort = () => reject(files.transaction.error)
    })
  }
  const get = (file: string): Promise<Kept | undefined> => settled<Kept | undefined>(store('readonly').get(file))
  return {
    async list() {
      const files = store('readonly')
      const [names, values] = await Promise.all([settled(files.getAllKeys()), settled<Kept[]>(files.getAll())])
      return values.map(({ bytes, usedAt }, i) => ({ name: String(names[i]), bytes: bytes.length, usedAt }))
    },
    read: async (file) => (await get(file))?.bytes ?? null,
    async write(file, bytes) {
      try {
        await change((files) => files.put({ bytes, usedAt: Date.now() }, file))
      } catch (cause) {
        const full = (cause as DOMException | null)?.name === 'QuotaExceededError'
        throw new SinterError(
          full ? 'CONTENT_DISK_FULL' : 'CONTENT_DISK',
          full ? 'the browser gives this page no more room' : `a file could not be kept: ${file}`,
          { cause },
        )
      }
    },
    remove: (file) => change((files) => files.delete(file)),
    async touch(file) {
      const kept = await get(file)
      if (kept !== undefined) await change((files) => files.put({ ...kept, usedAt: Date.now() }, file))
    },
  }
}
