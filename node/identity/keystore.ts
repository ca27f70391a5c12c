import { createCipheriv, createDecipheriv, pbkdf2, randomBytes, randomUUID, scrypt, timingSafeEqual } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { scryptAsync } from '@noble/hashes/scrypt.js'
import { z } from 'zod'
import { concat, fromHex, toHex } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { keccak256 } from '../../protocol/hash.ts'
import { type Identity, identityFromKey } from './identity.ts'

/**
 * Key files in Web3 Secret Storage version 3, the format geth and most wallets read and write.
 * Written with scrypt; files with pbkdf2-hmac-sha256 can be read too. Only AES-128-CTR, as the format has it.
 */

const Bytes = (length: number) => z.string().regex(new RegExp(`^(0x)?[0-9a-fA-F]{${2 * length}}$`))
const Salt = z.string().regex(/^(0x)?([0-9a-fA-F]{2}){8,64}$/)

const Keystore = z.object({
  version: z.literal(3),
  id: z.string().optional(),
  address: z.string().optional(),
  crypto: z.object({
    cipher: z.literal('aes-128-ctr'),
    cipherparams: z.object({ iv: Bytes(16) }),
    ciphertext: Bytes(32),
    mac: Bytes(32),
    kdf: z.enum(['scrypt', 'pbkdf2']),
    kdfparams: z.record(z.string(), z.unknown()),
  }),
})

// A key file is input from outside: its cost parameters are bounded before they are obeyed (memory 128·n·r bytes, time n·r·p).
const MAX_SCRYPT_BYTES = 1 << 30
const powerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n))
const ScryptParams = z.object({
  dklen: z.literal(32),
  n: z.int().min(2).refine(powerOfTwo),
  r: z.int().min(1).max(32),
  p: z.int().min(1).max(16),
  salt: Salt,
})
const Pbkdf2Params = z.object({
  dklen: z.literal(32),
  c: z.int().min(1).max(10_000_000),
  prf: z.literal('hmac-sha256'),
  salt: Salt,
})

export type KeystoreV3 = z.infer<typeof Keystore>

/** `standard` is what geth writes (256 MiB, about a second). `devnet` is quick and weak: for keys that guard play money only. */
export type KeystoreCost = 'standard' | 'devnet'
const SCRYPT_COST: Record<KeystoreCost, { n: number; r: number; p: number }> = {
  standard: { n: 262_144, r: 8, p: 1 },
  devnet: { n: 1024, r: 8, p: 1 },
}

const pbkdf2Async = promisify(pbkdf2)
/** Node's own scrypt runs off the event loop; OpenSSL refuses n ≥ 2^(16·r), which RFC 7914 forbids and the format's own vector uses. */
async function scryptKey(password: string, salt: Uint8Array, n: number, r: number, p: number): Promise<Uint8Array> {
  const text = password.normalize('NFKC')
  if (Math.log2(n) >= 16 * r) return scryptAsync(text, salt, { N: n, r, p, dkLen: 32 })
  return new Promise((resolve, fail) =>
    scrypt(text, salt, 32, { N: n, r, p, maxmem: MAX_SCRYPT_BYTES + (1 << 20) }, (error, key) =>
      error === null ? resolve(key) : fail(error),
    ),
  )
}

const badFormat = (message: string, cause?: unknown): SinterError =>
  new SinterError('KEYSTORE_FORMAT', message, { cause })

async function deriveKey(crypto: KeystoreV3['crypto'], password: string): Promise<Uint8Array> {
  if (crypto.kdf === 'scrypt') {
    const parsed = ScryptParams.safeParse(crypto.kdfparams)
    if (!parsed.success) throw badFormat('the key file has unusable scrypt parameters', parsed.error)
    const { n, r, p, salt } = parsed.data
    if (128 * n * r * p > MAX_SCRYPT_BYTES) throw badFormat('the scrypt cost of the key file is above 1 GiB')
    return scryptKey(password, fromHex(salt), n, r, p)
  }
  const parsed = Pbkdf2Params.safeParse(crypto.kdfparams)
  if (!parsed.success) throw badFormat('the key file has unusable pbkdf2 parameters', parsed.error)
  const { c, salt } = parsed.data
  return pbkdf2Async(password.normalize('NFKC'), fromHex(salt), c, 32, 'sha256')
}

const macOf = (derived: Uint8Array, ciphertext: Uint8Array): Uint8Array =>
  keccak256(concat(derived.subarray(16, 32), ciphertext))

/** Encrypts a 32-byte private key. */
export async function encryptKey(
  privateKey: Uint8Array,
  password: string,
  options: { cost?: KeystoreCost } = {},
): Promise<KeystoreV3> {
  const { n, r, p } = SCRYPT_COST[options.cost ?? 'standard']
  const salt = randomBytes(32)
  const iv = randomBytes(16)
  const derived = await scryptKey(password, salt, n, r, p)
  const cipher = createCipheriv('aes-128-ctr', derived.subarray(0, 16), iv)
  const ciphertext = concat(cipher.update(privateKey), cipher.final())
  const bare = (bytes: Uint8Array): string => toHex(bytes).slice(2)
  return {
    version: 3,
    id: randomUUID(),
    address: identityFromKey(privateKey).address.slice(2),
    crypto: {
      cipher: 'aes-128-ctr',
      cipherparams: { iv: bare(iv) },
      ciphertext: bare(ciphertext),
      kdf: 'scrypt',
      kdfparams: { dklen: 32, n, r, p, salt: bare(salt) },
      mac: bare(macOf(derived, ciphertext)),
    },
  }
}

