import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, posix } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

/** What `npm pack` makes: the build, in a tarball that runs where no sources and no development dependencies are. */

const ROOT = join(import.meta.dirname, '..')
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

type Outcome = { status: number | null; stdout: string; output: string }

function run(command: string, args: string[], cwd = ROOT): Outcome {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 120_000 })
  return { status, stdout, output: `${stdout}${stderr}${error?.message ?? ''}` }
}

const folder = mkdtempSync(join(tmpdir(), 'sinter-package-'))
const unpacked = join(folder, 'package')
const bin = join(unpacked, 'node/bin/sinter.js')
let shipped: string[] = []

function filesOf(place: string): string[] {
  return readdirSync(join(ROOT, place), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
}

/** Sources whose build is shipped, as paths in the repository. */
const sources = (): string[] =>
  shipped
    .filter((file) => file.startsWith('.dist/') && !file.startsWith('.dist/page/') && file.endsWith('.js'))
    .map((file) => file.slice('.dist/'.length).replace(/\.js$/, '.ts'))

/** First arguments of calls of `name` in a source, with the file's own string constants filled in. */
function literals(file: string, name: 'assetPath' | 'siblingEntry'): string[] {
  const text = read(file)
  const constant = (word: string): string | undefined => new RegExp(`const ${word} = '([^']+)'`).exec(text)?.[1]
  const before = name === 'assetPath' ? '' : 'import\\.meta\\.url, '
  return [...text.matchAll(new RegExp(`\\b${name}\\(${before}['\`]([^'\`]+)['\`]\\)`, 'g'))].map((match) =>
    match[1]!.replace(/\$\{(\w+)\}/g, (all, word: string) => constant(word) ?? all),
  )
}

// A test rather than a hook: uvu keeps to itself what a hook threw.
test('the package is built and packed', () => {
  const built = run(process.execPath, ['--no-warnings', 'node/build/build.ts'])
  assert.is(built.status, 0, built.output)
  const packed = run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder])
  assert.is(packed.status, 0, packed.output)
  const [{ filename, files }] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }]
  shipped = files.map(({ path }) => path)
  const opened = run('tar', ['xzf', filename], folder)
  assert.is(opened.status, 0, opened.output)
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'), 'junction')
})

test.after(() => rmSync(folder, { recursive: true, force: true }))

/** Sources of the circuits, from which anybody checks their keys. */
const CIRCUITS = filesOf('circuits').filter((file) => file.endsWith('.circom'))

test('packing builds first', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  assert.is(scripts.prepack, scripts.build)
})

test('the tarball holds the build, its data and the law, and nothing else', () => {
  for (const file of [
    'package.json',
    'LICENSE',
    'node/bin/sinter.js',
    '.dist/node/cli.js',
    '.dist/node/light.js',
    '.dist/page/index.html',
    'protocol/proto/sinter.proto',
  ])
    assert.ok(shipped.includes(file), `${file} is missing`)
  const places = ['.dist/', 'circuits/artifacts/', ...CIRCUITS, 'models/digits/', 'node/bin/', 'protocol/']
  const strangers = shipped.filter(
    (file) =>
      !(places.some((place) => file.startsWith(place)) || ['package.json', 'LICENSE', 'README.md'].includes(file)) ||
      (/\.(ts|py|map|tgz|log)$/.test(file) && !/^\.dist\/.*\.d\.ts$/.test(file)) ||
      /^\.dist\/(test|node\/build)\//.test(file),
  )
  assert.equal(strangers, [])
  assert.equal(
    sources().filter((file) => !existsSync(join(ROOT, file)) && !existsSync(join(ROOT, file.replace(/\.ts$/, '.js')))),
    [],
  )
})

test('every module of the shipped areas is built, development tools apart', () => {
  const { exclude } = JSON.parse(read('.config/tsconfig.build.json')) as { exclude: string[] }
  const tools = exclude.map((path) => path.replace('../', '').replace(/\*\*$/, ''))
  const written = ['protocol', 'circuits', 'models', 'node']
    .flatMap(filesOf)
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts') && !tools.some((tool) => file.startsWith(tool)))
  const built = new Set(sources())
  assert.ok(written.length > 100)
  assert.equal(
    written.filter((file) => !built.has(file)),
    [],
  )
})

