/** Writes the test vectors of the protocol: `node protocol/vectors/generate.ts`. Tests compare them with the code, and the contracts with them. */
import { writeFileSync } from 'node:fs'
import { concat, fromHex, toHex, u32 } from '../bytes.ts'
import { jobChallenge } from '../challenge.ts'
import { encode } from '../codec.ts'
import { samplePoints } from '../draw.ts'
import { commitmentDigest, voteCommitment, voucherDigest } from '../eip712.ts'
import { seal } from '../envelope.ts'
import { RequestSchema, SealedSetSchema, SetIndexSchema, TensorSetSchema } from '../gen/sinter_pb.js'
import { hash, sha256 } from '../hash.ts'
import { merkleTree } from '../merkle.ts'
import { canonicalJson, networkId, networkTag, parseNetwork } from '../network.ts'
import { jobKeyDigest, tensorsDigest } from '../rules/input.ts'
import { leafSalt } from '../salt.ts'
import { sealFile } from '../sealed.ts'
import { addressOf, publicKeyOf } from '../signature.ts'
import { sumTree } from '../sum-tree.ts'
import { ioRoot, jobRoot, jobTree } from '../trace.ts'
import { packVerdicts, voterSeed, voteSalt } from '../vote.ts'
import { contract, NETWORK_ID } from './cases.ts'
import { batchCases } from './cases-batch.ts'
import { drandCases } from './cases-drand.ts'
import { offerCases } from './cases-offer.ts'
import { pulses } from './cases-pulse.ts'
import { receiptCases } from './cases-receipt.ts'
import { sessionCases } from './cases-session.ts'
import { economics } from './economics.ts'

const bytes = (label: string, index = 0): Uint8Array => hash('vector', new TextEncoder().encode(label), u32(index))
/** CID of a file of one block: version 1, raw, SHA-256. */
const rawCid = (block: Uint8Array): Uint8Array => concat(Uint8Array.of(1, 0x55, 0x12, 32), sha256(block))
const hexes = (list: Uint8Array[]): string[] => list.map(toHex)

const domain = { chainId: 31337, contract: toHex(bytes('contract').subarray(0, 20)) }
const privateKey = bytes('key')

function sumTrees(): unknown {
  return [1, 2, 3, 5, 8, 13].map((count) => {
    const leaves = Array.from({ length: count }, (_, i) => ({
      receiptHash: bytes('receipt', i),
      price: BigInt(i * i + 1) * 10n ** 15n,
    }))
    const tree = sumTree(leaves)
    return {
      leaves: leaves.map(({ receiptHash, price }) => ({ receiptHash: toHex(receiptHash), price: price.toString() })),
      root: toHex(tree.root.hash),
      total: tree.root.sum.toString(),
      paths: leaves.map((_, i) => tree.path(i).map(({ hash: h, sum }) => ({ hash: toHex(h), sum: sum.toString() }))),
    }
  })
}

function draws(): unknown {
  const totals = [1n, 7n, 10n ** 18n, (1n << 127n) + 12345n]
  return totals.map((total, i) => ({
    batch: toHex(bytes('batch', i)),
    beacon: toHex(bytes('beacon', i)),
    total: total.toString(),
    points: samplePoints(bytes('batch', i), bytes('beacon', i), total, 8).map(String),
  }))
}

function trees(): unknown {
  return [1, 2, 3, 6].map((count) => {
    const leaves = Array.from({ length: count }, (_, i) => bytes('leaf', i))
    const tree = merkleTree(leaves)
    return { leaves: hexes(leaves), root: toHex(tree.root), paths: leaves.map((_, i) => hexes(tree.path(i))) }
  })
}

function typed(): unknown {
  const voucher = { session: bytes('session'), seq: 7n, cumulative: 7_000_000_000n, receipt: bytes('receipt') }
  const verdicts = packVerdicts(['valid', 'valid', 'tolerance', 'forged'])
  const vote = {
    batch: bytes('batch'),
    attempt: 1,
    attestation: bytes('attestation'),
    verdicts,
    digest: bytes('digest'),
  }
  const commitment = voteCommitment(vote, bytes('salt'), domain.contract)
  return {
    domain,
    voucher: {
      session: toHex(voucher.session),
      seq: '7',
      cumulative: '7000000000',
      receipt: toHex(voucher.receipt),
      digest: toHex(voucherDigest(domain, voucher)),
    },
    vote: {
      batch: toHex(vote.batch),
      attempt: 1,
      attestation: toHex(vote.attestation),
      verdicts: toHex(verdicts),
      digest: toHex(vote.digest),
      voter: domain.contract,
      salt: toHex(bytes('salt')),
      commitment: toHex(commitment),
      typedDigest: toHex(commitmentDigest(domain, { ...vote, commitment })),
      saltOfKey: toHex(voteSalt(bytes('key'), vote)),
      voterSeed: toHex(voterSeed(bytes('seed'), domain.contract)),
    },
  }
}

