import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, dirname, extname, join, relative, resolve, sep } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

/** The rules of the repository itself: DESIGN §9's layout and imports, and that what is generated is up to date. */

const ROOT = join(import.meta.dirname, '..')
const AREAS = ['protocol', 'circuits', 'models', 'node', 'test']
const TOP = ['.ci', '.config', ...AREAS]
const TOP_FILES = ['.gitignore', '.npmrc', 'LICENSE', 'README.md', 'package-lock.json', 'package.json', 'tsconfig.json']

/** What each area may import besides itself. */
const MAY_IMPORT: Record<string, string[]> = {
  protocol: [],
  circuits: ['protocol'],
  models: ['protocol'],
  node: ['protocol', 'circuits', 'models'],
}

/** The one folder or file in which a heavy dependency may be imported (longest match first). */
const HOMES: [dependency: RegExp, homes: string[]][] = [
  [/^onnxruntime-node$/, ['models/session.ts']],
  [/^onnx-proto$/, ['models/onnx.ts']],
  [/^(snarkjs|circomlibjs)$/, ['circuits/']],
  [/^viem(\/|$)/, ['node/chain/']],
  [/^level$/, ['node/store/']],
  // A node's key is a libp2p key, so identities know that much of libp2p.
  [/^@libp2p\/(crypto\/keys|peer-id|interface)$/, ['node/net/', 'node/identity/']],
  [/^(libp2p|helia)$|^@(libp2p|helia|chainsafe|multiformats)\//, ['node/net/']],
  [/^commander$/, ['node/cli.ts', 'node/program.ts']],
]

const MAX_LINES = 400
/** Written by tools. */
const GENERATED = ['protocol/gen/', 'protocol/contracts/abi.ts']

const posix = (path: string): string => path.split(sep).join('/')
const within = (path: string, places: string[]): boolean =>
  places.some((place) => (place.endsWith('/') ? path.startsWith(place) : path === place))

function walk(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    return entry.isDirectory() ? walk(path) : [path]
  })
}

const files = AREAS.flatMap(walk)
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

/** Code that a person wrote, with comments blanked so that an example in one is no import. */
const code = files.filter((file) => ['.ts', '.js'].includes(extname(file)) && !within(file, GENERATED))
const product = code.filter((file) => !file.startsWith('test/'))

type Import = { from: string; specifier: string; typeOnly: boolean }

