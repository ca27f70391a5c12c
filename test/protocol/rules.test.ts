import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'
import { fromHex } from '../../protocol/bytes.ts'
import type { Case } from '../../protocol/vectors/cases.ts'
import { RULES, replay } from './replay.ts'

const vectors = JSON.parse(readFileSync(assetPath('protocol/vectors/rules.json'), 'utf8')) as {
  networkId: string
  cases: Case[]
}

for (const sequence of vectors.cases)
  test(`${sequence.rule}: ${sequence.name}`, async () => {
    const verdicts = await replay(sequence, fromHex(vectors.networkId))
    assert.equal(
      sequence.steps.map(({ name }, i) => `${name}: ${verdicts[i]}`),
      sequence.steps.map(({ name, expect }) => `${name}: ${expect}`),
    )
  })

test('every rule has sequences, with at least one message that is accepted', () => {
  for (const rule of RULES) {
    const steps = vectors.cases.filter((each) => each.rule === rule).flatMap((each) => each.steps)
    assert.ok(
      steps.some(({ expect }) => expect === 'accept'),
      rule,
    )
  }
})

/** Verdicts that a rule's source can give, as `reject CODE` or `ignore CODE`. */
function sourceVerdicts(rule: string): Set<string> {
  const source = readFileSync(assetPath(`protocol/rules/${rule}.ts`), 'utf8')
  const found = [...source.matchAll(/\b(reject|ignore)\('([A-Z_]+)'\)/g)].map(([, action, code]) => `${action} ${code}`)
  if (/\breject\(opened\)/.test(source))
    found.push('reject ENVELOPE_MALFORMED', 'reject PAYLOAD_MALFORMED', 'reject SIGNATURE_INVALID')
  if (source.includes('oversized(')) found.push('reject TOO_LARGE')
  return new Set(found)
}

test('every code of every rule is reached by the vectors, and they name no other', () => {
  const files = readdirSync(assetPath('protocol/rules')).map((name) => name.replace('.ts', ''))
  assert.equal(files.filter((name) => name !== 'judged').sort(), [...RULES].sort())
  for (const rule of RULES) {
    const steps = vectors.cases.filter((each) => each.rule === rule).flatMap((each) => each.steps)
    const reached = new Set<string>(steps.map(({ expect }) => expect).filter((expect) => expect !== 'accept'))
    assert.equal([...reached].sort(), [...sourceVerdicts(rule)].sort(), rule)
  }
})

/** Verdict of one line of a rule, and the tag of the comment above it. */
test('every check stands under a comment that says which rule it is', () => {
  for (const rule of RULES) {
    const lines = readFileSync(assetPath(`protocol/rules/${rule}.ts`), 'utf8').split('\n')
    let tag: string | null = null
    for (const line of lines) {
      const said = /\/\/ \[(REJECT|IGNORE)\]/.exec(line)
      if (said) tag = said[1]!.toLowerCase()
      const given = /\breturn (reject|ignore)\('/.exec(line)
      if (given) assert.is(given[1], tag, `${rule}: ${line.trim()}`)
    }
  }
})

test.run()