test('every child and worker entry is in the tarball', () => {
  const entries = sources()
    .filter((file) => existsSync(join(ROOT, file)))
    .flatMap((file) =>
      literals(file, 'siblingEntry').map((entry) => `.dist/${posix.join(posix.dirname(file), entry)}.js`),
    )
  assert.ok(entries.length >= 5, `only ${entries.length} entries were found: the search is broken`)
  assert.equal(
    entries.filter((entry) => !shipped.includes(entry)),
    [],
  )
})

test('every asset that shipped code reads is in the tarball', () => {
  const wanted = sources()
    .filter((file) => existsSync(join(ROOT, file)))
    .flatMap((file) => literals(file, 'assetPath'))
  assert.ok(wanted.length >= 5, `only ${wanted.length} assets were found: the search is broken`)
  for (const asset of wanted) {
    // A name that is known at run time only may be any file of its folder.
    const pattern = new RegExp(`^${asset.replace(/[.]/g, '\\.').replace(/\$\{[^}]*\}/g, '[^/]+')}$`)
    const there = asset.includes('/') ? filesOf(dirname(asset)).filter((file) => pattern.test(file)) : [asset]
    assert.ok(there.length > 0, `nothing is named ${asset}`)
    const lost = there.filter((file) => !file.endsWith('.py') && !shipped.includes(file))
    assert.equal(lost, [])
  }
})

test('the command runs from the tarball', () => {
  const help = run(process.execPath, [bin, '--help'], folder)
  assert.is(help.status, 0, help.output)
  for (const command of ['devnet', 'up', 'infer', 'batch', 'models', 'status', 'gateway', 'model'])
    assert.match(help.stdout, new RegExp(`^  ${command}\\b`, 'm'))
  const checked = run(process.execPath, [bin, 'model', 'check', 'digits'], folder)
  assert.is(checked.status, 0, checked.output)
  assert.match(checked.stdout, /operators: AveragePool, Conv ×2, Gemm, Relu ×2, Reshape\ncoverage: 100/)
})

test('the package is imported by its name, with types', () => {
  // A package in node_modules, as npm would put it there.
  const user = join(folder, 'user')
  mkdirSync(join(user, 'node_modules'), { recursive: true })
  for (const name of readdirSync(join(ROOT, 'node_modules')))
    symlinkSync(join(ROOT, 'node_modules', name), join(user, 'node_modules', name), 'junction')
  symlinkSync(unpacked, join(user, 'node_modules/sinter'), 'junction')
  writeFileSync(join(user, 'package.json'), '{"type":"module"}')
  writeFileSync(
    join(user, 'use.js'),
    "import { connect, InputError } from 'sinter'\nconsole.log(typeof connect, typeof InputError)\n",
  )
  const used = run(process.execPath, ['use.js'], user)
  assert.is(used.stdout.trim(), 'function function', used.output)
  writeFileSync(
    join(user, 'use.ts'),
    `import { type Consumer, connect } from 'sinter'
export const open = (): Promise<Consumer> => connect({ network: 'n', rpcUrl: 'r', dataDir: 'd', password: 'p', bootstrap: [], ceiling: 1n })
// @ts-expect-error a ceiling is an amount in base units
export const wrong = (): Promise<Consumer> => connect({ network: 'n', rpcUrl: 'r', dataDir: 'd', bootstrap: [], ceiling: 1 })
`,
  )
  writeFileSync(
    join(user, 'page.ts'),
    `import { connect, type LightOptions, newKey } from 'sinter/light'
export const open = ({ network }: LightOptions) => connect({ key: newKey(), network, rpcUrl: 'r', bootstrap: [], ceiling: 1n })
`,
  )
  const options = [
    '--noEmit',
    '--strict',
    '--target',
    'es2024',
    '--module',
    'nodenext',
    '--lib',
    'es2024,dom,esnext',
    '--types',
    'node',
  ]
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const checked = run(process.execPath, [tsc, ...options, 'use.ts', 'page.ts'], user)
  assert.is(checked.status, 0, checked.output)
})

