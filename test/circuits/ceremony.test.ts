import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as snarkjs from 'snarkjs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readPhase1 } from '../../circuits/artifacts.ts'
import {
  applyBeacon,
  contribute,
  fileHash,
  makePhase1,
  preparePhase1,
  startKey,
  verifyingKeyFile,
  verifyKey,
  verifyPhase1,
} from '../../circuits/ceremony.ts'
import { compileSource } from '../../circuits/compile.ts'
import { prepareKey, type VerifyingKey } from '../../circuits/groth16.ts'
import { ceremonyBeacon, ceremonyContribute, ceremonyVerify } from '../../node/commands/ceremony.ts'
import { codeOf } from './fixtures.ts'

const BEACON = 'b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c'

/* A whole ceremony, for a circuit of a few constraints. */

const folder = await mkdtemp(join(tmpdir(), 'sinter-ceremony-test-'))
const at = (name: string): string => join(folder, name)
const source = (name: string, body: string) =>
  writeFile(
    at(`${name}.circom`),
    `pragma circom 2.2.0;
     template T() { signal input y; signal input x; signal square <== x * x; ${body} }
     component main {public [y]} = T();`,
  )
await source('cube', 'y === square * x;')
await source('other', 'y === square * square;')
const { r1cs } = await compileSource(at('cube.circom'), folder)
const { r1cs: otherCircuit } = await compileSource(at('other.circom'), folder)
for (const name of ['phase1', 'phase1-other']) await makePhase1(at(name), at('powers'), 4, BEACON)
for (const name of ['phase1', 'phase1-other']) await preparePhase1(at(name), at(`${name}.prepared`))
const prepared = at('phase1.prepared')
const [start, first, second, final] = ['start', 'first', 'second', 'final'].map((name) => at(`${name}.zkey`)) as [
  string,
  string,
  string,
  string,
]
await startKey(r1cs, prepared, start)

test.after(async () => {
  await (await snarkjs.curves.getCurveFromName('bn128')).terminate()
  await rm(folder, { recursive: true, force: true })
})

/** A copy with byte `index` (from the end if negative) changed. */
async function changed(path: string, index: number): Promise<string> {
  const bytes = await readFile(path)
  const place = index < 0 ? bytes.length + index : index
  bytes[place] = bytes[place]! ^ 1
  const to = `${path}.changed`
  await writeFile(to, bytes)
  return to
}

test('a first phase is verified, and preparing it is deterministic', async () => {
  await verifyPhase1(at('phase1'))
  const damaged = await changed(at('phase1'), 400)
  assert.is(await codeOf(() => verifyPhase1(damaged)), 'CEREMONY_PHASE1')
  assert.is(await codeOf(() => verifyPhase1(at('cube.circom'))), 'CEREMONY_PHASE1')
  await preparePhase1(at('phase1'), at('again.prepared'))
  assert.is(await fileHash(at('again.prepared')), await fileHash(prepared))
})

test('the phase 1 of our keys is the pinned file, and a chain of contributions', async () => {
  await writeFile(at('ours'), await readPhase1())
  await verifyPhase1(at('ours'))
})

test('a key without a second phase is valid to snarkjs, forges anything, and is refused', async () => {
  assert.is(await snarkjs.zKey.verifyFromR1cs(r1cs, prepared, start), true)
  const key = (await snarkjs.zKey.exportVerificationKey(start)) as VerifyingKey
  assert.equal(key.vk_gamma_2, key.vk_delta_2)

  // x³ = 7 has no solution that anyone would have to know: A = α, B = β, C = −(IC_0 + 7 IC_1).
  const { G1 } = await snarkjs.curves.getCurveFromName('bn128')
  const [constant, factor] = key.IC.map((point) => G1.fromObject(point.map(BigInt))) as [Uint8Array, Uint8Array]
  const inputs = G1.add(constant, G1.timesScalar(factor, 7n))
  const c = G1.toObject(G1.toAffine(G1.neg(inputs))).map(String)
  const forged = { pi_a: key.vk_alpha_1, pi_b: key.vk_beta_2, pi_c: c, protocol: 'groth16', curve: 'bn128' }
  assert.is(await snarkjs.groth16.verify(key, ['7'], forged), true)

  const curve = await snarkjs.curves.getCurveFromName('bn128', { singleThread: true })
  assert.is(await codeOf(() => prepareKey(curve, key)), 'KEY_NO_PHASE2')
  assert.is(await codeOf(() => verifyKey(r1cs, prepared, start)), 'KEY_NO_PHASE2')
})

