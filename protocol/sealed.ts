import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToBigint, concat, equalBytes, u64, utf8 } from './bytes.ts'
import { SinterError } from './errors.ts'
import { hash } from './hash.ts'
import { publicKeyOf } from './signature.ts'

/**
 * Files that only one key can read, for data of jobs that rests on disks of others: spec/storage.md §4. Every value that a key is
 * derived from is in the header or known to both sides; a file is sealed under keys of its own, so no nonce is ever used twice.
 */

/** Bytes of plaintext in a chunk; the last has fewer, and an empty file has one empty chunk. */
export const SEALED_CHUNK = 2 ** 16
/** Bytes that sealing adds to each chunk. */
const TAG = 16
const MAGIC = utf8('SINTER\x01\x01')
const PURPOSES = ['input', 'output'] as const
export type SealedPurpose = (typeof PURPOSES)[number]
/** magic 8, purpose 1, job 32, seq 8, length 8, sender 33, ephemeral 33. */
export const SEALED_HEADER = 8 + 1 + 32 + 8 + 8 + 33 + 33

export type SealedFacts = {
  purpose: SealedPurpose
  /** 32 bytes: the session, or the id of a data set. */
  job: Uint8Array
  /** Place within the job: that of the request, or 0 for the data set as a whole. */
  seq: bigint
  /** Compressed public key of whoever sealed it. */
  sender: Uint8Array
  /** Bytes of plaintext. */
  length: number
}

const chunkCount = (length: number): number => Math.max(1, Math.ceil(length / SEALED_CHUNK))
const nonceOf = (index: number): Uint8Array => concat(new Uint8Array(16), u64(BigInt(index)))

