import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Payload } from '../../protocol/envelope.ts'
import { idealProofs } from '../node/attestation-ideal.ts'
import { zooInput, zooModel } from '../node/attestation-models.ts'
import { attest, copyOf, makeWorld, verify, type World } from '../node/attestation-world.ts'

/**
 * An attestation whose every part, one at a time, is missing, of another size, doubled or reordered. It is written after the challenge, so a
 * part that made verifiers stumble, rather than vote, would be an exit for whoever knows that it is caught.
 */

type Message = Payload<'attestation'>
type Change = { where: string; apply(message: Message): void }

const { pool, verifier } = await idealProofs()

const bytesChanges: [string, (bytes: Uint8Array) => Uint8Array][] = [
  ['empty', () => new Uint8Array()],
  ['one byte less', (bytes) => bytes.slice(1)],
  ['one byte more', (bytes) => Uint8Array.of(...bytes, 0)],
  ['all ones', (bytes) => bytes.map(() => 255)],
  ['all zeros', (bytes) => bytes.map(() => 0)],
]

/** Every change of every part of a job; of long lists the first, the middle and the last element. */
function changesOf(message: Message): Change[] {
  const out: Change[] = []
  const at = (root: unknown, path: (string | number)[]): unknown =>
    path.reduce((value, key) => (value as Record<string | number, unknown>)[key], root)
  const add = (path: (string | number)[], how: string, change: (value: never) => unknown): void => {
    out.push({
      where: `${path.join('.')} ${how}`,
      apply(target) {
        const parent = at(target, path.slice(0, -1)) as Record<string | number, unknown>
        parent[path.at(-1)!] = change(parent[path.at(-1)!] as never)
      },
    })
  }
  const walk = (value: unknown, path: (string | number)[]): void => {
    if (value instanceof Uint8Array) {
      for (const [how, change] of bytesChanges) add(path, how, change as (value: never) => unknown)
    } else if (Array.isArray(value)) {
      add(path, 'none', () => [])
      add(path, 'without the first', (list: unknown[]) => list.slice(1))
      add(path, 'last one twice', (list: unknown[]) => [...list, ...list.slice(-1)])
      if (value.length > 1) add(path, 'reversed', (list: unknown[]) => list.toReversed())
      const picked = new Set([0, value.length >> 1, value.length - 1])
      for (const i of picked) if (value[i] !== undefined) walk(value[i], [...path, i])
    } else if (typeof value === 'number') {
      for (const other of [0, value + 1, 2 ** 32 - 1]) if (other !== value) add(path, `${other}`, () => other)
    } else if (typeof value === 'boolean') add(path, 'not', (flag: boolean) => !flag)
    else if (typeof value === 'object' && value !== null)
      for (const key of Object.keys(value))
        if (!key.startsWith('$')) walk((value as Record<string, unknown>)[key], [...path, key])
  }
  walk(message.jobs[0], ['jobs', 0])
  add(['jobs', 0, 'receipt'], 'missing', () => undefined)
  add(['jobs', 0, 'opening'], 'shown', () => ({ jobKey: new Uint8Array(32), inputs: [], served: [] }))
  return out
}

const same = (a: Message, b: Message): boolean => JSON.stringify(a, plain) === JSON.stringify(b, plain)
const plain = (_: string, value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString('hex') : typeof value === 'bigint' ? `${value}` : value

async function everyPart(world: World): Promise<Map<string, number>> {
  const attested = await attest(world, pool)
  const faults = new Map<string, number>()
  for (const { where, apply } of changesOf(attested.message)) {
    const message = copyOf(attested.message)
    apply(message)
    if (same(message, attested.message)) continue
    const { verdicts, findings } = await verify({ ...attested, message }, verifier, world).catch((error: unknown) => {
      throw new Error(`${where}: verification stumbled`, { cause: error })
    })
    const fault = findings.find((each) => each.fault !== null)?.fault ?? 'none'
    faults.set(fault, (faults.get(fault) ?? 0) + 1)
    assert.ok(
      verdicts.every((verdict) => verdict === 'forged'),
      `${where}: ${verdicts}`,
    )
  }
  return faults
}

test('no part of an attestation can be changed without a verdict, and that is forged', async () => {
  const faults = await everyPart(makeWorld())
  console.log(`# digits: ${JSON.stringify(Object.fromEntries(faults))}`)
  assert.not(faults.has('none'))
  assert.ok(faults.size >= 12)
})

test('nor of one with staged statements', async () => {
  const faults = await everyPart(makeWorld({ model: await zooModel(), receipts: [3, 2], input: (i) => [zooInput(i)] }))
  console.log(`# zoo: ${JSON.stringify(Object.fromEntries(faults))}`)
  assert.not(faults.has('none'))
  assert.ok(faults.has('STAGE'))
})

test('nor of one that is shown', async () => {
  const faults = await everyPart(makeWorld({ policy: 'open', receipts: [3, 2] }))
  console.log(`# open: ${JSON.stringify(Object.fromEntries(faults))}`)
  assert.not(faults.has('none'))
  assert.ok(faults.has('OPENING') && faults.has('INPUT_ROOT') && faults.has('OUTPUT_ROOT'))
})

test.run()