function challenges(): unknown {
  const context = {
    chainId: 31337,
    batches: domain.contract,
    batch: bytes('batch'),
    provider: toHex(bytes('provider').subarray(0, 20)),
    traceRoot: bytes('trace'),
    beacon: bytes('beacon'),
  }
  const challenge = jobChallenge(context, bytes('receipt'), fromHex('0x0155'))
  return {
    chainId: context.chainId,
    batches: context.batches,
    batch: toHex(context.batch),
    provider: context.provider,
    traceRoot: toHex(context.traceRoot),
    beacon: toHex(context.beacon),
    receipt: toHex(bytes('receipt')),
    manifest: '0x0155',
    seed: toHex(challenge.seed),
    rho: challenge.rho.toString(),
    bindings: [
      [0, 0],
      [0, 1],
      [3, 0],
    ].map(([statement, segment]) => ({
      statement,
      segment,
      value: challenge.binding(statement!, segment!).toString(),
    })),
    gammas: [
      { statement: 0, stages: [bytes('stage', 0)] },
      { statement: 7, stages: [bytes('stage', 0), bytes('stage', 1), bytes('stage', 2)] },
    ].map(({ statement, stages }) => ({
      statement,
      stages: hexes(stages),
      value: challenge.gamma(statement, stages).toString(),
    })),
    random: [1, 2, 10, 1_000_003].map((bound) => ({
      domain: `tile/${bound}`,
      bound,
      value: challenge.random(`tile/${bound}`, bound),
    })),
  }
}

function jobs(): unknown {
  const records = [
    { tensor: 0, tree: 0 as const, exponent: 14, shape: [1, 8, 8], root: bytes('root', 0) },
    { tensor: 3, tree: 3 as const, exponent: -2, shape: [10], root: bytes('root', 1) },
  ]
  const [inputRoot, outputRoot] = [ioRoot('input', records.slice(0, 1)), ioRoot('output', records.slice(1))]
  const receipt = seal('receipt', NETWORK_ID, privateKey, {
    session: bytes('session'),
    // Two bytes long.
    seq: 300n,
    manifest: rawCid(bytes('manifest')),
    inputRoot,
    outputRoot,
    shapes: records.map(({ shape }) => ({ dims: shape })),
    units: 1_000n,
    price: bytes('price').subarray(0, 16),
    cumulative: bytes('cumulative').subarray(0, 16),
    previous: bytes('previous'),
  })
  return {
    records: records.map((record) => ({ ...record, root: toHex(record.root) })),
    inputRoot: toHex(inputRoot),
    outputRoot: toHex(outputRoot),
    receipt: {
      networkId: toHex(NETWORK_ID),
      signer: addressOf(publicKeyOf(privateKey)),
      payload: toHex(receipt.envelope.payload),
      hash: toHex(receipt.id),
    },
    tensors: toHex(jobTree(records).root),
    tensorsDigest: toHex(
      tensorsDigest([{ name: 'image', type: 'float32', shape: [1, 2], data: bytes('data').subarray(0, 8) }]),
    ),
    jobKeyDigest: toHex(jobKeyDigest(bytes('job-key'))),
    jobRoot: toHex(jobRoot(bytes('receipt'), fromHex('0x0155'), jobTree(records).root)),
    salts: [0, 1, 2, 3].map((tree) => ({
      tree,
      tensor: 5,
      leaf: 9,
      salt: leafSalt(bytes('job-key'), 5, tree as 0, 9).toString(),
    })),
  }
}

function envelopes(): unknown {
  const sealed = seal('bid', NETWORK_ID, privateKey, {
    offer: bytes('offer'),
    price: bytes('price').subarray(0, 16),
    expectedLatencyMs: 12,
    warm: true,
    expiryMs: 1_800_000_000_000n,
    executionProvider: 'cpu',
  })
  return {
    privateKey: toHex(privateKey),
    address: addressOf(publicKeyOf(privateKey)),
    networkId: toHex(NETWORK_ID),
    type: 'bid',
    payload: toHex(sealed.envelope.payload),
    signature: toHex(sealed.envelope.signature),
    id: toHex(sealed.id),
  }
}

