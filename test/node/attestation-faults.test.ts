import { create } from '@bufbuild/protobuf'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { commitJob } from '../../node/attestation/commit.ts'
import { FAULTS, type Fault } from '../../node/attestation/faults.ts'
import { packedTree } from '../../node/attestation/packed-tree.ts'
import type { BatchFacts } from '../../node/attestation/place.ts'
import { proveJob } from '../../node/attestation/prove.ts'
import type { AttestationResult, VerifyContext } from '../../node/attestation/verify.ts'
import { bytesInt16 } from '../../node/jobs/ledger.ts'
import { bigintToBytes, bytesToBigint } from '../../protocol/bytes.ts'
import { jobChallenge } from '../../protocol/challenge.ts'
import type { Payload } from '../../protocol/envelope.ts'
import { FIELD_PRIME } from '../../protocol/field.ts'
import { JobAttestationSchema } from '../../protocol/gen/sinter_pb.js'
import { merkleTree } from '../../protocol/merkle.ts'
import { TREE } from '../../protocol/statement.ts'
import { jobRoot, jobTree } from '../../protocol/trace.ts'
import { idealProofs } from './attestation-ideal.ts'
import {
  type Attested,
  attest,
  bytes32,
  CONSUMERS,
  committer,
  copyOf,
  factsOf,
  keyOf,
  makeWorld,
  verify,
} from './attestation-world.ts'

type Message = Payload<'attestation'>

const { pool, verifier } = await idealProofs()
const world = makeWorld()
const honest = await attest(world, pool)
const reached = new Set<Fault>()

const faultsOf = ({ findings }: AttestationResult): (Fault | null)[] => {
  for (const { fault } of findings) if (fault !== null) reached.add(fault)
  return findings.map(({ fault }) => fault)
}

/** Verifies a changed copy of an attestation. */
async function changed(
  from: Attested,
  change: (message: Message, facts: BatchFacts) => void,
  overrides: Partial<VerifyContext> = {},
): Promise<AttestationResult> {
  const message = copyOf(from.message)
  const facts = structuredClone(from.facts)
  change(message, facts)
  const result = await verify({ facts, message }, verifier, world, overrides)
  faultsOf(result)
  return result
}

/** A change to the first job is found there and nowhere else, and one forged draw condemns the batch. */
async function spoils(fault: Fault, change: (job: Message['jobs'][number]) => void): Promise<void> {
  const { findings, verdicts } = await changed(honest, ({ jobs }) => change(jobs[0]!))
  assert.equal([findings[0]!.fault, findings[1]!.fault], [fault, null], findings[0]!.detail)
  assert.equal(
    findings.map(({ verdict }) => verdict),
    ['forged', 'valid'],
  )
  assert.equal(verdicts, ['forged', 'forged'])
}

/** A change after which the opened jobs are not the drawn ones condemns every draw. */
async function condemns(fault: Fault, change: (message: Message, facts: BatchFacts) => void): Promise<void> {
  const result = await changed(honest, change)
  assert.ok(faultsOf(result).includes(fault), `${fault} expected, ${faultsOf(result)} found`)
  assert.equal(result.verdicts, ['forged', 'forged'])
  assert.is(result.proofs, 0)
}

const job = (message: Message, i = 0) => message.jobs[i]!
const indexOf = (message: Message, i = 0): number => job(message, i).index
const flip = (bytes: Uint8Array, at = 0): void => {
  bytes[at]! ^= 1
}

test('the honest attestation is valid for every draw, and its digest belongs to the voter', async () => {
  const { verdicts, findings, digest, proofs, leaves } = await verify(honest, verifier, world)
  assert.equal(verdicts, ['valid', 'valid'])
  assert.equal(
    findings.map(({ fault }) => fault),
    [null, null],
  )
  assert.ok(proofs >= 8 && leaves > 40)
  const other = await verify(honest, verifier, world, { voter: keyOf('another voter').address })
  assert.not.equal(other.digest, digest)
})