/**
 * Private key (32 bytes) of a parsed key file. Throws `KEYSTORE_FORMAT` for a file that is not version 3 or whose costs
 * are out of bounds, `KEYSTORE_PASSWORD` when the MAC does not match.
 */
export async function decryptKey(file: unknown, password: string): Promise<Uint8Array> {
  const parsed = Keystore.safeParse(file)
  if (!parsed.success) throw badFormat('not a Web3 Secret Storage file of version 3', parsed.error)
  const { crypto, address } = parsed.data
  const ciphertext = fromHex(crypto.ciphertext)
  const derived = await deriveKey(crypto, password)
  if (!timingSafeEqual(macOf(derived, ciphertext), fromHex(crypto.mac)))
    throw new SinterError('KEYSTORE_PASSWORD', 'the password does not open this key file')
  const cipher = createDecipheriv('aes-128-ctr', derived.subarray(0, 16), fromHex(crypto.cipherparams.iv))
  const key = new Uint8Array(concat(cipher.update(ciphertext), cipher.final()))
  // The MAC does not cover the address: a file whose label names another account is refused rather than half believed.
  if (address !== undefined && address.toLowerCase().replace(/^0x/, '') !== identityFromKey(key).address.slice(2))
    throw badFormat('the address in the key file is not the address of its key')
  return key
}

/**
 * Password from a file (its first line) or an environment variable, the file first.
 * Throws `KEYSTORE_PASSWORD` when neither gives one: a password is never a command-line argument, where `ps` shows it.
 */
export async function readPassword(source: { file?: string | undefined; env?: string | undefined }): Promise<string> {
  if (source.file !== undefined) {
    const text = await readFile(source.file, 'utf8').catch((cause) => {
      throw new SinterError('KEYSTORE_PASSWORD', `the password file cannot be read: ${source.file}`, { cause })
    })
    const line = text.split(/\r?\n/, 1)[0] ?? ''
    if (line !== '') return line
  }
  const value = source.env === undefined ? undefined : process.env[source.env]
  if (value !== undefined && value !== '') return value
  throw new SinterError('KEYSTORE_PASSWORD', 'no password: name a password file or set the password variable')
}

/** Opens an existing key file. Throws `KEYSTORE_MISSING`, `KEYSTORE_FORMAT` or `KEYSTORE_PASSWORD`. */
export async function unlockKeystore(path: string, password: string): Promise<Identity> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const [code, message] =
      cause.code === 'ENOENT'
        ? ['KEYSTORE_MISSING', `there is no key file at ${path}`]
        : ['KEYSTORE_FORMAT', `the key file cannot be read: ${path}`]
    throw new SinterError(code!, message!, { cause })
  })
  let file: unknown
  try {
    file = JSON.parse(text)
  } catch {
    // The parser's own message quotes the file, so it is not kept as a cause.
    throw badFormat(`the key file is not JSON: ${path}`)
  }
  return identityFromKey(await decryptKey(file, password))
}

/** Makes a new key and writes it, readable by its owner only. Never overwrites: throws `KEYSTORE_EXISTS`. */
export async function createKeystore(
  path: string,
  password: string,
  options: { cost?: KeystoreCost; privateKey?: Uint8Array } = {},
): Promise<Identity> {
  if (password === '') throw new SinterError('KEYSTORE_PASSWORD', 'the password of a new key file must not be empty')
  const privateKey = options.privateKey ?? secp256k1.utils.randomSecretKey()
  const file = await encryptKey(privateKey, password, options)
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  // Written aside, synced, then linked into place: a crash leaves no half file under the real name, and link() refuses to overwrite.
  const aside = `${path}.${randomUUID()}`
  const handle = await open(aside, 'wx', 0o600)
  try {
    await handle.writeFile(`${JSON.stringify(file, null, 2)}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  try {
    await link(aside, path)
  } catch (cause) {
    throw new SinterError('KEYSTORE_EXISTS', `the key file could not be created: ${path}`, { cause })
  } finally {
    await rm(aside, { force: true })
  }
  return identityFromKey(privateKey)
}

/** The identity of a key file, made on first use. */
export async function loadIdentity(options: {
  path: string
  password: string
  cost?: KeystoreCost
}): Promise<Identity> {
  try {
    return await unlockKeystore(options.path, options.password)
  } catch (error) {
    if (!(error instanceof SinterError) || error.code !== 'KEYSTORE_MISSING') throw error
  }
  return createKeystore(options.path, options.password, options.cost === undefined ? {} : { cost: options.cost })
}