function networks(): unknown {
  const file = parseNetwork({
    name: 'vectors',
    chainId: 31337,
    deployBlock: 4,
    contracts: {
      token: contract('token'),
      registry: contract('registry'),
      escrow: contract('escrow'),
      beacon: contract('beacon'),
      batches: contract('batches'),
      prices: contract('prices'),
      seats: contract('seats'),
      votes: contract('votes'),
      canaries: contract('canaries'),
      strikes: contract('strikes'),
      emissions: contract('emissions'),
      capacity: contract('capacity'),
      referee: contract('referee'),
    },
    params: { draws: 4, minStake: '1000000000000000000000' },
    tileDraws: 8,
    circuits: {
      relation: toHex(bytes('relation')).slice(2),
      pointwise: toHex(bytes('pointwise')).slice(2),
      product: toHex(bytes('product')).slice(2),
      extremum: toHex(bytes('extremum')).slice(2),
    },
  })
  return { file, canonical: canonicalJson(file), id: toHex(networkId(file)), tag: networkTag(file) }
}

/** Plaintexts are `length` bytes i mod 251; a long file is given by its hash. */
function sealedFiles(): unknown {
  const [sender, recipient] = [bytes('sealed/sender'), bytes('sealed/recipient')]
  return [0, 1, 65_536, 65_537].map((length, i) => {
    const facts = { purpose: i % 2 === 0 ? ('input' as const) : ('output' as const), job: bytes('session'), seq: BigInt(i) }
    const ephemeral = bytes('sealed/ephemeral', i)
    const plaintext = Uint8Array.from({ length }, (_, at) => at % 251)
    const keys = { networkId: NETWORK_ID, sender, recipient: publicKeyOf(recipient), ephemeral }
    const sealed = sealFile(plaintext, { ...facts, ...keys })
    return {
      ...{ networkId: toHex(NETWORK_ID), sender: toHex(sender), recipient: toHex(recipient), ephemeral: toHex(ephemeral) },
      ...{ purpose: facts.purpose, job: toHex(facts.job), seq: i, length },
      ...(length < 100 ? { sealed: toHex(sealed) } : { header: toHex(sealed.subarray(0, 123)), sha256: toHex(sha256(sealed)) }),
    }
  })
}

/** An input of a job by content, the reference of the request that names it, and the set it is in; `ephemeral` is that of each file. */
function sealedJob(): unknown {
  const [consumer, provider, job] = [bytes('sealed/sender'), bytes('sealed/recipient'), bytes('sealed/set')]
  const tensors = [{ name: 'x', type: 'float32', shape: [2], data: Uint8Array.of(0, 0, 128, 63, 0, 0, 0, 192) }]
  const ephemeral = bytes('sealed/ephemeral', 9)
  const keys = { networkId: NETWORK_ID, sender: consumer, job, purpose: 'input' as const }
  const reader = publicKeyOf(provider)
  const input = sealFile(encode(TensorSetSchema, { tensors }), { ...keys, seq: 1n, recipient: reader, ephemeral })
  const cid = rawCid(input)
  const index = encode(SetIndexSchema, { provider: reader, items: [{ name: 'x.json', ephemeral }] })
  const ownIndex = { ...keys, seq: 0n, recipient: publicKeyOf(consumer), ephemeral: bytes('sealed/ephemeral', 10) }
  const set = encode(SealedSetSchema, { items: [cid], index: sealFile(index, ownIndex) })
  const digest = tensorsDigest(tensors)
  const request = { seq: 1n, jobKey: bytes('job-key'), sealed: { cid, set: rawCid(set), job, seq: 1n, digest } }
  return {
    ...{ networkId: toHex(NETWORK_ID), consumer: toHex(consumer), provider: toHex(provider), job: toHex(job) },
    ...{ ephemeral: toHex(ephemeral), digest: toHex(digest), input: toHex(input), cid: toHex(cid), set: toHex(set) },
    request: toHex(encode(RequestSchema, request)),
  }
}

/** What each rule must say to sequences of messages; see README.md in this folder. */
function rules(): unknown {
  return {
    networkId: toHex(NETWORK_ID),
    cases: [...offerCases(), ...sessionCases(), ...receiptCases(), ...batchCases()],
  }
}

/** File name → content, all derived from fixed labels. */
export const VECTORS: Record<string, () => unknown> = {
  'sum-tree.json': sumTrees,
  'draw.json': draws,
  'merkle.json': trees,
  'eip712.json': typed,
  'challenge.json': challenges,
  'job.json': jobs,
  'envelope.json': envelopes,
  'network.json': networks,
  'sealed.json': sealedFiles,
  'sealed-job.json': sealedJob,
  'drand.json': drandCases,
  'rules.json': rules,
  'economics.json': economics,
  'pulse.json': pulses,
}

if (import.meta.main)
  for (const [name, make] of Object.entries(VECTORS))
    writeFileSync(new URL(name, import.meta.url), `${JSON.stringify(make(), null, 1)}\n`)
