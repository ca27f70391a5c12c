import type { MessageInitShape } from '@bufbuild/protobuf'
import { toHex } from '../bytes.ts'
import { seal } from '../envelope.ts'
import type { AssignmentSchema, InputStatementSchema } from '../gen/sinter_pb.js'
import {
  brokenEnvelopes,
  bytes,
  type Case,
  type Expectation,
  envelope,
  hex,
  NETWORK_ID,
  NOW_MS,
  OTHER_NETWORK_ID,
  person,
  type Step,
} from './cases.ts'

const consumer = person('consumer')
const provider = person('provider')
const stranger = person('stranger')

function assignments(): Case[] {
  const bid = {
    id: hex('bid'),
    offer: hex('offer'),
    consumer: consumer.address,
    manifest: 'bafy',
    price: '1500',
    expiryMs: NOW_MS + 1_000,
  }
  const session = {
    id: hex('session'),
    signer: consumer.address,
    provider: provider.address,
    ceiling: '10000',
    spent: '8500',
    expiry: NOW_MS / 1000 + 60,
    closing: false,
  }
  const context = {
    nowMs: NOW_MS,
    provider: provider.address,
    peerKey: toHex(consumer.publicKey),
    minimumLifeS: 60,
    bids: [bid],
    sessions: [session],
    resumable: [],
  }
  const message: MessageInitShape<typeof AssignmentSchema> = {
    offer: bytes('offer'),
    bid: bytes('bid'),
    session: bytes('session'),
  }
  const good = envelope('assignment', consumer.key, message)
  const step = (name: string, changes: Partial<typeof message>, expect: Expectation): Step => ({
    name,
    bytes: envelope('assignment', consumer.key, { ...message, ...changes }),
    expect,
  })
  const given = (name: string, changed: Record<string, unknown>, expect: Expectation): Step => ({
    name,
    bytes: good,
    context: changed,
    expect,
  })
  const chain = (name: string, changes: Partial<typeof session>, expect: Expectation): Step =>
    given(name, { nowMs: NOW_MS, sessions: [{ ...session, ...changes }] }, expect)
  return [
    {
      rule: 'assignment',
      name: 'bid and signer',
      context,
      steps: [
        step('an assignment with just enough time and money', {}, 'accept'),
        step('a session id of 31 bytes', { session: bytes('session').subarray(1) }, 'reject ASSIGNMENT_FIELDS'),
        step('a bid that was never made', { bid: bytes('bid', 1) }, 'reject ASSIGNMENT_BID'),
        step('a bid that was made on another offer', { offer: bytes('offer', 1) }, 'reject ASSIGNMENT_BID'),
        {
          name: 'signed by another than the peer',
          bytes: envelope('assignment', stranger.key, message),
          expect: 'reject ASSIGNMENT_SIGNER',
        },
        {
          name: 'signed for another network',
          bytes: envelope('assignment', consumer.key, message, OTHER_NETWORK_ID),
          expect: 'reject ASSIGNMENT_SIGNER',
        },
        {
          name: 'a stranger takes the consumer’s bid',
          bytes: envelope('assignment', stranger.key, message),
          context: { peerKey: toHex(stranger.publicKey) },
          expect: 'reject ASSIGNMENT_CONSUMER',
        },
      ],
    },
    {
      rule: 'assignment',
      name: 'clock and chain',
      context: { ...context, sessions: [{ ...session, expiry: session.expiry + 60 }] },
      steps: [
        given('a millisecond before the bid expires', { nowMs: NOW_MS + 999 }, 'accept'),
        given('when the bid expires', { nowMs: NOW_MS + 1_000 }, 'reject BID_EXPIRED'),
        given(
          'when the bid has expired, for a session that runs under it',
          { resumable: [{ session: hex('session'), bid: hex('bid') }] },
          'accept',
        ),
        chain('one unit short of the price', { spent: '8501' }, 'reject SESSION_CEILING'),
        chain('a session with another voucher key', { signer: stranger.address }, 'reject SESSION_UNKNOWN'),
        chain('a session that is not on chain', { id: hex('session', 1) }, 'reject SESSION_UNKNOWN'),
        chain('a session with another provider', { provider: stranger.address }, 'reject SESSION_PROVIDER'),
        chain('a session that is closing', { closing: true }, 'reject SESSION_CLOSING'),
        chain('a session with a second less than the least', { expiry: session.expiry - 1 }, 'reject SESSION_CLOSING'),
        chain('a session with exactly the least', {}, 'accept'),
      ],
    },
    {
      rule: 'assignment',
      name: 'encodings',
      context,
      steps: brokenEnvelopes(seal('assignment', NETWORK_ID, consumer.key, message).envelope),
    },
  ]
}

function inputs(): Case[] {
  const message: MessageInitShape<typeof InputStatementSchema> = {
    session: bytes('session'),
    seq: 7n,
    inputDigest: bytes('input-digest'),
    jobKeyDigest: bytes('job-key-digest'),
    inputRoot: bytes('input-root'),
  }
  const context = {
    signer: consumer.address,
    session: hex('session'),
    seq: '7',
    received: { inputDigest: hex('input-digest'), jobKeyDigest: hex('job-key-digest'), inputRoot: hex('input-root') },
  }
  const step = (name: string, changes: Partial<typeof message>, expect: Expectation): Step => ({
    name,
    bytes: envelope('input', consumer.key, { ...message, ...changes }),
    expect,
  })
  return [
    {
      rule: 'input',
      name: 'what was sent is what arrived',
      context,
      steps: [
        step('the input that arrived', {}, 'accept'),
        step('of another session', { session: bytes('session', 1) }, 'reject INPUT_JOB'),
        step('of the job before', { seq: 6n }, 'reject INPUT_JOB'),
        step('a different input', { inputDigest: bytes('input-digest', 1) }, 'reject INPUT_DIGEST'),
        step('a different job key', { jobKeyDigest: bytes('job-key-digest', 1) }, 'reject INPUT_JOB_KEY'),
        step('the root of a different input', { inputRoot: bytes('input-root', 1) }, 'reject INPUT_ROOT'),
        step('a root of 31 bytes', { inputRoot: bytes('input-root').subarray(0, 31) }, 'reject INPUT_ROOT'),
        {
          name: 'said by somebody else',
          bytes: envelope('input', stranger.key, message),
          expect: 'reject INPUT_SIGNER',
        },
        {
          name: 'said on another network',
          bytes: envelope('input', consumer.key, message, OTHER_NETWORK_ID),
          expect: 'reject INPUT_SIGNER',
        },
        ...brokenEnvelopes(seal('input', NETWORK_ID, consumer.key, message).envelope),
      ],
    },
  ]
}

export function sessionCases(): Case[] {
  return [...assignments(), ...inputs()]
}
