/**
 * `npm run api`: node/API.md, the reference of what `sinter` exports, from the declarations that the compiler emits and the docstrings in
 * them. Types that an exported one names are listed too. `apiReference` is what the test compares the file with.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { assetPath } from '../../protocol/assets.ts'

type Declaration = { name: string; kind: 'type' | 'class' | 'function'; doc: string; code: string }

/** Where the declarations are that a reader is told of; everything else is a name and no more. */
const PLACES = [
  'node/sdk.d.ts',
  'node/client',
  'protocol/errors.d.ts',
  'protocol/rules/receipt.d.ts',
  'protocol/signature.d.ts',
]
/** Parts of the inside that signatures mention and nobody outside can make. */
const INSIDE = new Set([
  'LightClient',
  'Scores',
  'Memory',
  'Pool',
  'Slot',
  'ReceivedBid',
  'ReceiptFields',
  'SessionHead',
])

/** The end of a declaration that begins at `at`: the first line end outside of all brackets. */
function endOf(text: string, at: number): number {
  let depth = 0
  for (let i = at; i < text.length; i++) {
    const [char, two] = [text[i]!, text.slice(i, i + 2)]
    if (two === '/*') i = text.indexOf('*/', i) + 1
    else if ('{(['.includes(char)) depth++
    else if ('})]'.includes(char)) depth--
    else if (depth === 0 && (char === ';' || (char === '\n' && text[i - 1] === '}'))) return i
  }
  return text.length
}

const plain = (comment: string): string =>
  comment
    .replace(/^\/\*\*|\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trim())
    .join('\n')
    .trim()

function declarationsOf(text: string): Declaration[] {
  const found = text.matchAll(/(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?^export (?:declare )?(type|class|function) (\w+)/gm)
  return [...found].map((match): Declaration => {
    const start = match.index + (match[1]?.length ?? 0)
    const code = text
      .slice(start, endOf(text, start))
      .replace(/^export (declare )?/, '')
      .replaceAll('    ', '  ')
    return { name: match[3]!, kind: match[2] as Declaration['kind'], doc: plain(match[1] ?? ''), code }
  })
}

/** Names that the public entry exports. */
function exported(entry: string): string[] {
  const lists = [...entry.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, names]) => names!.split(','))
  const own = [...entry.matchAll(/^export (?:declare )?(?:type|class|function) (\w+)/gm)].map(([, name]) => name!)
  return [...own, ...lists.map((name) => name.trim()).filter((name) => name !== '')]
}

/** The reference as Markdown, from a folder of emitted declarations. */
export function apiMarkdown(folder: string): string {
  const files = PLACES.flatMap((place) =>
    place.endsWith('.ts')
      ? [place]
      : readdirSync(join(folder, place))
          .filter((name) => name.endsWith('.d.ts'))
          .sort()
          .map((name) => `${place}/${name}`),
  )
  const index = new Map<string, Declaration>()
  for (const file of files)
    for (const each of declarationsOf(readFileSync(join(folder, file), 'utf8')))
      if (!index.has(each.name)) index.set(each.name, each)
  const names = exported(readFileSync(join(folder, 'node/sdk.d.ts'), 'utf8'))
  const listed = new Set(names)
  const queue = [...names]
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    const words =
      index
        .get(name)
        ?.code.replace(/\/\*\*(?:(?!\*\/)[\s\S])*\*\//g, '')
        .match(/\b[A-Z]\w+\b/g) ?? []
    for (const word of words)
      if (!listed.has(word) && !INSIDE.has(word) && index.has(word)) {
        listed.add(word)
        queue.push(word)
      }
  }
  const section = ({ name, doc, code }: Declaration): string =>
    [`## ${name}`, ...(doc === '' ? [] : [doc]), `\`\`\`ts\n${code}\n\`\`\``].join('\n\n')
  const of = (list: string[]): string[] => list.flatMap((name) => index.get(name) ?? []).map(section)
  const order = (kind: Declaration['kind']): string[] => names.filter((name) => index.get(name)?.kind === kind)
  const inner = [...listed].filter((name) => !names.includes(name)).sort()
  return [
    '# The `sinter` package',
    'Generated from the docstrings by `npm run api`; `node/README.md` has examples and says how it behaves.',
    ...of(order('function')),
    ...of(order('type').sort()),
    '# Errors',
    ...of(order('class').sort()),
    '# Types that these name',
    ...of(inner),
    '',
  ]
    .join('\n\n')
    .replace(/\n+$/, '\n')
}

/** Emits the declarations and makes the reference of them. Throws when the compiler finds errors. */
export function apiReference(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-api-'))
  try {
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
    const args = ['-p', assetPath('.config/tsconfig.build.json'), '--emitDeclarationOnly', '--outDir', folder]
    const { status, stdout } = spawnSync(process.execPath, [tsc, ...args], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`tsc found errors:\n${stdout}`)
    return apiMarkdown(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) writeFileSync(assetPath('node/API.md'), apiReference())
