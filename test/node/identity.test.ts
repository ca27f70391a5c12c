import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { addressOfPeer, identityFromKey, publicKeyOfPeer } from '../../node/identity/identity.ts'
import {
  createKeystore,
  decryptKey,
  encryptKey,
  loadIdentity,
  readPassword,
  unlockKeystore,
} from '../../node/identity/keystore.ts'
import { fromHex, toHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'

/** The two test vectors of the Web3 Secret Storage definition, version 3. */
const SECRET = '0x7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d'
const SCRYPT_VECTOR = {
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '83dbcc02d8ccb40e466191a123791e0e' },
    ciphertext: 'd172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c',
    kdf: 'scrypt',
    kdfparams: {
      dklen: 32,
      n: 262144,
      r: 1,
      p: 8,
      salt: 'ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19',
    },
    mac: '2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097',
  },
  id: '3198bc9c-6672-5ab3-d995-4942343ae5b6',
  version: 3,
}
const PBKDF2_VECTOR = {
  crypto: {
    cipher: 'aes-128-ctr',
    cipherparams: { iv: '6087dab2f9fdbbfaddc31a909735c1e6' },
    ciphertext: '5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46',
    kdf: 'pbkdf2',
    kdfparams: {
      c: 262144,
      dklen: 32,
      prf: 'hmac-sha256',
      salt: 'ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd',
    },
    mac: '517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2',
  },
  id: '3198bc9c-6672-5ab3-d995-4942343ae5b6',
  version: 3,
}

const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
  } catch (error) {
    assert.instance(error, SinterError)
    return (error as SinterError).code
  }
  return 'none'
}

let folder = ''
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sinter-identity-'))
})
test.after(() => rm(folder, { recursive: true, force: true }))

test('the published scrypt and pbkdf2 vectors open', async () => {
  assert.is(toHex(await decryptKey(SCRYPT_VECTOR, 'testpassword')), SECRET)
  assert.is(toHex(await decryptKey(PBKDF2_VECTOR, 'testpassword')), SECRET)
})

test('a wrong password, a changed ciphertext and a changed MAC are KEYSTORE_PASSWORD', async () => {
  const file = await encryptKey(fromHex(SECRET), 'right', { cost: 'devnet' })
  assert.is(toHex(await decryptKey(file, 'right')), SECRET)
  assert.is(await codeOf(decryptKey(file, 'wrong')), 'KEYSTORE_PASSWORD')
  const flip = (hex: string): string => (hex[0] === '0' ? '1' : '0') + hex.slice(1)
  const crypto = file.crypto
  assert.is(
    await codeOf(decryptKey({ ...file, crypto: { ...crypto, ciphertext: flip(crypto.ciphertext) } }, 'right')),
    'KEYSTORE_PASSWORD',
  )
  assert.is(
    await codeOf(decryptKey({ ...file, crypto: { ...crypto, mac: flip(crypto.mac) } }, 'right')),
    'KEYSTORE_PASSWORD',
  )
})

test('malformed files and hostile costs are KEYSTORE_FORMAT, before any work', async () => {
  const file = await encryptKey(fromHex(SECRET), 'p', { cost: 'devnet' })
  const withParams = (kdfparams: object): object => ({
    ...file,
    crypto: { ...file.crypto, kdfparams: { ...file.crypto.kdfparams, ...kdfparams } },
  })
  const started = Date.now()
  const bad: unknown[] = [
    null,
    {},
    { ...file, version: 1 },
    { ...file, crypto: { ...file.crypto, cipher: 'aes-128-cbc' } },
    { ...file, crypto: { ...file.crypto, ciphertext: 'zz' } },
    { ...file, address: '00'.repeat(20) },
    withParams({ n: 1000 }),
    withParams({ n: 2 ** 24, r: 32 }),
    withParams({ p: 4096 }),
    withParams({ dklen: 16 }),
  ]
  for (const each of bad) assert.is(await codeOf(decryptKey(each, 'p')), 'KEYSTORE_FORMAT')
  assert.ok(Date.now() - started < 2000)
})

