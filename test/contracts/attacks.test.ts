import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'
import { LIBRARIES } from '../../protocol/contracts/compile.ts'

/** protocol/spec/attacks.md §1 has a row for everything that changes something on the chain, and every test that it names exists. */

type Item = { type: string; name?: string; stateMutability?: string }

const ARTIFACTS = assetPath('protocol/contracts/artifacts')
const TESTS = assetPath('test/contracts')

const spec = readFileSync(assetPath('protocol/spec/attacks.md'), 'utf8')
const rows = spec.split('\n').filter((line) => /^\| `[A-Z]\w+\.\w+`/.test(line))
const named = new Set(rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`(\w+\.\w+)`/g)].map(([, name]) => name!)))

/** Contracts of a network that is not a development network. Nobody calls a library but the contract it is linked into. */
const contracts = readdirSync(ARTIFACTS)
  .filter((file) => file.endsWith('.json') && !file.startsWith('Devnet'))
  .map((file) => file.slice(0, -'.json'.length))
  .filter((name) => !LIBRARIES.some((library) => library === name))

const entryPoints = contracts.flatMap((contract) => {
  const { abi } = JSON.parse(readFileSync(`${ARTIFACTS}/${contract}.json`, 'utf8')) as { abi: Item[] }
  return abi
    .filter(({ type, stateMutability }) => type === 'function' && !['view', 'pure'].includes(stateMutability!))
    .map(({ name }) => `${contract}.${name}`)
})

test('every entry point has its row', () => {
  assert.ok(entryPoints.length > 50, `${entryPoints.length} entry points`)
  assert.equal(
    entryPoints.filter((name) => !named.has(name)),
    [],
  )
})

test('no row is about a function that is gone', () => {
  assert.equal(
    [...named].filter((name) => !entryPoints.includes(name)),
    [],
  )
})

test('every test that is named exists', () => {
  const sources = readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.t.sol'))
    .map((file) => readFileSync(`${TESTS}/${file}`, 'utf8'))
    .join('\n')
  const missing = [...spec.matchAll(/`(test(?:Fuzz)?_\w+)`/g)].filter(
    ([, name]) => !sources.includes(`function ${name}(`),
  )
  assert.equal(
    missing.map(([, name]) => name),
    [],
  )
})

test.run()