test('two draws of one job open it once', async () => {
  const points = [world.points[0]!, world.points[0]!]
  const attested = await attest(world, pool, { points })
  assert.is(attested.message.jobs.length, 1)
  assert.equal((await verify(attested, verifier, world)).verdicts, ['valid', 'valid'])
})

test('ATTESTATION_BATCH: another batch', () => condemns('ATTESTATION_BATCH', ({ batch }) => flip(batch)))

test('JOBS_ORDER: reversed, twice, too many', async () => {
  await condemns('JOBS_ORDER', ({ jobs }) => jobs.reverse())
  await condemns('JOBS_ORDER', (message) => {
    message.jobs[1] = message.jobs[0]!
  })
  await condemns('JOBS_ORDER', ({ jobs }) => jobs.push({ ...jobs[1]!, index: 100 }))
})

test('DRAW_NOT_OPENED: a job left out, or all', async () => {
  await condemns('DRAW_NOT_OPENED', ({ jobs }) => jobs.pop())
  await condemns('DRAW_NOT_OPENED', ({ jobs }) => jobs.shift())
  await condemns('DRAW_NOT_OPENED', ({ jobs }) => jobs.splice(0))
})

test('JOB_NOT_DRAWN: a job of the batch that no point named, in place of one or besides', async () => {
  const points = [world.points[0]!, world.points[0]!]
  const one = await attest(world, pool, { points })
  const extra = honest.message.jobs.find(({ index }) => index !== indexOf(one.message))!
  const result = await changed(one, (message) => {
    message.jobs = [...message.jobs, extra].sort((a, b) => a.index - b.index)
  })
  assert.equal(faultsOf(result), ['JOB_NOT_DRAWN'])
  assert.equal(result.verdicts, ['forged', 'forged'])
  await condemns('JOB_NOT_DRAWN', (_, facts) => {
    facts.points = [0n, 1n]
  })
})

test('a job too many cannot choose between two traces that were anchored for one job', async () => {
  const points = [world.points[0]!, world.points[0]!]
  const one = await attest(world, pool, { points })
  const record = world.jobs[indexOf(one.message)]!
  const served = {
    receiptHash: record.receiptHash,
    jobKey: record.jobKey,
    inputs: record.inputs.map(bytesInt16),
    served: record.served.map(bytesInt16),
  }
  const first = await commitJob(committer, world.model, served)
  const roots = merkleTree([bytes32('another trace'), first.root])
  const facts = { ...factsOf(world, roots.root), points }
  const challenge = jobChallenge(facts.challenge, record.receiptHash, world.model.cid.bytes)
  const proof = await proveJob(pool, world.model, first, challenge, 2)
  const { receipt, voucher, index, sumPath } = job(one.message)
  const chosen = create(JobAttestationSchema, {
    ...{ receipt: receipt!, voucher, index, sumPath },
    tracePath: roots.path(1),
    ...proof,
  })
  const junk = create(JobAttestationSchema, { index: 0 })
  const result = await changed({ ...one, facts }, (message) => {
    message.jobs = [junk, chosen]
  })
  assert.equal(faultsOf(result), ['RECEIPT_MALFORMED'])
  assert.equal(result.verdicts, ['forged', 'forged'])
})

test('RECEIPT_MALFORMED: missing, with a byte too many, unsigned', async () => {
  await condemns('RECEIPT_MALFORMED', (message) => {
    delete (job(message) as { receipt?: unknown }).receipt
  })
  await condemns('RECEIPT_MALFORMED', (message) => {
    job(message).receipt!.payload = new Uint8Array([...job(message).receipt!.payload, 0])
  })
  await condemns('RECEIPT_MALFORMED', (message) => {
    job(message).receipt!.signature = new Uint8Array(65)
  })
})