test('contributions and a beacon make a key that names them in order', async () => {
  const said: string[] = []
  const say = (line: string) => said.push(line)
  await ceremonyContribute(start, first, { name: 'one' }, say)
  const hash = await contribute(first, second, 'two\nvalid, 99 contributions')
  await ceremonyBeacon(second, final, { name: 'beacon', value: `0x${BEACON}`, exponent: '10' }, say)
  const contributions = await verifyKey(r1cs, prepared, final)
  assert.equal(
    contributions.map(({ name }) => name),
    ['one', 'two\nvalid, 99 contributions', 'beacon'],
  )
  assert.is(said[0], `contribution hash ${contributions[0]!.hash}`)
  assert.is(hash, contributions[1]!.hash)
  assert.is(said.at(-1), `contribution hash ${contributions[2]!.hash}`)

  // The same beacon on the same key is the same key; contributing twice is not.
  await applyBeacon(second, at('again.zkey'), 'beacon', BEACON)
  assert.is(await fileHash(at('again.zkey')), await fileHash(final))
  assert.not.equal(await contribute(first, at('again.zkey'), 'two'), hash)
})

test('a key of another circuit or phase 1, and a changed one, are refused', async () => {
  await verifyKey(r1cs, prepared, final)
  assert.is(await codeOf(() => verifyKey(otherCircuit, prepared, final)), 'CEREMONY_KEY')
  assert.is(await codeOf(() => verifyKey(r1cs, at('phase1-other.prepared'), final)), 'CEREMONY_KEY')
  const { length } = await readFile(final)
  // In the header's points, in the points of C and H, and in the transcript.
  for (const index of [200, Math.floor(length / 2), length - 1500, -200]) {
    const code = await codeOf(async () => verifyKey(r1cs, prepared, await changed(final, index)))
    assert.ok(code === 'CEREMONY_KEY' || code === 'KEY_FORMAT', `${index}: ${code}`)
  }
  await writeFile(at('empty.zkey'), '')
  assert.is(await codeOf(() => verifyKey(r1cs, prepared, at('empty.zkey'))), 'KEY_FORMAT')
  assert.is(await codeOf(() => verifyKey(r1cs, prepared, at('missing.zkey'))), 'FILE_UNREADABLE')
})

test('a beacon is hex, of a length and a number of hashes that snarkjs takes', async () => {
  for (const value of ['', 'abc', 'AB', 'zz', '00'.repeat(256)])
    assert.is(await codeOf(() => applyBeacon(second, at('no.zkey'), 'beacon', value)), 'BEACON_FORMAT')
  for (const exponent of [9, 41, 10.5])
    assert.is(await codeOf(() => applyBeacon(second, at('no.zkey'), 'beacon', BEACON, exponent)), 'BEACON_FORMAT')
})

test('the command verifies the circuits it is asked for and quotes what strangers wrote', async () => {
  // The small circuit under the name of one of ours.
  await mkdir(at('keys'))
  await copyFile(final, at('keys/product.zkey'))
  await copyFile(r1cs, at('keys/product.r1cs'))
  const options = { keys: at('keys'), r1cs: at('keys'), prepared }
  const said: string[] = []
  await ceremonyVerify(['product'], options, (line) => said.push(line))
  await writeFile(at('keys/product.vkey.json'), await verifyingKeyFile(final))
  await ceremonyVerify(['product'], options, () => {})
  const named = await fileHash(at('keys/product.vkey.json'))
  assert.is(said[0], `product: valid, 3 contributions, verification key ${named}`)
  assert.is(said.length, 4)
  assert.match(said[2]!, '"two\\nvalid, 99 contributions" 0x')
  // A sound transcript beside the verification key of a setup that nobody saw.
  await writeFile(at('keys/product.vkey.json'), await verifyingKeyFile(second))
  assert.is(await codeOf(() => ceremonyVerify(['product'], options, () => {})), 'CEREMONY_KEY')
  await rm(at('keys/product.vkey.json'))
  await copyFile(otherCircuit, at('keys/product.r1cs'))
  assert.is(await codeOf(() => ceremonyVerify(['product'], options, () => {})), 'CEREMONY_KEY')
  assert.is(await codeOf(() => ceremonyVerify(['nothing'], options, () => {})), 'CIRCUIT_UNKNOWN')
})

test.run()
