import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** Folder of this package's package.json, whether the code runs from the sources or from the published build. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  for (;;) {
    const manifest = join(folder, 'package.json')
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'sinter')
      return folder
    const parent = dirname(folder)
    if (parent === folder) throw new Error('the sinter package root was not found')
    folder = parent
  }
}

export const PACKAGE_ROOT = packageRoot()

/** Absolute path of a file that is shipped but not compiled, such as `circuits/artifacts/relation.zkey`. */
export function assetPath(relative: string): string {
  return join(PACKAGE_ROOT, relative)
}

/**
 * URL of a worker or child entry beside the calling module: `./worker` is `worker.ts` in the sources and `worker.js` in
 * the build, which the compiler cannot rewrite inside a string.
 */
export function siblingEntry(importMetaUrl: string, relative: string): URL {
  const extension = importMetaUrl.endsWith('.ts') ? '.ts' : '.js'
  return pathToFileURL(fileURLToPath(new URL(`${relative}${extension}`, importMetaUrl)))
}