test('RECEIPT_SIGNER: a receipt of another provider, or a batch of another', async () => {
  await condemns('RECEIPT_SIGNER', (message) => flip(job(message).receipt!.signature, 64))
  await condemns('RECEIPT_SIGNER', (_, { challenge }) => {
    challenge.provider = keyOf('another provider').address
  })
  const foreign = makeWorld({ signer: keyOf('another provider') })
  await condemns('RECEIPT_SIGNER', (message) => {
    const { payload, signature } = foreign.jobs[indexOf(message)]!
    Object.assign(job(message).receipt!, { payload, signature })
  })
})

test('RECEIPT_RANGE: a session or a sequence number that the batch does not hold', async () => {
  await condemns('RECEIPT_RANGE', (_, { ranges }) => flip(ranges[0]!.session))
  await condemns('RECEIPT_RANGE', (message, { ranges }) => {
    ranges[0]!.fromSeq = world.jobs[indexOf(message)]!.seq + 1n
  })
  await condemns('RECEIPT_RANGE', (message, { ranges }) => {
    ranges[0]!.toSeq = world.jobs[indexOf(message)]!.seq - 1n
  })
  await condemns('RECEIPT_RANGE', (_, facts) => {
    facts.ranges = []
  })
})

test('VOUCHER_SIGNATURE: none, of another receipt, session, chain or contract', async () => {
  await condemns('VOUCHER_SIGNATURE', (message) => {
    job(message).voucher = new Uint8Array()
  })
  await condemns('VOUCHER_SIGNATURE', (message) => {
    job(message).voucher = world.jobs[indexOf(message) - 1]!.voucher!
  })
  await condemns('VOUCHER_SIGNATURE', (message) => {
    job(message).voucher = job(message, 1).voucher
  })
  await condemns('VOUCHER_SIGNATURE', (_, { ranges }) => {
    ranges[0]!.signer = CONSUMERS[1].address
  })
  for (const vouchers of [
    { chainId: 1, contract: `0x${'e5'.repeat(20)}` as const },
    { chainId: 31_337, contract: `0x${'e6'.repeat(20)}` as const },
  ]) {
    const result = await changed(honest, () => {}, { vouchers })
    assert.equal(faultsOf(result).slice(0, 2), ['VOUCHER_SIGNATURE', 'VOUCHER_SIGNATURE'])
    assert.equal(result.verdicts, ['forged', 'forged'])
  }
})

test('a receipt under another network id is nobody’s', async () => {
  const { findings, verdicts } = await changed(honest, () => {}, { networkId: bytes32('another network') })
  assert.ok(['RECEIPT_SIGNER', 'RECEIPT_MALFORMED'].includes(findings[0]!.fault!))
  assert.equal(verdicts, ['forged', 'forged'])
})

test('SUM_PATH: another receipt of equal price, another index, path, root or total', async () => {
  await condemns('SUM_PATH', (message) => {
    // Genuine and acknowledged, but anchored one place earlier.
    const { payload, signature, voucher } = world.jobs[indexOf(message) - 1]!
    Object.assign(job(message), { voucher })
    Object.assign(job(message).receipt!, { payload, signature })
  })
  await condemns('SUM_PATH', (message) => {
    job(message).index += 1
  })
  await condemns('SUM_PATH', (message) => flip(job(message).sumPath[0]!.hash))
  await condemns('SUM_PATH', (message) => flip(job(message).sumPath[0]!.sum, 15))
  await condemns('SUM_PATH', (message) => {
    job(message).sumPath[0]!.sum = new Uint8Array(15)
  })
  await condemns('SUM_PATH', (message) => job(message).sumPath.pop())
  await condemns('SUM_PATH', (_, { root }) => flip(root))
  await condemns('SUM_PATH', (_, facts) => {
    facts.total += 1n
  })
})

