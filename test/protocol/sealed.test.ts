import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fromHex, type Hex } from '../../protocol/bytes.ts'
import { decode } from '../../protocol/codec.ts'
import { errorCode } from '../../protocol/errors.ts'
import { RequestSchema, SealedSetSchema, SetIndexSchema, TensorSetSchema } from '../../protocol/gen/sinter_pb.js'
import { tensorsDigest } from '../../protocol/rules/input.ts'
import { openFile, reopenFile, SEALED_CHUNK, SEALED_HEADER, sealedFacts, sealFile } from '../../protocol/sealed.ts'
import { publicKeyOf } from '../../protocol/signature.ts'

const bytes = (length: number) => new Uint8Array(randomBytes(length))
const [sender, recipient, stranger, networkId, job] = [1, 2, 3, 4, 5].map(() => bytes(32)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const facts = { purpose: 'input', job, seq: 7n } as const
const sealIt = (plaintext: Uint8Array, change: Partial<Parameters<typeof sealFile>[1]> = {}) =>
  sealFile(plaintext, {
    ...{ ...facts, networkId, sender, recipient: publicKeyOf(recipient), ephemeral: bytes(32) },
    ...change,
  })
type Expected = Parameters<typeof openFile>[1]['expected']
const openIt = (
  file: Uint8Array,
  change: Partial<Parameters<typeof openFile>[1]> = {},
  expected: Partial<Expected> = {},
) =>
  openFile(file, { networkId, recipient, expected: { ...facts, sender: publicKeyOf(sender), ...expected }, ...change })
const codeOf = (work: () => unknown): string => {
  try {
    work()
    return 'opened'
  } catch (error) {
    return errorCode(error)
  }
}
const CHUNK = SEALED_CHUNK + 16
const at = (index: number): number => SEALED_HEADER + index * CHUNK

test('files of no, few, exactly one and several chunks open as they were', () => {
  for (const length of [0, 1, SEALED_CHUNK - 1, SEALED_CHUNK, SEALED_CHUNK + 1, 3 * SEALED_CHUNK]) {
    const plaintext = bytes(length)
    assert.is(Buffer.compare(openIt(sealIt(plaintext)), plaintext), 0, `${length} bytes`)
  }
})

test('a file opens for its reader, sender, network, purpose, job and place only, each with its code', () => {
  const file = sealIt(bytes(100))
  assert.is(
    codeOf(() => openIt(file)),
    'opened',
  )
  assert.is(
    codeOf(() => openIt(file, { recipient: stranger })),
    'SEALED_FORGED',
  )
  assert.is(
    codeOf(() => openIt(file, { networkId: bytes(32) })),
    'SEALED_FORGED',
  )
  assert.is(
    codeOf(() => openIt(file, {}, { purpose: 'output' })),
    'SEALED_PURPOSE',
  )
  assert.is(
    codeOf(() => openIt(file, {}, { job: bytes(32) })),
    'SEALED_JOB',
  )
  assert.is(
    codeOf(() => openIt(file, {}, { seq: 8n })),
    'SEALED_SEQUENCE',
  )
  assert.is(
    codeOf(() => openIt(file, {}, { sender: publicKeyOf(stranger) })),
    'SEALED_SENDER',
  )
})

test('a header that was rewritten to what is expected does not open', () => {
  const other = { purpose: 'output', job: bytes(32), seq: 9n, sender: publicKeyOf(stranger) } as const
  const expect = { ...facts, sender: publicKeyOf(sender) }
  const places: [keyof typeof other, number][] = [
    ['purpose', 8],
    ['job', 9],
    ['seq', 41],
    ['sender', 57],
  ]
  const model = sealIt(bytes(10), { ...other, sender: stranger })
  for (const [what, from] of places) {
    const file = sealIt(bytes(10))
    const length = { purpose: 1, job: 32, seq: 8, sender: 33 }[what]
    file.set(model.subarray(from, from + length), from)
    assert.is(
      codeOf(() => openIt(file, {}, { ...expect, [what]: other[what] })),
      'SEALED_FORGED',
      what,
    )
  }
})

test('chunks cannot be cut off, moved, repeated or taken from another file', () => {
  const file = sealIt(bytes(3 * SEALED_CHUNK))
  assert.is(
    codeOf(() => openIt(file.subarray(0, at(2)))),
    'SEALED_LENGTH',
  )
  assert.is(
    codeOf(() => openIt(file.subarray(0, file.length - 1))),
    'SEALED_LENGTH',
  )
  assert.is(
    codeOf(() => openIt(Uint8Array.from([...file, 0]))),
    'SEALED_LENGTH',
  )
  const shorter = file.slice(0, at(2))
  new DataView(shorter.buffer).setBigUint64(49, BigInt(2 * SEALED_CHUNK))
  assert.is(
    codeOf(() => openIt(shorter)),
    'SEALED_FORGED',
    'cut short with its length',
  )
  const swapped = file.slice()
  swapped.set(file.subarray(at(0), at(1)), at(1))
  swapped.set(file.subarray(at(1), at(2)), at(0))
  assert.is(
    codeOf(() => openIt(swapped)),
    'SEALED_FORGED',
    'swapped',
  )
  const twice = file.slice()
  twice.set(file.subarray(at(0), at(1)), at(1))
  assert.is(
    codeOf(() => openIt(twice)),
    'SEALED_FORGED',
    'repeated',
  )
  for (const change of [{ seq: 8n }, { job: bytes(32) }, { recipient: publicKeyOf(stranger) }, {}]) {
    const spliced = file.slice()
    spliced.set(sealIt(bytes(3 * SEALED_CHUNK), change).subarray(at(1), at(2)), at(1))
    assert.is(
      codeOf(() => openIt(spliced)),
      'SEALED_FORGED',
      'spliced',
    )
  }
})

test('nobody but the sender can seal in its name', () => {
  const forged = sealIt(bytes(50), { sender: stranger })
  forged.set(publicKeyOf(sender), 57)
  assert.is(
    codeOf(() => openIt(forged)),
    'SEALED_FORGED',
  )
})

test('any changed byte is found, and no bytes break the reader', () => {
  const file = sealIt(bytes(200))
  fc.assert(
    fc.property(
      fc.nat(file.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.uint8Array({ maxLength: 300 }),
      (i, flip, any) => {
        const changed = file.slice()
        changed[i]! ^= flip
        assert.match(
          codeOf(() => openIt(changed)),
          /^SEALED_/,
        )
        assert.is(
          codeOf(() => sealedFacts(any)),
          'SEALED_MALFORMED',
        )
      },
    ),
    { numRuns: 150 },
  )
})

test('two files of the same bytes have nothing in common', () => {
  const plaintext = new Uint8Array(1_000)
  const [a, b] = [sealIt(plaintext), sealIt(plaintext)]
  assert.is.not(Buffer.compare(a.subarray(SEALED_HEADER), b.subarray(SEALED_HEADER)), 0)
  assert.is(Buffer.from(a).indexOf(Buffer.alloc(12)), -1)
})

test('whoever sealed a file and kept its secret opens it again; with another secret, reader or place it does not', () => {
  const plaintext = bytes(SEALED_CHUNK + 1)
  const ephemeral = bytes(32)
  const file = sealIt(plaintext, { ephemeral })
  const again = (change: Partial<Parameters<typeof reopenFile>[1]> = {}) =>
    reopenFile(file, { networkId, sender, recipient: publicKeyOf(recipient), ephemeral, expected: facts, ...change })
  assert.is(Buffer.compare(again(), plaintext), 0)
  for (const change of [{ ephemeral: bytes(32) }, { recipient: publicKeyOf(stranger) }, { networkId: bytes(32) }])
    assert.is(
      codeOf(() => again(change)),
      'SEALED_FORGED',
    )
  assert.is(
    codeOf(() => again({ sender: stranger })),
    'SEALED_SENDER',
  )
  assert.is(
    codeOf(() => again({ expected: { ...facts, seq: 8n } })),
    'SEALED_SEQUENCE',
  )
})

test('the input of a job by content in the vectors is what its request names, for its provider and its owner', () => {
  const at = new URL('../../protocol/vectors/sealed-job.json', import.meta.url)
  const vector = JSON.parse(readFileSync(at, 'utf8')) as Record<string, Hex>
  const of = (name: string): Uint8Array => fromHex(vector[name]!)
  const { sealed } = decode(RequestSchema, of('request'))!
  assert.equal([sealed!.cid, sealed!.job, sealed!.digest, sealed!.seq], [of('cid'), of('job'), of('digest'), 1n])
  const expected = { purpose: 'input' as const, job: of('job'), seq: 1n, sender: publicKeyOf(of('consumer')) }
  const common = { networkId: of('networkId') }
  const plain = openFile(of('input'), { ...common, recipient: of('provider'), expected })
  const { tensors } = decode(TensorSetSchema, plain)!
  assert.equal(tensorsDigest(tensors), sealed!.digest)
  const set = decode(SealedSetSchema, of('set'))!
  assert.equal(set.items, [of('cid')])
  const own = { ...expected, seq: 0n }
  const index = decode(SetIndexSchema, openFile(set.index, { ...common, recipient: of('consumer'), expected: own }))!
  const [item] = index.items
  assert.is(item!.name, 'x.json')
  const keys = { sender: of('consumer'), recipient: index.provider, ephemeral: item!.ephemeral }
  assert.equal(reopenFile(of('input'), { ...common, ...keys, expected }), plain)
})

test.run()