test('a bundler makes a page of the light client, out of the tarball alone', async () => {
  const app = join(folder, 'user/app')
  mkdirSync(app)
  writeFileSync(join(app, 'index.html'), '<!doctype html><script type="module" src="./main.js"></script>')
  writeFileSync(
    join(app, 'main.js'),
    "import { connect, newKey } from 'sinter/light'\nconst client = await connect({ key: newKey(), ...window.options })\ndocument.title = client.address\n",
  )
  const { build } = await import('vite')
  const warnings: string[] = []
  const customLogger = {
    ...(await import('vite')).createLogger('silent'),
    warn: (line: string) => void warnings.push(line),
  }
  await build({
    root: app,
    configFile: false,
    customLogger,
    resolve: { preserveSymlinks: true },
    build: { outDir: join(folder, 'bundle'), target: 'es2022', emptyOutDir: true, chunkSizeWarningLimit: 4_000 },
  })
  const assets = join(folder, 'bundle/assets')
  const bundle = readdirSync(assets).map((name) => readFileSync(join(assets, name), 'utf8'))
  const bytes = bundle.reduce((sum, text) => sum + text.length, 0)
  assert.ok(bytes > 500_000 && bytes < 3_000_000, `${bytes} bytes`)
  // A module of Node's in a bundle for browsers is a warning, and fails when it is used.
  assert.equal(warnings, [])
})

test('the tarball has a sane size', () => {
  const bytes = readdirSync(folder)
    .filter((name) => name.endsWith('.tgz'))
    .map((name) => statSync(join(folder, name)).size)
  assert.is(bytes.length, 1)
  assert.ok(bytes[0]! < 38 * 2 ** 20, `${bytes[0]} bytes`)
})

test('under an older Node the command goes on with the one that npm brought, and says so when there is none', () => {
  const older = join(folder, 'older.mjs')
  // What the command starts is not told to pretend: it is started without this flag.
  writeFileSync(older, "Object.defineProperty(process.versions, 'node', { value: '20.20.2' })\n")
  const flag = ['--import', pathToFileURL(older).href]
  const version = run(process.execPath, [...flag, bin, '--version'], folder)
  assert.is(version.status, 0, version.output)
  assert.is(version.stdout.trim(), (JSON.parse(read('package.json')) as { version: string }).version)
  const alone = join(folder, 'alone')
  mkdirSync(join(alone, 'node/bin'), { recursive: true })
  writeFileSync(join(alone, 'package.json'), '{"type":"module"}')
  for (const file of ['sinter.js', 'launch.js']) writeFileSync(join(alone, 'node/bin', file), read(`node/bin/${file}`))
  rmSync(join(folder, 'node_modules'))
  try {
    const refused = run(process.execPath, [...flag, join(alone, 'node/bin/sinter.js'), '--version'], alone)
    assert.is(refused.status, 1)
    assert.match(refused.output, /sinter needs Node 24/)
  } finally {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'), 'junction')
  }
})

test('provers, verifiers and model processes start from the build', () => {
  const script = join(folder, 'children.mjs')
  const from = (module: string): string => JSON.stringify(pathToFileURL(join(unpacked, '.dist', module)).href)
  writeFileSync(
    script,
    `import { createProverPool } from ${from('circuits/pool.js')}
import { createVerifier } from ${from('circuits/verify.js')}
import { loadDigits, loadHeldOut } from ${from('models/digits.js')}
import { createExecutor } from ${from('node/exec/host.js')}
const log = { debug() {}, info() {}, warn() {}, error() {} }
const { model } = loadDigits()
const executor = await createExecutor({ model, executionProvider: 'cpu', timeoutMs: 30000, memoryMb: 1024, log })
const { images } = loadHeldOut()
const outputs = await executor.run({ [executor.inputNames[0]]: { shape: [1, 1, 8, 8], data: images[0] } })
await executor.close()
const pool = createProverPool()
const leaf = { limbs: new Uint16Array(64).fill(7), salt: 5n }
const u = Array(640).fill(0n)
u[0] = 3n
const input = { leaves: Array(10).fill(leaf), accIn: 0n, blindIn: 0n, blindOut: 0n, u, binding: 1n }
const { proof, publicSignals } = await pool.prove('relation', input)
await pool.close()
const verifier = await createVerifier()
const verdict = await verifier.verify('relation', publicSignals, proof)
await verifier.close()
console.log(JSON.stringify({ logits: Object.values(outputs)[0].data.length, ok: verdict.ok }))
`,
  )
  const { status, stdout, output } = run(process.execPath, [script], folder)
  assert.is(status, 0, output)
  assert.equal(JSON.parse(stdout.trim().split('\n').at(-1)!), { logits: 10, ok: true })
})

test.run()
