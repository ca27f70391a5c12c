import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadDigits } from '../../models/digits.ts'
import { detection } from '../../models/draw.ts'
import { FAULTS } from '../../node/attestation/faults.ts'
import { assetPath } from '../../protocol/assets.ts'
import * as limits from '../../protocol/limits.ts'
import { MAX_DRAWS, VERDICT_CODES } from '../../protocol/vote.ts'
import { RULES } from './replay.ts'

/** A page with its line breaks undone. */
const page = (name: string): string =>
  readFileSync(assetPath(`protocol/spec/${name}.md`), 'utf8')
    .split('\n')
    .map((line) => line.trim())
    .join(' ')

const codesIn = (text: string): string[] => [...text.matchAll(/`([A-Z_]{4,})`/g)].map(([, code]) => code!)

type Rule = { text: string; codes: string[] }

/** Rules of a source file: each comment with a tag, and the codes given under it. */
function rulesOf(name: string): Rule[] {
  const rules: Rule[] = []
  for (const line of readFileSync(assetPath(`protocol/rules/${name}.ts`), 'utf8').split('\n')) {
    const said = /\/\/ (\[(?:REJECT|IGNORE)\] .*)/.exec(line)
    if (said) rules.push({ text: said[1]!, codes: [] })
    const codes = rules.at(-1)?.codes
    if (line.includes('oversized(')) codes?.push('TOO_LARGE')
    if (line.includes('reject(opened)')) codes?.push('ENVELOPE_MALFORMED', 'PAYLOAD_MALFORMED', 'SIGNATURE_INVALID')
    for (const [, code] of line.matchAll(/\b(?:reject|ignore)\('([A-Z_]+)'\)/g)) codes?.push(code!)
  }
  return rules
}

test('every rule of the code stands in lifecycle.md, word for word and with its codes', () => {
  const text = page('lifecycle')
  for (const name of RULES)
    for (const rule of rulesOf(name)) {
      const parts = text.split(rule.text).slice(1)
      assert.ok(parts.length > 0, `${name}: ${rule.text}`)
      const missing = (part: string): string[] => {
        const until = part.search(/ \d+\. \[|## /)
        const said = codesIn(until < 0 ? part : part.slice(0, until))
        return rule.codes.filter((code) => !said.includes(code))
      }
      assert.ok(
        parts.some((part) => missing(part).length === 0),
        `${name}: ${rule.text} misses ${missing(parts[0]!)}`,
      )
    }
})

test('lifecycle.md has no rule that the code does not have', () => {
  const known = RULES.flatMap(rulesOf).map(({ text }) => text)
  for (const [rule] of page('lifecycle').matchAll(/(?<=\d\. )\[(?:REJECT|IGNORE)\] .*?(?= `[A-Z_]{4,}`)/g))
    assert.ok(
      known.some((text) => text === rule),
      rule,
    )
})

test('capacity.md has the rules of a reporter, word for word and with their codes, and every reason for which nothing comes of a pulse', () => {
  const text = page('capacity')
  const source = readFileSync(assetPath('node/stages/pulse-reports.ts'), 'utf8')
  const rules = [...source.matchAll(/\/\/ (\[REFUSE\] .*)\n[^/]*?'([A-Z_]+)'/g)].map(([, rule, code]) => ({
    rule,
    code,
  }))
  assert.is(rules.length, 4)
  for (const { rule, code } of rules) assert.ok(text.includes(`${rule} \`${code}\``), rule)
  assert.is([...text.matchAll(/\[REFUSE\]/g)].length, rules.length)
  const plan = readFileSync(assetPath('node/stages/pulse-plan.ts'), 'utf8')
  const losses = [...plan.match(/type PulseLoss =([\s\S]*?)\n\n/)![1]!.matchAll(/'([A-Z_]+)'/g)].map(
    ([, code]) => code!,
  )
  const listed = codesIn(text.split('| reason | |')[1]!.split('**The machine.**')[0]!)
  assert.equal(listed.sort(), losses.sort())
})

test('the constants are those of the code', () => {
  const stated = [...page('lifecycle').matchAll(/\| `(MAX_[A-Z_]+|CLOCK_[A-Z_]+)` \| (\d+) \|/g)]
  const values: Record<string, unknown> = { ...limits, MAX_DRAWS }
  for (const [, name, value] of stated) assert.is(String(values[name!]), value, name)
  const scalars = Object.keys(values).filter((name) => ['number', 'bigint'].includes(typeof values[name]))
  assert.equal(stated.map(([, name]) => name).sort(), scalars.sort())
})

const REJECTED = /\| \[REJECT\] \| ((?:`[A-Z_]+` ?)+)\|/
const IGNORED = /\| \[IGNORE\] \| ((?:`[A-Z_]+` ?)+)\|/

test('gossip.md lists exactly the codes of the gossiped messages, each under its verdict', () => {
  const text = page('gossip')
  for (const action of ['reject', 'ignore'] as const) {
    const listed = codesIn(text.match(action === 'reject' ? REJECTED : IGNORED)![1]!)
    const given = new Set<string>()
    for (const name of ['offer', 'attestation', 'vote']) {
      const source = readFileSync(assetPath(`protocol/rules/${name}.ts`), 'utf8')
      for (const [, code] of source.matchAll(new RegExp(`\\b${action}\\('([A-Z_]+)'\\)`, 'g'))) given.add(code!)
    }
    if (action === 'reject')
      for (const code of ['TOO_LARGE', 'ENVELOPE_MALFORMED', 'PAYLOAD_MALFORMED', 'SIGNATURE_INVALID']) given.add(code)
    assert.equal([...listed].sort(), [...given].sort(), action)
  }
})

test('attestation.md has every fault once in its tables, and no other', () => {
  const verification = page('attestation').split('## 7. Verdicts')[0]!
  const rows = [...verification.matchAll(/\| `([A-Z_]{4,})` \|/g)].map(([, code]) => code!)
  assert.equal(rows.sort(), [...FAULTS].sort())
})

test('attestation.md has the bytes of the verdicts', () => {
  const text = page('attestation')
  for (const [verdict, byte] of Object.entries(VERDICT_CODES)) assert.ok(text.includes(`| \`${verdict}\` | ${byte} |`))
})

test('the odds in attestation.md are those of the digits model, cut off', () => {
  const { manifest } = loadDigits()
  const rows = [
    ...page('attestation').matchAll(
      /\| (\d+)(?: \(devnet\))? \| (0\.\d{6}) \| (0\.\d{6}) \| (0\.\d{4}) \| (0\.\d{4}) \|/g,
    ),
  ]
  assert.is(rows.length, 4)
  const cut = (p: number): number => Math.floor(p * 10_000) / 10_000
  for (const [, s, ...stated] of rows) {
    const { d1, d2 } = detection(manifest, Number(s))
    assert.equal(stated.map(Number), [d1, d2, cut(1 - (1 - d1) ** 4), cut(1 - (1 - d2) ** 4)], `s = ${s}`)
  }
})

test.run()
