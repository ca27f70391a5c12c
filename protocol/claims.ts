import { bigintToBytes, concat, u32 } from './bytes.ts'
import { decode } from './codec.ts'
import { AttestationSchema, type JobAttestation } from './gen/sinter_pb.js'
import { HASH_BYTES, hash, sha256 } from './hash.ts'
import { type MerkleTree, merkleTree } from './merkle.ts'
import { openReceipt } from './rules/receipt.ts'

/** Bytes of an attestation that are posted on chain in one transaction. */
export const CHUNK_BYTES = 16_384

/** Circuits as the hash of a proof's signals begins with them. */
export const CIRCUIT_NUMBERS = { relation: 0, pointwise: 1, product: 2, extremum: 3 } as const

/** What a segment's `signals` has: SHA-256 over the circuit's number and the public signals, 32 bytes each. */
export function signalsHash(circuit: keyof typeof CIRCUIT_NUMBERS, signals: readonly bigint[]): Uint8Array {
  return sha256(concat(Uint8Array.of(CIRCUIT_NUMBERS[circuit]), ...signals.map((signal) => bigintToBytes(signal, 32))))
}

/** A fact in an attestation that the chain can judge. Fields as in `IReferee`; positions count from 0. */
export type Claim =
  | { kind: 'place'; job: number; receiptHash: Uint8Array; price: bigint; index: number; path: Uint8Array }
  | {
      kind: 'trace'
      job: number
      jobs: number
      receiptHash: Uint8Array
      manifest: Uint8Array
      tensors: Uint8Array
      path: Uint8Array
    }
  | { kind: 'proof'; job: number; statement: number; segment: number; signals: Uint8Array; proof: Uint8Array }

/** Leaf of the tree of claims. */
export function claimHash(claim: Claim): Uint8Array {
  switch (claim.kind) {
    case 'place': {
      const { job, receiptHash, price, index, path } = claim
      return hash('claim/place', u32(job), receiptHash, bigintToBytes(price, 16), u32(index), path)
    }
    case 'trace': {
      const { job, jobs, receiptHash, manifest, tensors, path } = claim
      return hash('claim/trace', u32(job), u32(jobs), receiptHash, manifest, tensors, path)
    }
    case 'proof': {
      const { job, statement, segment, signals, proof } = claim
      return hash('claim/proof', u32(job), u32(statement), u32(segment), signals, proof)
    }
  }
}

const NONE = new Uint8Array(HASH_BYTES)
const ofLength = (bytes: Uint8Array): Uint8Array => (bytes.length === HASH_BYTES ? bytes : NONE)

/** What a job claims. A receipt that cannot be opened has the hash 0 and the price 0, for which there is no place. */
function claimsOf(job: JobAttestation, at: number, jobs: number, networkId: Uint8Array): Claim[] {
  const judged = job.receipt === undefined ? null : openReceipt(job.receipt, networkId)
  const receipt = judged?.action === 'accept' ? judged.value : null
  const receiptHash = receipt?.hash ?? NONE
  const place: Claim = {
    kind: 'place',
    job: at,
    receiptHash,
    price: receipt?.price ?? 0n,
    index: job.index,
    path: concat(...job.sumPath.flatMap(({ hash: sibling, sum }) => [sibling, sum])),
  }
  const manifest = receipt?.manifest ?? new Uint8Array()
  const path = concat(...job.tracePath)
  // What is shown is computed again; nothing in it is claimed.
  if (job.opening !== undefined) return [place]
  const proofs = job.statements.flatMap(({ segments }, statement) =>
    segments.map(
      ({ signals, proof }, segment): Claim => ({
        kind: 'proof',
        job: at,
        statement,
        segment,
        signals: ofLength(signals),
        proof,
      }),
    ),
  )
  return [place, { kind: 'trace', job: at, jobs, receiptHash, manifest, tensors: job.tensors, path }, ...proofs]
}

/** An attestation as its digest has it: `chunks` over the SHA-256 of each of its chunks, `tree` over its claims. */
export type AttestationParts = {
  digest: Uint8Array
  length: number
  chunks: MerkleTree
  claims: Claim[]
  tree: MerkleTree
}

/** The bytes of chunk `index`. */
export const chunkOf = (payload: Uint8Array, index: number): Uint8Array =>
  payload.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)

/** Parts of an attestation's canonical encoding. One that does not decode claims nothing. */
export function attestationParts(payload: Uint8Array, networkId: Uint8Array): AttestationParts {
  const count = Math.ceil(payload.length / CHUNK_BYTES)
  const chunks = merkleTree(Array.from({ length: count }, (_, i) => sha256(chunkOf(payload, i))))
  const jobs = decode(AttestationSchema, payload)?.jobs ?? []
  const claims = jobs.flatMap((job, at) => claimsOf(job, at, jobs.length, networkId))
  const tree = merkleTree(claims.map(claimHash))
  const digest = hash('attestation', u32(payload.length), chunks.root, u32(claims.length), tree.root)
  return { digest, length: payload.length, chunks, claims, tree }
}
