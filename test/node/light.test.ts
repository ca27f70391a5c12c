/** What a page gets: the modules behind `sinter/light`, with a browser's parts in place of Node's as package.json says. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readVerifyingKey, verifyingKeyHashes } from '../../circuits/artifacts.browser.ts'
import * as artifacts from '../../circuits/artifacts.ts'
import { CIRCUIT_KINDS } from '../../circuits/signals.ts'
import { createVerifier } from '../../circuits/verify.browser.ts'
import { PACKAGE_ROOT } from '../../protocol/assets.ts'
import { utf8 } from '../../protocol/bytes.ts'
import { sha256 as inBrowser } from '../../protocol/sha256.browser.ts'
import { sha256 } from '../../protocol/sha256.ts'

const manifest = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as {
  browser: Record<string, string>
}
const sourceOf = (file: string): string => manifest.browser[`./${file}`]?.slice(2) ?? file

/** Every module that the entry reaches in a page, and the packages that those import. */
function reached(entry: string): { modules: Set<string>; packages: Map<string, string> } {
  const modules = new Set<string>()
  const packages = new Map<string, string>()
  const queue = [entry]
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (modules.has(file)) continue
    modules.add(file)
    if (!file.endsWith('.ts')) continue
    const text = readFileSync(join(PACKAGE_ROOT, file), 'utf8').replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
    for (const [, type, named, dynamic] of text.matchAll(
      /^(?:import|export)\s(type\s)?(?:[^'"`;]*?\sfrom\s)?\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm,
    )) {
      const specifier = (named ?? dynamic)!
      if (type !== undefined) continue
      if (specifier.startsWith('.'))
        queue.push(sourceOf(relative(PACKAGE_ROOT, join(PACKAGE_ROOT, dirname(file), specifier))))
      else packages.set(specifier, file)
    }
  }
  return { modules, packages }
}

test('the light client reaches nothing that only Node has', () => {
  const { modules, packages } = reached('node/light.ts')
  assert.ok(modules.size > 80, `only ${modules.size} modules were found: the search is broken`)
  const node = [...packages].filter(([name]) =>
    /^(node:.*|pino|circomlibjs|onnxruntime-node|onnx-proto|level|@libp2p\/tcp|hono|commander)$/.test(name),
  )
  assert.equal(node, [])
  const globals = [...modules]
    .filter((file) => file.endsWith('.ts'))
    .filter((file) =>
      /(?<!\w)(Buffer\.|process\.\w|__dirname)|\)\.unref\(\)/.test(readFileSync(join(PACKAGE_ROOT, file), 'utf8')),
    )
  assert.equal(globals, [])
})

test('every module with a browser’s part is exchanged, in the sources and in the build', () => {
  const folders = ['circuits', 'models', 'node', 'protocol']
  const parts = folders
    .flatMap((folder) =>
      readdirSync(join(PACKAGE_ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
    )
    .filter((name) => name.endsWith('.browser.ts'))
  const expected = parts.flatMap((part) => {
    const whole = part.replace('.browser.ts', '.ts')
    assert.ok(existsSync(join(PACKAGE_ROOT, whole)), `${part} stands in for nothing`)
    const built = (file: string): string => `./.dist/${file.replace(/\.ts$/, '.js')}`
    return [
      [`./${whole}`, `./${part}`],
      [built(whole), built(part)],
    ]
  })
  assert.ok(parts.length > 0)
  assert.equal(Object.fromEntries(Object.entries(manifest.browser).sort()), Object.fromEntries(expected.sort()))
})

test('a page has the keys that the installation has, and hashes as it does', async () => {
  assert.equal(await verifyingKeyHashes(), await artifacts.verifyingKeyHashes())
  for (const kind of CIRCUIT_KINDS) assert.equal(await readVerifyingKey(kind), await artifacts.readVerifyingKey(kind))
  for (const length of [0, 1, 64, 1000]) {
    const bytes = utf8('x'.repeat(length))
    assert.equal(inBrowser(bytes), sha256(bytes))
  }
})

test('the page’s verifier takes a good proof and names what is wrong with a bad one', async () => {
  const { relationInput } = await import('../circuits/fixtures.ts')
  const { createProverPool } = await import('../../circuits/pool.ts')
  const pool = createProverPool({ workers: 1 })
  const { proof, publicSignals } = await pool.prove('relation', relationInput())
  await pool.close()
  const verifier = await createVerifier()
  const claim = { kind: 'relation' as const, signals: publicSignals, proof }
  assert.equal(await verifier.verifyAll([claim, claim]), { ok: true })
  const signals = publicSignals.with(0, publicSignals[0]! + 1n)
  assert.equal(await verifier.verifyAll([claim, { ...claim, signals }]), { ok: false, index: 1, code: 'PAIRING' })
  assert.equal(await verifier.verify('relation', publicSignals.slice(1), proof), { ok: false, code: 'SIGNAL_COUNT' })
  await verifier.close()
  assert.is(await verifier.verifyAll([claim]).catch((error: { code: string }) => error.code), 'VERIFIER_CLOSED')
})

test.run()