test('RECEIPT_POSITION: a tree that lists the receipts in another order', async () => {
  const swapped = makeWorld({
    order: (jobs) => [...jobs.slice(1, 7), jobs[0]!, ...jobs.slice(7)],
  })
  const attested = await attest(swapped, pool)
  const result = await verify(attested, verifier, swapped)
  assert.is(faultsOf(result)[0], 'RECEIPT_POSITION')
  assert.equal(result.verdicts, ['forged', 'forged'])
})

test('RECEIPT_UNITS: more work than the model has, whatever the consumer acknowledged', async () => {
  const inflated = makeWorld({ receipt: (fields) => ({ ...fields, units: 2n * (fields.units as bigint) }) })
  const result = await verify(await attest(inflated, pool), verifier, inflated)
  assert.equal(faultsOf(result), ['RECEIPT_UNITS', 'RECEIPT_UNITS'])
  assert.equal(result.verdicts, ['forged', 'forged'])
})

test('TREE_COUNT: a tree too few or too many', async () => {
  await spoils('TREE_COUNT', ({ trees }) => trees.pop())
  await spoils('TREE_COUNT', ({ trees }) => trees.push(trees[0]!))
  await spoils('TREE_COUNT', ({ trees }) => trees.splice(0))
})

test('TREE_PATH: roots, paths and order', async () => {
  await spoils('TREE_PATH', ({ trees }) => trees.reverse())
  await spoils('TREE_PATH', ({ trees }) => flip(trees[1]!.root))
  await spoils('TREE_PATH', ({ trees }) => flip(trees[1]!.path[0]!))
  await spoils('TREE_PATH', ({ trees }) => trees[1]!.path.pop())
  await spoils('TREE_PATH', ({ trees }) => {
    trees[0]!.root = new Uint8Array(31)
  })
  await spoils('TREE_PATH', ({ trees }) => trees[0]!.path.push(new Uint8Array(32)))
})

test('TRACE_PATH: trees of another job, and a trace that was never anchored', async () => {
  await spoils('TRACE_PATH', (each) => flip(each.tracePath[0]!))
  await spoils('TRACE_PATH', (each) => each.tracePath.pop())
  const result = await changed(honest, (_, { challenge }) => flip(challenge.traceRoot))
  assert.equal(result.verdicts, ['forged', 'forged'])
})

test('LEAF_COUNT and LEAF_PATH: leaves fewer, more, moved, or of other bytes', async () => {
  await spoils('LEAF_COUNT', ({ leaves }) => leaves.pop())
  await spoils('LEAF_COUNT', ({ leaves }) => leaves.push(leaves[0]!))
  await spoils('LEAF_PATH', ({ leaves }) => {
    leaves.push(leaves.splice(leaves.length - 2, 1)[0]!)
  })
  await spoils('LEAF_PATH', ({ leaves }) => flip(leaves.at(-1)!.leaf))
  await spoils('LEAF_PATH', ({ leaves }) => leaves[0]!.path.pop())
  await spoils('LEAF_PATH', ({ leaves }) => {
    leaves.at(-1)!.leaf = new Uint8Array(33)
  })
})

test('STATEMENT_COUNT and SEGMENT_COUNT: statements left out, repeated, or cut', async () => {
  await spoils('STATEMENT_COUNT', ({ statements }) => statements.pop())
  await spoils('STATEMENT_COUNT', ({ statements }) => statements.push(statements[0]!))
  await spoils('SEGMENT_COUNT', ({ statements }) => statements[0]!.segments.pop())
  await spoils('SEGMENT_COUNT', ({ statements }) => statements.at(-1)!.segments.push(statements[0]!.segments[0]!))
})

test('STAGE: a commitment where nothing is staged', async () => {
  for (const at of [0, -1])
    await spoils('STAGE', ({ statements }) => {
      statements.at(at)!.segments[0]!.stage = new Uint8Array(32)
    })
})

