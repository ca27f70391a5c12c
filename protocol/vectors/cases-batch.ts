import { type Hex, toHex } from '../bytes.ts'
import { commitmentDigest, type SigningDomain, signTyped, type VoteFields, voteCommitment } from '../eip712.ts'
import { seal } from '../envelope.ts'
import { MAX_ATTESTATION_BYTES, MAX_VOTE_BYTES } from '../limits.ts'
import { attestationDigest } from '../rules/attestation.ts'
import { packVerdicts } from '../vote.ts'
import {
  brokenEnvelopes,
  bytes,
  type Case,
  CHAIN_ID,
  contract,
  type Expectation,
  hex,
  NETWORK_ID,
  OTHER_NETWORK_ID,
  type Person,
  person,
  type Step,
} from './cases.ts'

const provider = person('provider')
const stranger = person('stranger')
const members = [person('voter/0'), person('voter/1'), person('voter/2')] as const

const sizes = (limit: number): Step[] => [
  { name: 'the largest size', bytes: { zeros: limit }, expect: 'reject ENVELOPE_MALFORMED' },
  { name: 'one byte more', bytes: { zeros: limit + 1 }, expect: 'reject TOO_LARGE' },
]

function attestations(): Case[] {
  const attestation = (index: number) => ({ batch: bytes('batch'), jobs: [{ index, concede: false }] })
  const sealed = seal('attestation', NETWORK_ID, provider.key, attestation(3))
  const good = toHex(sealed.bytes)
  const known = (digest: Hex | null, who: Person = provider): Record<string, unknown> => ({
    batches: [{ id: hex('batch'), provider: who.address, digest }],
  })
  const context = known(toHex(attestationDigest(sealed.envelope.payload, NETWORK_ID)))
  const by = (key: Uint8Array, index: number, network = NETWORK_ID): Hex =>
    toHex(seal('attestation', network, key, attestation(index)).bytes)
  return [
    {
      rule: 'attestation',
      name: 'only the one that its provider committed',
      context,
      steps: [
        {
          name: 'another attestation by the provider',
          bytes: by(provider.key, 4),
          expect: 'reject ATTESTATION_DIGEST',
        },
        {
          name: 'the committed one, signed by somebody else',
          bytes: by(stranger.key, 3),
          expect: 'reject ATTESTATION_SIGNER',
        },
        {
          name: 'the committed one, signed for another network',
          bytes: by(provider.key, 3, OTHER_NETWORK_ID),
          expect: 'reject ATTESTATION_SIGNER',
        },
        {
          name: 'a batch id of 31 bytes',
          bytes: toHex(
            seal('attestation', NETWORK_ID, provider.key, { batch: bytes('batch').subarray(1), jobs: [] }).bytes,
          ),
          expect: 'reject ATTESTATION_FIELDS',
        },
        { name: 'the committed one', bytes: good, expect: 'accept' },
        { name: 'again', bytes: good, expect: 'ignore DUPLICATE' },
      ],
    },
    {
      rule: 'attestation',
      name: 'a peer may be a block ahead of us',
      context: { batches: [] },
      steps: [
        { name: 'before the batch is known', bytes: good, expect: 'ignore BATCH_UNKNOWN' },
        {
          name: 'before the digest is on chain',
          bytes: good,
          context: known(null),
          expect: 'ignore ATTESTATION_EARLY',
        },
        { name: 'then', bytes: good, context, expect: 'accept' },
      ],
    },
    {
      rule: 'attestation',
      name: 'sizes and encodings',
      context,
      steps: [...brokenEnvelopes(sealed.envelope), ...sizes(MAX_ATTESTATION_BYTES)],
    },
  ]
}

const domain: SigningDomain = { chainId: CHAIN_ID, contract: contract('votes') }

type Ballot = { vote: VoteFields; salt: Uint8Array; voter: Person }

function ballot(voter: Person, changes: Partial<VoteFields> = {}): Ballot {
  const vote: VoteFields = {
    batch: bytes('batch'),
    attempt: 0,
    attestation: bytes('attestation'),
    verdicts: packVerdicts(['valid', 'valid', 'valid', 'forged']),
    digest: bytes('digest'),
    ...changes,
  }
  return { vote, salt: bytes('salt'), voter }
}