/** X coordinate of the common point, 32 bytes. */
const common = (privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array =>
  secp256k1.getSharedSecret(privateKey, publicKey, true).subarray(1)

/** The context that everything is bound to, and the key. */
function keyed(networkId: Uint8Array, header: Uint8Array, recipient: Uint8Array, shared: Uint8Array) {
  const context = hash('sealed/context', networkId, header, recipient)
  const key = hkdf(sha256, shared, utf8('sinter/1/sealed/key'), context, 32)
  /** What is authenticated with chunk `index` of `count`. */
  const bound = (index: number, count: number): Uint8Array => concat(context, u64(BigInt(index)), u64(BigInt(count)))
  return { key, bound }
}

/**
 * Seals a file for the holder of `recipient` (33 bytes, compressed). `ephemeral` is a fresh random private key for this file alone;
 * used twice, it would give two files one key.
 */
export function sealFile(
  plaintext: Uint8Array,
  init: Omit<SealedFacts, 'sender' | 'length'> & {
    networkId: Uint8Array
    /** Private key of whoever seals. */
    sender: Uint8Array
    recipient: Uint8Array
    ephemeral: Uint8Array
  },
): Uint8Array {
  const { networkId, purpose, job, seq, sender, recipient, ephemeral } = init
  if (job.length !== 32) throw new SinterError('SEALED_JOB', 'the id of a job has 32 bytes')
  const header = concat(
    MAGIC,
    Uint8Array.of(PURPOSES.indexOf(purpose)),
    job,
    u64(seq),
    u64(BigInt(plaintext.length)),
    publicKeyOf(sender),
    publicKeyOf(ephemeral),
  )
  const shared = concat(common(ephemeral, recipient), common(sender, recipient))
  const { key, bound } = keyed(networkId, header, recipient, shared)
  const count = chunkCount(plaintext.length)
  const parts = [header]
  for (let i = 0; i < count; i++)
    parts.push(
      xchacha20poly1305(key, nonceOf(i), bound(i, count)).encrypt(
        plaintext.subarray(i * SEALED_CHUNK, (i + 1) * SEALED_CHUNK),
      ),
    )
  return concat(...parts)
}

/** Whether the bytes begin as a sealed file does. */
export const isSealedFile = (bytes: Uint8Array): boolean => equalBytes(bytes.subarray(0, MAGIC.length), MAGIC)

/** What a sealed file says of itself; true only once it is opened. Throws `SEALED_MALFORMED`, `SEALED_LENGTH`. */
export function sealedFacts(bytes: Uint8Array): SealedFacts {
  const purpose = PURPOSES[bytes[8] ?? 255]
  if (bytes.length < SEALED_HEADER || !equalBytes(bytes.subarray(0, 8), MAGIC) || purpose === undefined)
    throw new SinterError('SEALED_MALFORMED', 'this is no sealed file')
  const length = bytesToBigint(bytes.subarray(49, 57))
  const body = BigInt(bytes.length - SEALED_HEADER)
  if (length > body || body !== length + BigInt(TAG * chunkCount(Number(length))))
    throw new SinterError('SEALED_LENGTH', 'the sealed file is cut short, or longer than it says')
  return {
    purpose,
    job: bytes.slice(9, 41),
    seq: bytesToBigint(bytes.subarray(41, 49)),
    sender: bytes.slice(57, 90),
    length: Number(length),
  }
}

/** Compares what a file says of itself with what is expected, before anything is decrypted. */
function expectFacts(
  facts: SealedFacts,
  expected: Pick<SealedFacts, 'purpose' | 'sender'> & Partial<Pick<SealedFacts, 'job' | 'seq'>>,
): void {
  const no = (code: string, what: string): SinterError => new SinterError(code, `the file is sealed for ${what}`)
  if (facts.purpose !== expected.purpose) throw no('SEALED_PURPOSE', 'another purpose')
  if (expected.job !== undefined && !equalBytes(facts.job, expected.job)) throw no('SEALED_JOB', 'another job')
  if (expected.seq !== undefined && facts.seq !== expected.seq) throw no('SEALED_SEQUENCE', 'another place in the job')
  if (!equalBytes(facts.sender, expected.sender)) throw no('SEALED_SENDER', 'us by somebody else')
}

const forged = (cause: unknown): SinterError =>
  new SinterError('SEALED_FORGED', 'the file was changed, or is not for this key', { cause })

function decrypt(
  bytes: Uint8Array,
  networkId: Uint8Array,
  { length }: SealedFacts,
  reader: Uint8Array,
  shared: () => Uint8Array,
): Uint8Array {
  const header = bytes.subarray(0, SEALED_HEADER)
  let keys: ReturnType<typeof keyed>
  try {
    // Points that are none are refused here.
    keys = keyed(networkId, header, reader, shared())
  } catch (cause) {
    throw forged(cause)
  }
  const { key, bound } = keys
  const count = chunkCount(length)
  const plaintext = new Uint8Array(length)
  for (let i = 0; i < count; i++) {
    const at = SEALED_HEADER + i * (SEALED_CHUNK + TAG)
    try {
      const chunk = bytes.subarray(at, at + SEALED_CHUNK + TAG)
      plaintext.set(xchacha20poly1305(key, nonceOf(i), bound(i, count)).decrypt(chunk), i * SEALED_CHUNK)
    } catch (cause) {
      throw forged(cause)
    }
  }
  return plaintext
}

/**
 * Opens a file sealed for us. What is expected is compared before anything is decrypted: `SEALED_PURPOSE`, `SEALED_JOB`,
 * `SEALED_SEQUENCE`, `SEALED_SENDER`; `SEALED_FORGED` when a chunk was changed, moved or taken from another file, or the file is not for
 * this key, sender, network or what its header says; and what `sealedFacts` throws.
 */
export function openFile(
  bytes: Uint8Array,
  init: {
    networkId: Uint8Array
    /** Our private key. */
    recipient: Uint8Array
    expected: Pick<SealedFacts, 'purpose' | 'sender'> & Partial<Pick<SealedFacts, 'job' | 'seq'>>
  },
): Uint8Array {
  const { networkId, recipient, expected } = init
  const facts = sealedFacts(bytes)
  expectFacts(facts, expected)
  const ephemeral = bytes.subarray(90, SEALED_HEADER)
  return decrypt(bytes, networkId, facts, publicKeyOf(recipient), () =>
    concat(common(recipient, ephemeral), common(recipient, facts.sender)),
  )
}

/**
 * Opens a file that we sealed for another, `recipient`, under `ephemeral`: whoever seals may keep that secret to read its own file again.
 * Throws what `openFile` throws.
 */
export function reopenFile(
  bytes: Uint8Array,
  init: {
    networkId: Uint8Array
    /** Our private key. */
    sender: Uint8Array
    recipient: Uint8Array
    ephemeral: Uint8Array
    expected: Pick<SealedFacts, 'purpose'> & Partial<Pick<SealedFacts, 'job' | 'seq'>>
  },
): Uint8Array {
  const { networkId, sender, recipient, ephemeral, expected } = init
  const facts = sealedFacts(bytes)
  expectFacts(facts, { ...expected, sender: publicKeyOf(sender) })
  return decrypt(bytes, networkId, facts, recipient, () =>
    concat(common(ephemeral, recipient), common(sender, recipient)),
  )
}
