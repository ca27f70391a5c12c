import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toHex } from '../../protocol/bytes.ts'
import { hash } from '../../protocol/hash.ts'
import { merkleVerify } from '../../protocol/merkle.ts'
import { ioRoot, jobRoot, jobTree, type TreeRecord, treeRecordLeaf } from '../../protocol/trace.ts'

const record: TreeRecord = { tensor: 3, tree: 0, exponent: -2, shape: [2, 5], root: hash('root') }

test('a record binds tensor, tree, exponent, shape and root', () => {
  const leaves = [
    record,
    { ...record, tensor: 4 },
    { ...record, tree: 3 as const },
    { ...record, exponent: 2 },
    { ...record, shape: [5, 2] },
    { ...record, shape: [10] },
    { ...record, shape: [2, 5, 1] },
    { ...record, root: hash('other') },
  ].map((each) => toHex(treeRecordLeaf(each)))
  assert.is(new Set(leaves).size, leaves.length)
})

test('input and output roots of the same records differ, and bind their order', () => {
  const records = [record, { ...record, tensor: 4 }]
  assert.not.equal(ioRoot('input', records), ioRoot('output', records))
  assert.not.equal(ioRoot('input', records), ioRoot('input', [...records].reverse()))
  assert.not.equal(ioRoot('input', records), ioRoot('input', [record]))
})

test('each record opens in the tree of its job', () => {
  const records = [record, { ...record, tensor: 4 }, { ...record, tensor: 5 }]
  const { root, path } = jobTree(records)
  records.forEach((each, i) => {
    assert.ok(merkleVerify(root, treeRecordLeaf(each), i, records.length, path(i)))
  })
})

test('a job’s root binds receipt, manifest and tensors', () => {
  const roots = [
    jobRoot(hash('receipt'), Uint8Array.of(1), hash('tensors')),
    jobRoot(hash('other'), Uint8Array.of(1), hash('tensors')),
    jobRoot(hash('receipt'), Uint8Array.of(2), hash('tensors')),
    jobRoot(hash('receipt'), Uint8Array.of(1), hash('other')),
  ].map(toHex)
  assert.is(new Set(roots).size, roots.length)
})

test.run()
