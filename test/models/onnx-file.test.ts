import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ort from 'onnxruntime-node'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MODEL_LIMITS, parseModel } from '../../models/onnx.ts'
import { readModelFile } from '../../models/onnx-file.ts'
import { SinterError } from '../../protocol/errors.ts'
import { constant, onnxGraph, rawData } from './onnx-fixture.ts'

const test = suite<{ root: string; folder: string }>('onnx files')

test.before.each((context) => {
  context.root = mkdtempSync(join(tmpdir(), 'sinter-onnx-'))
  context.folder = join(context.root, 'model')
  mkdirSync(context.folder)
})
test.after.each(({ root }) => rmSync(root, { recursive: true, force: true }))

const weights = constant('float32', [2, 2], [1, 2, 3, 4])

/** A model whose weights lie in another file, as its entries say. */
const external = (entries: Record<string, string>): Uint8Array =>
  onnxGraph({
    nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
    inputs: { x: { dims: [1, 2] } },
    outputs: { y: { dims: [1, 2] } },
    constants: { w: weights },
    edit: ({ graph }) => {
      const tensor = graph!.initializer![0]!
      delete tensor.rawData
      tensor.dataLocation = 1
      tensor.externalData = Object.entries(entries).map(([key, value]) => ({ key, value }))
    },
  })

function write(folder: string, bytes: Uint8Array): string {
  const path = join(folder, 'model.onnx')
  writeFileSync(path, bytes)
  return path
}

const refused = (path: string, code: string, options: { maxBytes?: number } = {}): void =>
  assert.throws(
    () => readModelFile(path, options),
    (error: unknown) => {
      if (!(error instanceof SinterError)) throw error
      assert.is(error.code, code, error.message)
      return true
    },
  )

test('a file without data elsewhere is read as it is', ({ folder }) => {
  const bytes = onnxGraph({
    nodes: [{ op: 'Relu', inputs: ['x'], outputs: ['y'] }],
    inputs: { x: { dims: [1] } },
    outputs: { y: { dims: [1] } },
  })
  const path = write(folder, bytes)
  assert.equal(readModelFile(path), bytes)
  assert.equal(readModelFile(path, { maxBytes: bytes.length }), bytes)
  refused(path, 'MODEL_TOO_LARGE', { maxBytes: bytes.length - 1 })
})

test('data beside the model is taken in, and the result runs', async ({ folder }) => {
  mkdirSync(join(folder, 'data'))
  const data = new Uint8Array(20)
  data.set(rawData(weights), 4)
  writeFileSync(join(folder, 'data', 'w.bin'), data)
  for (const entries of [
    { location: 'data/w.bin', offset: '4', length: '16' },
    { location: './data/w.bin', offset: '4' },
  ]) {
    const path = write(folder, external(entries))
    const bytes = readModelFile(path)
    assert.equal(parseModel(bytes).constants.get('w'), weights)
    const session = await ort.InferenceSession.create(bytes)
    const { y } = await session.run({ x: new ort.Tensor('float32', [1, 1], [1, 2]) })
    assert.equal(Array.from(y!.data as Float32Array), [4, 6])
    await session.release()
  }
  refused(join(folder, 'model.onnx'), 'MODEL_TOO_LARGE', { maxBytes: external({}).length + 40 })
})

test('data outside of the folder is never read', ({ root, folder }) => {
  writeFileSync(join(root, 'secret.bin'), rawData(weights))
  writeFileSync(join(folder, 'w.bin'), rawData(weights))
  symlinkSync(join(root, 'secret.bin'), join(folder, 'link.bin'))
  symlinkSync(root, join(folder, 'up'))
  for (const location of [
    '../secret.bin',
    join(root, 'secret.bin'),
    'data/../../secret.bin',
    'link.bin',
    'up/secret.bin',
    '..\\secret.bin',
    'C:secret.bin',
    'w.bin\0.txt',
    '',
    '.',
    'missing.bin',
  ])
    refused(write(folder, external({ location })), 'MODEL_EXTERNAL_DATA')
  refused(write(folder, external({})), 'MODEL_EXTERNAL_DATA')
})

test('links that stay in the folder are followed', ({ folder }) => {
  writeFileSync(join(folder, 'w.bin'), rawData(weights))
  symlinkSync('w.bin', join(folder, 'link.bin'))
  const path = write(folder, external({ location: 'link.bin' }))
  assert.equal(parseModel(readModelFile(path)).constants.get('w'), weights)
})

test('ranges: the last good one is read, the first bad ones are not', ({ folder }) => {
  writeFileSync(join(folder, 'w.bin'), rawData(weights))
  const ranged = (offset: string, length: string) => write(folder, external({ location: 'w.bin', offset, length }))
  assert.ok(readModelFile(ranged('0', '16')))
  for (const [offset, length] of [
    ['1', '16'],
    ['0', '17'],
    ['17', '0'],
    ['-1', '16'],
    ['0', '1e1'],
    ['0', '9'.repeat(40)],
  ] as const)
    refused(ranged(offset, length), 'MODEL_EXTERNAL_DATA')
  // Whole in the file, but not what the shape says.
  assert.throws(
    () => parseModel(readModelFile(ranged('0', '12'))),
    (error: { code?: string }) => error.code === 'MODEL_SHAPE',
  )
})

test('files that are too large are refused from their size', ({ folder }) => {
  const started = Date.now()
  const path = write(folder, new Uint8Array(0))
  for (const size of [2 ** 31, 2 ** 31 + 1, MODEL_LIMITS.bytes + 1]) {
    truncateSync(path, size)
    refused(path, 'MODEL_TOO_LARGE')
  }
  writeFileSync(join(folder, 'w.bin'), '')
  truncateSync(join(folder, 'w.bin'), 2 ** 32)
  refused(write(folder, external({ location: 'w.bin' })), 'MODEL_TOO_LARGE')
  assert.ok(Date.now() - started < 2000)
})

test('what is no file, or no model, is refused', ({ folder }) => {
  refused(folder, 'FILE_UNREADABLE')
  refused(join(folder, 'missing.onnx'), 'FILE_UNREADABLE')
  refused('/dev/zero', 'FILE_UNREADABLE')
  refused(write(folder, new Uint8Array(0)), 'MODEL_NOT_ONNX')
  refused(write(folder, new TextEncoder().encode('#!/bin/sh\n')), 'MODEL_NOT_ONNX')
  refused(write(folder, external({ location: 'w.bin' }).subarray(0, 30)), 'MODEL_NOT_ONNX')
})

test.run()
