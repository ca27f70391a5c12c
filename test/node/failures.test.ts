/** Which class an error has, and what becomes of a peer's own words for what failed. */

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  AbortedError,
  classified,
  InputError,
  MoneyError,
  ProviderError,
  UnavailableError,
  unlessAborted,
} from '../../node/client/failures.ts'
import { type ConsumerSession, openConsumerSession } from '../../node/client/session.ts'
import { readFrame, writeFrame } from '../../node/jobs/frames.ts'
import { describeError, errorCode, SinterError } from '../../protocol/errors.ts'
import { failure } from '../failure.ts'
import { committer, consumer, createWorld, ESCROW, log, model, NETWORK, provider, streamPair } from './session-world.ts'

const image = new Float32Array(64)

/** A provider that answers by hand: the session, or what it was refused with; and what it says to each job. */
async function withProvider(says: { code: string; message?: string }, refuses = false) {
  const [atConsumer, atProvider] = streamPair()
  const { bid, session } = createWorld()
  const failure = (seq: bigint) => ({ case: 'failure' as const, value: { seq, message: 'no', ...says } })
  void (async () => {
    await readFrame(atProvider, 5_000)
    if (refuses) return writeFrame(atProvider, failure(0n))
    const head = new Uint8Array(32)
    await writeFrame(atProvider, { case: 'accepted', value: { seq: 0n, cumulative: new Uint8Array(16), head } })
    for (;;) {
      const frame = await readFrame(atProvider, 5_000)
      if (frame.case === 'request') await writeFrame(atProvider, failure(frame.value.seq))
    }
  })().catch(() => {})
  const terms = { provider: provider.address, providerKey: provider.publicKey, peerId: provider.peerId.toString() }
  return openConsumerSession(
    {
      ...{ identity: consumer, networkId: NETWORK, vouchers: ESCROW, committer, log },
      streams: { open: async () => atConsumer },
    },
    {
      ...{ model, session, offer: bid.offer, ceiling: 10n, policy: 'zk', canonical: false },
      bid: {
        id: bid.id,
        price: 1n,
        expectedLatencyMs: 1,
        warm: true,
        expiryMs: 0,
        executionProvider: 'cpu',
        region: '',
        ...terms,
      },
    },
  )
}
async function said(word: string, message?: string): Promise<SinterError> {
  const session: ConsumerSession = await withProvider({ code: word, ...(message === undefined ? {} : { message }) })
  const error = await failure(session.infer([image]))
  await session.close()
  return error
}

test('a provider that says it failed is believed about itself', async () => {
  for (const word of ['EXEC_CRASHED', 'WINDOW_FULL', 'SESSION_CEILING', 'MODELS_BUSY']) {
    const error = await said(word)
    assert.is(error.code, word)
    assert.instance(error, ProviderError)
  }
  // About the input: whoever asks several hears it from several.
  assert.instance(classified(await said('OUTPUT_OFF_TOLERANCE')), InputError)
})

test('a provider’s words are none of those by which we decide: it cannot say that our money is spent or that we gave up', async () => {
  const ours = ['SPENDING_LIMIT', 'BALANCE_TOO_LOW', 'CLIENT_STOPPED', 'ABORTED', 'NO_BIDS', 'CANCELLED', 'JOB_TIMEOUT']
  for (const word of [...ours, 'SESSION_ENDED', 'OPEN_TIMEOUT', 'UNEXPECTED', '', 'lower', 'X'.repeat(65), 'A B']) {
    const error = await said(word)
    assert.is(error.code, 'PROVIDER_FAILED', word)
    assert.instance(classified(error), ProviderError, word)
    const refused = await failure(withProvider({ code: word }, true))
    assert.is(refused.code, 'PROVIDER_FAILED', word)
  }
  // Nor is it what the caller gave that was wrong, because a provider says so: that was checked before it was sent.
  assert.instance(classified(await said('INPUT_NAN')), ProviderError)
  assert.instance(classified(await said('CHAIN_RPC')), ProviderError)
})

test('what a provider says stays on one line of bounded length', async () => {
  const { message } = await said('EXEC_FAILED', `\u001b[2Jgone\nsinter: paid${'!'.repeat(100_000)}`)
  assert.not.ok(message.includes('\u001b') || message.includes('\n'))
  assert.ok(message.length < 5_000)
})

test('classes say what can be done', () => {
  const kind = (code: string): string => classified(new SinterError(code, 'x')).constructor.name
  const expected: [new (...args: never[]) => SinterError, string[]][] = [
    [
      InputError,
      [
        ...[
          'OPTION',
          'TENSOR_SHAPE',
          'INPUT_NAN',
          'CID_MALFORMED',
          'RECEIPT_UNKNOWN',
          'FILE_UNREADABLE',
          'NETWORK_FILE',
        ],
        ...[
          'KEYSTORE_PASSWORD',
          'KEYSTORE_FORMAT',
          'IDENTITY_KEY',
          'BOOTSTRAP_ADDRESS',
          'CHAIN_ID',
          'CHAIN_NO_CONTRACTS',
        ],
        ...['STORE_LOCKED', 'STORE_OPEN', 'CONTENT_DISK_FULL', 'CONTENT_DISK'],
      ],
    ],
    [MoneyError, ['SPENDING_LIMIT', 'BALANCE_TOO_LOW', 'CHAIN_GAS_FUNDS']],
    [UnavailableError, ['NO_BIDS', 'PEERS_TOO_FEW', 'CHAIN_RPC', 'CONTENT_UNAVAILABLE', 'GOSSIP_NO_PEERS']],
    [AbortedError, ['ABORTED', 'CLIENT_STOPPED']],
    [
      ProviderError,
      ['JOB_TIMEOUT', 'EXEC_FAILED', 'RECEIPT_ROOT', 'SESSION_CLOSING', 'STREAM_CLOSED', 'REPLICAS_DIFFER'],
    ],
  ]
  for (const [type, codes] of expected) for (const code of codes) assert.is(kind(code), type.name, code)
  // The same error is not its own cause: people read the chain on one line.
  const cause = new Error('ENOENT')
  assert.is(describeError(classified(new SinterError('NO_BIDS', 'nobody', { cause }))), 'NO_BIDS: nobody (ENOENT)')
  assert.is(describeError(classified(new SinterError('NO_BIDS', 'nobody'))), 'NO_BIDS: nobody')
  // A fault of ours is nobody else's.
  const bug = classified(new TypeError('x is not a function'))
  assert.equal([bug.constructor.name, errorCode(bug)], ['SinterError', 'UNEXPECTED'])
})

test('whoever gives up does not wait for work that others wait for too', async () => {
  const never = new Promise<number>(() => {})
  const stop = new AbortController()
  const waiting = failure(unlessAborted(never, stop.signal))
  stop.abort()
  assert.instance(await waiting, AbortedError)
  assert.instance(await failure(unlessAborted(never, AbortSignal.abort())), AbortedError)
  assert.is(await unlessAborted(Promise.resolve(7), new AbortController().signal), 7)
  assert.is(await unlessAborted(Promise.resolve(7), undefined), 7)
  assert.is(
    (await failure(unlessAborted(Promise.reject(new SinterError('NO_BIDS', 'x')), stop.signal))).code,
    'ABORTED',
  )
})

test.run()
