import type { Files } from './files.ts'

/** In memory: a page holds the few models it uses, and fetches them again when it is opened anew. */
export async function openFiles(_folder: string): Promise<Files> {
  const files = new Map<string, { bytes: Uint8Array; usedAt: number }>()
  return {
    list: async () => [...files].map(([name, { bytes, usedAt }]) => ({ name, bytes: bytes.length, usedAt })),
    read: async (name) => files.get(name)?.bytes ?? null,
    async write(name, bytes) {
      files.set(name, { bytes, usedAt: Date.now() })
    },
    async remove(name) {
      files.delete(name)
    },
    async touch(name) {
      const file = files.get(name)
      if (file !== undefined) file.usedAt = Date.now()
    },
  }
}
