import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { assetPath } from '../../protocol/assets.ts'
import { buildPage } from '../page/build.ts'

/**
 * The published build: Node strips no types under node_modules, so the package carries compiled JavaScript in .dist, laid out
 * like the sources. Files that are read rather than imported stay where they are, and `assetPath` finds them from both trees.
 */
const OUT = assetPath('.dist')
const GENERATED = 'protocol/gen/sinter_pb.js'
const TYPES = 'protocol/gen/sinter_pb.d.ts'
/** Plain JavaScript, from which the devnet has the flags of its processes. */
const LAUNCH = 'node/bin/launch.js'

function fail(message: string): never {
  console.error(`build: ${message}`)
  process.exit(1)
}

/** Emits everything but tests and the tools that make committed artifacts. */
function compile(): void {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  const { status } = spawnSync(process.execPath, [tsc, '-p', assetPath('.config/tsconfig.build.json')], {
    stdio: 'inherit',
  })
  if (status !== 0) fail('tsc found errors')
}

function scripts(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js'))
    .map((name) => join(folder, name))
}

/** Relative imports of a module that lead nowhere. tsc has no say in what is copied. */
function broken(file: string): string[] {
  const imports = readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*['"](\.[^'"]*)['"]/g)
  return [...imports].map((match) => match[1]!).filter((target) => !existsSync(resolve(dirname(file), target)))
}

rmSync(OUT, { recursive: true, force: true })
compile()
cpSync(assetPath(GENERATED), join(OUT, GENERATED))
cpSync(assetPath(TYPES), join(OUT, TYPES))
cpSync(assetPath(LAUNCH), join(OUT, LAUNCH))
const files = scripts(OUT)
const lost = files.flatMap((file) => broken(file).map((target) => `${relative(OUT, file)} imports ${target}`))
if (lost.length > 0) fail(lost.join('\n'))
await buildPage()
console.log(`build: ${files.length} modules and the page in .dist`)