test('ACCUMULATOR: a last link that the prover chooses, or one that is no field element', async () => {
  await spoils('ACCUMULATOR', ({ statements }) => {
    statements[0]!.segments.at(-1)!.accumulator = bigintToBytes(1n, 32)
  })
  await spoils('ACCUMULATOR', ({ statements }) => {
    statements.at(-1)!.segments[0]!.accumulator = bigintToBytes(1n, 32)
  })
  const chained = honest.message.jobs.findIndex(({ statements }) =>
    statements.some(({ segments }) => segments.length > 1),
  )
  const link = (message: Message) =>
    job(message, chained).statements.find(({ segments }) => segments.length > 1)!.segments[0]!
  for (const accumulator of [new Uint8Array(), bigintToBytes(1n, 31), bigintToBytes(FIELD_PRIME, 32)]) {
    const result = await changed(honest, (message) => {
      link(message).accumulator = accumulator
    })
    assert.is(faultsOf(result)[chained], 'ACCUMULATOR')
  }
  const aliased = await changed(honest, (message) => {
    const value = bytesToBigint(link(message).accumulator) + FIELD_PRIME
    link(message).accumulator = bigintToBytes(value % 2n ** 256n, 32)
  })
  assert.is(faultsOf(aliased)[chained], 'ACCUMULATOR')
  const moved = await changed(honest, (message) => {
    link(message).accumulator = bigintToBytes(1n, 32)
  })
  assert.is(faultsOf(moved)[chained], 'PROOF_PAIRING')
})

test('PROOF_PAIRING: statements reordered, spliced from the other job, or of nothing', async () => {
  await spoils('PROOF_PAIRING', ({ statements }) => {
    const [first, second] = statements.filter(({ segments }) => segments.length === 1)
    const { proof } = first!.segments[0]!
    first!.segments[0]!.proof = second!.segments[0]!.proof
    second!.segments[0]!.proof = proof
  })
  const result = await changed(honest, (message) => {
    job(message).statements.at(-1)!.segments[0]!.proof = job(message, 1).statements.at(-1)!.segments[0]!.proof
  })
  assert.equal(faultsOf(result), ['PROOF_PAIRING', null])
  await spoils('PROOF_POINTS', ({ statements }) => {
    statements[0]!.segments[0]!.proof = new Uint8Array(255)
  })
})

test('PROOF_SIGNALS: a leaf committed as a number beyond the field', async () => {
  // The remainder leaf of the last op, which is always opened: the same to the circuit, another to the tree.
  const aliased: typeof commitJob = async (committer, model, served) => {
    const real = await commitJob(committer, model, served)
    const { output } = model.manifest.ops.at(-1)!
    const trees = real.trees.map((each) => {
      if (each.spec.tensor !== output || each.spec.tree !== TREE.rem) return each
      const leaves = Array.from({ length: each.spec.count }, (_, i) => each.tree.leaf(i))
      return { ...each, tree: packedTree(leaves.map((leaf) => bigintToBytes(bytesToBigint(leaf) + FIELD_PRIME, 32))) }
    })
    const tensors = jobTree(trees.map(({ spec, tree }) => ({ ...spec, root: tree.root })))
    return { ...real, trees, tensors, root: jobRoot(served.receiptHash, model.cid.bytes, tensors.root) }
  }
  const result = await verify(await attest(world, pool, { commit: aliased }), verifier, world)
  assert.equal(faultsOf(result), ['PROOF_SIGNALS', 'PROOF_SIGNALS'])
  assert.equal(result.verdicts, ['forged', 'forged'])
})

test('every fault that verification can find was found here or is the voter’s', () => {
  const elsewhere: Fault[] = [
    'ATTESTATION_UNAVAILABLE',
    'MANIFEST_INVALID',
    'MODEL_UNAVAILABLE',
    'INPUT_ROOT',
    'OUTPUT_ROOT',
    'TOLERANCE_CONCEDED',
    'OPENING',
    'TOLERANCE_EXCEEDED',
  ]
  assert.equal(
    FAULTS.filter((fault) => !reached.has(fault) && !elsewhere.includes(fault)),
    [],
  )
})

test.run()