const committed = ({ vote, salt, voter }: Ballot): Uint8Array => voteCommitment(vote, salt, voter.address)

type Place = {
  batch?: Uint8Array
  attempt?: number
  attestation?: Uint8Array
  network?: Uint8Array
  under?: SigningDomain
}

function commitment(voter: Person, value: Uint8Array, place: Place = {}): Hex {
  const { batch = bytes('batch'), attempt = 0, attestation = bytes('attestation') } = place
  const { network = NETWORK_ID, under = domain } = place
  const signature = signTyped(commitmentDigest(under, { batch, attempt, attestation, commitment: value }), voter.key)
  const body = { case: 'commitment' as const, value: { attestation, commitment: value, signature } }
  return toHex(seal('vote', network, voter.key, { batch, attempt, body }).bytes)
}

function reveal(voter: Person, { vote, salt }: Ballot): Hex {
  const { batch, attempt, attestation, verdicts, digest } = vote
  const body = { case: 'reveal' as const, value: { attestation, verdicts, digest, salt } }
  return toHex(seal('vote', NETWORK_ID, voter.key, { batch, attempt, body }).bytes)
}

function votes(): Case[] {
  const [a, b, c] = members
  const context = {
    domain,
    panels: [
      {
        batch: hex('batch'),
        attempt: 0,
        committee: members.map(({ address }) => address),
        attestation: hex('attestation'),
      },
    ],
  }
  const second = { panels: [{ ...context.panels[0]!, attempt: 1 }] }
  const anew = { attestation: bytes('attestation', 1) }
  const forked = { panels: [{ ...context.panels[0]!, attestation: hex('attestation', 1) }] }
  const mine = ballot(a)
  const step = (name: string, content: Hex, expect: Expectation, changed?: Record<string, unknown>): Step => ({
    name,
    bytes: content,
    ...(changed && { context: changed }),
    expect,
  })
  const short = { ...ballot(b), salt: bytes('salt').subarray(1) }
  return [
    {
      rule: 'vote',
      name: 'commit, then reveal',
      context,
      steps: [
        step('a reveal before its commitment', reveal(a, mine), 'ignore VOTE_NOT_COMMITTED'),
        step('the commitment', commitment(a, committed(mine)), 'accept'),
        step('again', commitment(a, committed(mine)), 'ignore DUPLICATE'),
        step('a second commitment', commitment(a, bytes('other')), 'ignore VOTE_COMMITTED_BEFORE'),
        step(
          'a reveal of other verdicts',
          reveal(a, ballot(a, { verdicts: packVerdicts(['valid', 'valid', 'valid', 'valid']) })),
          'ignore VOTE_COMMITMENT',
        ),
        step('a reveal under another salt', reveal(a, { ...mine, salt: bytes('salt', 1) }), 'ignore VOTE_COMMITMENT'),
        step(
          'a reveal about another attestation',
          reveal(a, ballot(a, { attestation: bytes('attestation', 1) })),
          'ignore VOTE_ATTESTATION',
        ),
        step('the reveal', reveal(a, mine), 'accept'),
        step('again', reveal(a, mine), 'ignore DUPLICATE'),
      ],
    },
    {
      rule: 'vote',
      name: 'a copied commitment helps nobody',
      context,
      steps: [
        step(
          'a member copies the payload of another’s commitment before it arrives',
          commitment(b, committed(mine)),
          'accept',
        ),
        step('the commitment itself', commitment(a, committed(mine)), 'accept'),
        step('its reveal', reveal(a, mine), 'accept'),
        step('the copier reveals the same', reveal(b, mine), 'ignore VOTE_COMMITMENT'),
      ],
    },
    {
      rule: 'vote',
      name: 'commitments signed for another contract or chain, or by nobody',
      context,
      steps: [
        step(
          'for another contract',
          commitment(b, committed(ballot(b)), { under: { ...domain, contract: contract('batches') } }),
          'reject VOTE_SIGNATURE',
        ),
        step(
          'for another chain',
          commitment(c, committed(ballot(c)), { under: { ...domain, chainId: 1 } }),
          'reject VOTE_SIGNATURE',
        ),
        step(
          'without a signature',
          toHex(
            seal('vote', NETWORK_ID, b.key, {
              batch: bytes('batch'),
              attempt: 0,
              body: {
                case: 'commitment',
                value: {
                  attestation: bytes('attestation'),
                  commitment: committed(ballot(b)),
                  signature: new Uint8Array(),
                },
              },
            }).bytes,
          ),
          'reject VOTE_SIGNATURE',
        ),
        step('as it should be', commitment(b, committed(ballot(b))), 'accept'),
      ],
    },
    {
      rule: 'vote',
      name: 'who may vote, on what, when',
      context: { domain, panels: [] },
      steps: [
        step('before the committee is drawn', commitment(a, committed(mine)), 'ignore COMMITTEE_UNKNOWN'),
        step('in time', commitment(a, committed(mine)), 'accept', context),
        step(
          'on a batch that is not known',
          commitment(a, committed(mine), { batch: bytes('batch', 1) }),
          'ignore COMMITTEE_UNKNOWN',
        ),
        step('by a node without a seat', commitment(stranger, committed(mine)), 'reject VOTE_NOT_ON_COMMITTEE'),
        step(
          'signed for another network',
          commitment(b, committed(mine), { network: OTHER_NETWORK_ID }),
          'reject VOTE_NOT_ON_COMMITTEE',
        ),
        step(
          'for an attempt that is not yet',
          commitment(b, committed(mine), { attempt: 1 }),
          'ignore VOTE_ATTEMPT',
        ),
        step('for an attempt that is over', commitment(b, committed(mine)), 'ignore VOTE_ATTEMPT', second),
        step('for the present attempt', commitment(b, committed(mine), { attempt: 1 }), 'accept'),
      ],
    },
    {
      rule: 'vote',
      name: 'a fork puts another attestation in the place of one that was voted on',
      context,
      steps: [
        step('the vote on the first', commitment(a, committed(mine)), 'accept'),
        step(
          'a vote on one that this node does not see',
          commitment(b, committed(ballot(b, anew)), anew),
          'ignore VOTE_ATTESTATION',
        ),
        step('the vote on the second', commitment(a, committed(ballot(a, anew)), anew), 'accept', forked),
        step('another on the second', commitment(a, bytes('other'), anew), 'ignore VOTE_COMMITTED_BEFORE'),
        step('the other one, still under way', commitment(b, committed(ballot(b))), 'ignore VOTE_ATTESTATION'),
        step('a reveal of the vote on the first', reveal(a, mine), 'ignore VOTE_ATTESTATION'),
        step('a reveal of the vote on the second', reveal(a, ballot(a, anew)), 'accept'),
      ],
    },
    {
      rule: 'vote',
      name: 'sizes and encodings',
      context,
      steps: [
        step(
          'a batch id of 31 bytes',
          commitment(a, committed(mine), { batch: bytes('batch').subarray(1) }),
          'reject VOTE_FIELDS',
        ),
        step('a commitment of 31 bytes', commitment(a, committed(mine).subarray(1)), 'reject VOTE_FIELDS'),
        step(
          'neither commitment nor reveal',
          toHex(seal('vote', NETWORK_ID, a.key, { batch: bytes('batch'), attempt: 0 }).bytes),
          'reject VOTE_FIELDS',
        ),
        step('a salt of 31 bytes', reveal(b, short), 'reject VOTE_FIELDS'),
        ...brokenEnvelopes(
          seal('vote', NETWORK_ID, a.key, {
            batch: bytes('batch'),
            attempt: 0,
            body: { case: 'commitment', value: { commitment: committed(mine), signature: new Uint8Array(65) } },
          }).envelope,
        ),
        ...sizes(MAX_VOTE_BYTES),
      ],
    },
  ]
}

export function batchCases(): Case[] {
  return [...attestations(), ...votes()]
}