function importsOf(file: string): Import[] {
  const text = read(file).replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
  const found = text.matchAll(
    /^(?:import|export)\s(type\s)?(?:[^'"`;]*?\sfrom\s)?\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|\brequire\(\s*'([^']+)'\s*\)/gm,
  )
  return [...found].map(([, type, named, dynamic, required]) => ({
    from: file,
    specifier: (named ?? dynamic ?? required)!,
    typeOnly: type !== undefined,
  }))
}

const imports = code.flatMap(importsOf)
const describe = ({ from, specifier }: Import): string => `${from} imports ${specifier}`

/** Repository path of a relative import, or null for a package. */
function target({ from, specifier }: Import): string | null {
  return specifier.startsWith('.') ? posix(relative(ROOT, resolve(ROOT, dirname(from), specifier))) : null
}

const packageName = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

const { resolve: locate } = createRequire(import.meta.url)
const bin = (name: string, path: string): string => join(dirname(locate(`${name}/package.json`)), path)

function run(script: string, args: string[]): { status: number | null; output: string } {
  const PATH = [join(ROOT, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH].join(delimiter)
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, PATH },
  })
  return { status, output: `${stdout}${stderr}` }
}

test('the top level holds the five areas and what tools want to find there', () => {
  const ignored = read('.gitignore')
    .split('\n')
    .map((line) => line.replace(/\/$/, ''))
  const expected = new Set([...TOP, ...TOP_FILES, '.git', ...ignored])
  const strangers = readdirSync(ROOT).filter((name) => !expected.has(name) && !ignored.includes(`*${extname(name)}`))
  assert.equal(strangers, [])
})

test('imports between areas go one way', () => {
  assert.ok(imports.length > 300, `only ${imports.length} imports were found: the search is broken`)
  const wrong = imports.filter((each) => {
    const area = each.from.split('/')[0]!
    const to = target(each)?.split('/')[0]
    if (to === undefined || to === area) return false
    return area === 'test' ? !AREAS.includes(to) : !MAY_IMPORT[area]!.includes(to)
  })
  assert.equal(wrong.map(describe), [])
})

test('each heavy dependency is imported in its one home', () => {
  const unused = HOMES.filter(([pattern]) => !imports.some(({ specifier }) => pattern.test(specifier)))
  assert.equal(
    unused.map(([pattern]) => String(pattern)),
    [],
  )
  const astray = imports
    .filter(({ from }) => product.includes(from))
    .filter(({ from, specifier }) => {
      const home = HOMES.find(([pattern]) => pattern.test(specifier))
      return home !== undefined && !within(from, home[1])
    })
  assert.equal(astray.map(describe), [])
})

test('every imported package is declared, and shipped code needs no development dependency', () => {
  const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
  const shipped = { ...manifest.dependencies, ...manifest.optionalDependencies }
  const declared = { ...shipped, ...manifest.devDependencies }
  const { exclude } = JSON.parse(read('.config/tsconfig.build.json')) as { exclude: string[] }
  const tools = exclude.map((path) => path.replace('../', '').replace(/\*\*$/, ''))
  const missing = imports.filter(({ from, specifier, typeOnly }) => {
    if (specifier.startsWith('.') || specifier.startsWith('node:')) return false
    const known = typeOnly || !product.includes(from) || within(from, tools) ? declared : shipped
    return known[packageName(specifier)] === undefined
  })
  assert.equal(missing.map(describe), [])
})

test('the lock file serves every platform and names no registry', () => {
  type Locked = { resolved?: string; optionalDependencies?: Record<string, string> }
  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> }
  // npm on one platform leaves out what only others install if its registry has no copy, and `npm ci` then refuses everywhere.
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter((name) => {
      for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
        if (packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return false
        if (at === '') return true
      }
    }),
  )
  assert.equal(missing, [])
  const resolved = Object.values(packages).flatMap((each) => each.resolved ?? [])
  assert.equal(resolved, [])
})

test('no file is longer than a few screens', () => {
  const counted = files.filter(
    (file) =>
      ['.ts', '.js', '.sol', '.circom', '.proto', '.py', '.sh'].includes(extname(file)) && !within(file, GENERATED),
  )
  const long = counted
    .map((file) => ({ file, lines: read(file).split('\n').length - 1 }))
    .filter(({ lines }) => lines > MAX_LINES)
  assert.equal(long, [])
})

test('every test file runs its tests', () => {
  const tests = files.filter((file) => file.endsWith('.test.ts'))
  const silent = tests.filter((file) => !/^\s*\w+\.run\(\)/m.test(read(file)))
  assert.equal(silent, [])
})

test('the type checker finds nothing', () => {
  const { status, output } = run(bin('typescript', 'bin/tsc'), ['--noEmit'])
  assert.is(status, 0, output)
})

test('the linter and formatter find nothing', () => {
  const { status, output } = run(bin('@biomejs/biome', 'bin/biome'), ['check', '--config-path=.config', '.'])
  assert.is(status, 0, output)
})

test('generated message code is what the .proto file gives', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-buf-'))
  try {
    const template = 'protocol/proto/buf.gen.yaml'
    const args = ['generate', 'protocol/proto', '--template', template, '-o', folder]
    const { status, output } = run(bin('@bufbuild/buf', 'bin/buf'), args)
    assert.is(status, 0, output)
    const made = readdirSync(join(folder, 'protocol/gen')).sort()
    assert.equal(made, readdirSync(join(ROOT, 'protocol/gen')).sort())
    for (const name of made)
      assert.is(readFileSync(join(folder, 'protocol/gen', name), 'utf8'), read(`protocol/gen/${name}`), name)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test.run()