test('one key is peer id and EVM address, and a peer id gives the address back', () => {
  // The first account of the common development mnemonic, known to every EVM tool.
  const identity = identityFromKey(fromHex('ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80'))
  assert.is(identity.address, '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266')
  assert.is(addressOfPeer(identity.peerId), identity.address)
  assert.is(addressOfPeer(identity.peerId.toString()), identity.address)
  assert.is(toHex(publicKeyOfPeer(identity.peerId)), toHex(identity.publicKey))
  assert.is(identity.publicKey.length, 33)
  const ed25519 = '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5'
  assert.throws(
    () => addressOfPeer(ed25519),
    (e: unknown) => (e as SinterError).code === 'PEER_KEY',
  )
  assert.throws(
    () => addressOfPeer('nonsense'),
    (e: unknown) => (e as SinterError).code === 'PEER_KEY',
  )
  assert.throws(
    () => identityFromKey(new Uint8Array(32)),
    (e: unknown) => (e as SinterError).code === 'IDENTITY_KEY',
  )
})

test('the private key is in no printed form of an identity', () => {
  const identity = identityFromKey(fromHex(SECRET))
  const key = SECRET.slice(2)
  const asList = Array.from(fromHex(SECRET).slice(0, 8)).join(',')
  for (const text of [JSON.stringify(identity), inspect(identity, { depth: 9 }), JSON.stringify({ ...identity })]) {
    assert.not.ok(text.includes(key))
    assert.not.ok(text.replaceAll(/\s/g, '').includes(asList))
  }
})

test('a keystore is made once, opened again, private to its owner and never overwritten', async () => {
  const path = join(folder, 'keys', 'node.json')
  const made = await loadIdentity({ path, password: 'secret', cost: 'devnet' })
  const again = await loadIdentity({ path, password: 'secret', cost: 'devnet' })
  assert.is(again.peerId.toString(), made.peerId.toString())
  assert.equal(await readdir(join(folder, 'keys')), ['node.json'])
  if (process.platform !== 'win32') assert.is((await stat(path)).mode & 0o777, 0o600)
  assert.not.ok((await readFile(path, 'utf8')).includes(toHex(made.privateKey).slice(2)))
  assert.is(await codeOf(createKeystore(path, 'other', { cost: 'devnet' })), 'KEYSTORE_EXISTS')
  assert.is(await codeOf(unlockKeystore(path, 'other')), 'KEYSTORE_PASSWORD')
  assert.is(await codeOf(unlockKeystore(join(folder, 'none.json'), 'x')), 'KEYSTORE_MISSING')
  assert.is(await codeOf(createKeystore(join(folder, 'b.json'), '')), 'KEYSTORE_PASSWORD')
  const torn = join(folder, 'torn.json')
  await writeFile(torn, (await readFile(path, 'utf8')).slice(0, 100))
  assert.is(await codeOf(loadIdentity({ path: torn, password: 'secret' })), 'KEYSTORE_FORMAT')
})

test('a password comes from the first line of a file, then from the environment', async () => {
  const file = join(folder, 'password')
  await writeFile(file, 'from file\nsecond line\n')
  process.env.SINTER_TEST_PASSWORD = 'from env'
  assert.is(await readPassword({ file, env: 'SINTER_TEST_PASSWORD' }), 'from file')
  assert.is(await readPassword({ env: 'SINTER_TEST_PASSWORD' }), 'from env')
  delete process.env.SINTER_TEST_PASSWORD
  assert.is(await codeOf(readPassword({ env: 'SINTER_TEST_PASSWORD' })), 'KEYSTORE_PASSWORD')
  assert.is(await codeOf(readPassword({ file: join(folder, 'absent') })), 'KEYSTORE_PASSWORD')
})

test.run()
