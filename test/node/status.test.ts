import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { BatchStatus } from '../../node/chain/views.ts'
import { type BatchFacts, describeBatch } from '../../node/commands/batch-status.ts'
import { describePulses } from '../../node/commands/pulse-status.ts'
import { describeMint, describeSessions, describeStrikes } from '../../node/commands/status.ts'
import type { PulseLoss } from '../../node/stages/pulse-plan.ts'

const record = { score: 6_907_755n, graceUntil: 1_000n, excludedUntil: 2_000n, strikes: 3n }

test('a provider reads how far it is from an exclusion, and when it is over', () => {
  assert.is(
    describeStrikes(record, 13_815_510, 2_000n),
    '3 receipts off tolerance so far, 50% of the way to an exclusion',
  )
  const text = describeStrikes(record, 13_815_510, 1_999n)
  assert.match(text, /^excluded until 1970-01-01T00:33:20.000Z: .*off tolerance too often \(3 receipts/)
  assert.match(text, /batches are taken until 1970-01-01T00:16:40.000Z$/)
})

test('a provider reads what is minted for it, and to whom', () => {
  const payout = `0x${'bb'.repeat(20)}` as const
  const SNTR = 10n ** 18n
  assert.is(
    describeMint(payout, SNTR / 2n, 3n * SNTR),
    `mint: 0.5 SNTR wait to be claimed, 3 SNTR were minted to ${payout} so far`,
  )
  assert.is(describeMint(payout, 0n, null), 'mint: nothing waits to be claimed')
})

test('a provider reads what became of pulses, what they brought, and why one brought nothing', () => {
  const SNTR = 10n ** 18n
  const last = { slot: 12n, openedAt: 1_000n, snapshot: 1n, drawSlot: 20n }
  const history = { lanes: 1, units: 25n, credited: SNTR / 4n }
  const counts = { opened: 1, answered: 4, reported: 2, claimed: 3 }
  const noted = { lanes: 1, counts, last: null, skipped: null }
  const network = 'pulses: the last was opened at 1970-01-01T00:16:40.000Z (slot 12)'
  assert.equal(describePulses(last, history, noted), [
    `${network}; 1 lane of this node examined and claimed so far, 0.25 SNTR credited`,
    'up to 1 lane a pulse; opened 1, answered 4, reported 2, claimed 3 lanes',
  ])
  assert.equal(describePulses(null, null, null), ['pulses: none was opened yet'])
  assert.equal(describePulses(last, null, { ...noted, lanes: 0 }), [network, 'this node takes no part (--lanes 0)'])
  const said = (reason: PulseLoss, detail: Record<string, string>): string =>
    describePulses(last, null, { ...noted, skipped: { slot: '9', reason, detail } }).at(-1)!
  assert.is(
    said('NOT_WORTH_GAS', { pay: (SNTR / 10n).toString(), cost: (3n * SNTR).toString() }),
    'nothing came of slot 9: a claim costs more than it brings (3 for 0.1 SNTR)',
  )
  assert.is(
    said('CLAIM_REFUSED', { code: 'CHAIN_StakeTooLow' }),
    'nothing came of slot 9: the contract refuses the claim (CHAIN_StakeTooLow)',
  )
  assert.match(
    said('CLASS_NOT_MEASURED', { class: 'tpu' }),
    /^this network measures no capacity of the class .* \(tpu\)$/,
  )
})

const facts = (
  status: BatchStatus,
  batch: Partial<BatchFacts['batch']> = {},
  more: Partial<BatchFacts> = {},
): BatchFacts => ({
  id: '0xba',
  batch: {
    status,
    attempt: 0,
    total: 10n ** 18n,
    slashAt: 2_000n,
    silent: false,
    attestation: '0x01',
    verdicts: `0x0501${'00'.repeat(30)}`,
    ...batch,
  } as BatchFacts['batch'],
  now: 1_500n,
  deadline: 1_600n,
  lock: 3n * 10n ** 18n,
  draws: 2,
  appeals: [],
  nextBond: 1n,
  appealUntil: 1_500n,
  bench: null,
  ranges: { all: 3, uncollected: 2 },
  ...more,
})

test('each state of a batch is said in words, with the last second of what can still be done', () => {
  const head = '0xba: 1 SNTR of fees, 3 SNTR locked; '
  const slash = 'the lock of 3 SNTR is slashed at 1970-01-01T00:33:20.000Z'
  for (const [given, lines] of [
    [facts('anchored'), ['anchored; its trace is to be anchored by 1970-01-01T00:26:40.000Z']],
    [
      facts('anchored', {}, { deadline: 0n }),
      ['anchored; its trace is to be anchored once the beacon’s slot is recorded'],
    ],
    [
      facts('traced', {}, { now: 1_601n }),
      ['traced; its attestation is to be committed by 1970-01-01T00:26:40.000Z, which is over'],
    ],
    [facts('committed'), ['its committee votes by 1970-01-01T00:26:40.000Z']],
    [facts('committed', { attempt: 1 }), ['committee 2, a larger one, votes by 1970-01-01T00:26:40.000Z']],
    [
      facts('slashPending'),
      [
        `condemned: 1 of 2 draws found forged by a committee; ${slash}`,
        'an appeal, for a bond of 0.000000000000000001 SNTR, is taken until 1970-01-01T00:25:00.000Z',
      ],
    ],
    [
      facts('slashPending', { silent: true }, { now: 1_501n, bench: { voters: ['0x01'], until: 3_000n } }),
      [
        `condemned: 1 of 2 draws found forged by 1 voter, whose seats answer for it until 1970-01-01T00:50:00.000Z; ${slash}`,
        'a voter says that there was no attestation: whoever posts it on chain voids the verdict, for no bond',
        'the time for appeals was over at 1970-01-01T00:25:00.000Z',
      ],
    ],
    [facts('slashPending', { verdicts: '0x00' }), [`the referee has found a fault: ${slash}, and there is no appeal`]],
    [
      facts('slashPending', { verdicts: '0x00', attestation: '0x00' }),
      [`no attestation came in time: ${slash}, and nothing can be said against it`],
    ],
  ] as const) {
    const [first, ...rest] = lines
    assert.equal(describeBatch(given), [`${head}${first}`, ...rest])
  }
  assert.equal(describeBatch(facts('paid', {}, { lock: 0n })), [
    '0xba: 1 SNTR of fees; paid; 2 of 3 ranges not collected yet',
  ])
})

test('sessions are listed while money lies in them, and counted when they are over', () => {
  const session = (state: string, id: string) => ({ session: id, provider: '0xcd', ceiling: '2', anchored: '1', state })
  assert.equal(describeSessions([]), [])
  assert.equal(describeSessions([session('closed', 'a'), session('open', 'b'), session('closing', 'c')]), [
    'b with 0xcd: open, 1 of 2 SNTR anchored',
    'c with 0xcd: closing, 1 of 2 SNTR anchored',
    '1 session is closed',
  ])
  assert.equal(describeSessions(Array(5_000).fill(session('closed', 'a'))), ['5000 sessions are closed'])
})

test.run()
