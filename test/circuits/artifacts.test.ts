import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  checkArtifact,
  readArtifact,
  readArtifactIndex,
  readVerifyingKey,
  verifyingKeyHashes,
} from '../../circuits/artifacts.ts'
import { CIRCUIT_KINDS, SIGNAL_COUNT } from '../../circuits/signals.ts'
import { readProvingKey } from '../../circuits/zkey.ts'
import { codeOf } from './fixtures.ts'

test('every artifact is the one that is pinned', async () => {
  for (const kind of CIRCUIT_KINDS) {
    assert.is((await readVerifyingKey(kind)).nPublic, SIGNAL_COUNT[kind])
    assert.is(readProvingKey(await readArtifact(kind, 'zkey')).publicSignals, SIGNAL_COUNT[kind])
    assert.ok((await readArtifact(kind, 'wasm')).length > 0)
    assert.equal(Object.keys(await verifyingKeyHashes()), [...CIRCUIT_KINDS])
    assert.is((await verifyingKeyHashes())[kind], (await readArtifactIndex())[kind].sha256['vkey.json'])
  }
})

test('an empty, changed or missing file is refused', async () => {
  const expected = (await readArtifactIndex()).relation.sha256['vkey.json']
  const bytes = await readArtifact('relation', 'vkey.json')
  assert.is(await codeOf(() => checkArtifact('key', bytes, expected)), null)
  assert.is(await codeOf(() => checkArtifact('key', new Uint8Array(), expected)), 'ARTIFACT_EMPTY')
  bytes[100]! ^= 1
  assert.is(await codeOf(() => checkArtifact('key', bytes, expected)), 'ARTIFACT_HASH')
  assert.is(await codeOf(() => readArtifact('nothing' as 'relation', 'zkey')), 'ARTIFACT_MISSING')
})

test('a proving key that is cut, foreign or without phase 2 is refused', async () => {
  const key = await readArtifact('pointwise', 'zkey')
  for (const file of [key.subarray(0, 0), key.subarray(0, 11), key.subarray(0, key.length - 1), new Uint8Array(1000)])
    assert.is(await codeOf(() => readProvingKey(file)), 'KEY_FORMAT')
  const { gamma2, delta2 } = readProvingKey(key)
  assert.not.equal(gamma2, delta2)
  // The views lie in the file itself: this makes it the key that a setup without phase 2 leaves behind.
  delta2.set(gamma2)
  assert.is(await codeOf(() => readProvingKey(key)), 'KEY_NO_PHASE2')
})

test.run()
