import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type BatchView, type Move, nextMove } from '../../node/stages/move.ts'
import type { Poll } from '../../node/stages/poll.ts'

/** A batch whose slots are recorded, seen in time by a node that has no part in it. */
const base: BatchView = {
  batch: {
    status: 'committed',
    sampleSlot: 10n,
    challengeSlot: 20n,
    committeeSlot: 30n,
    slashAt: 0n,
    auditUntil: 999n,
    verdicts: '0x00',
  },
  mine: false,
  turnS: 8,
  now: 1_000n,
  headBlock: 100n,
  slotHeight: (slot) => slot * 2n,
  confirmations: 0,
  deadline: 1_060n,
  voteWindowS: 60,
  commitWindowS: 40,
  pokeGraceS: 10,
  poll: { recorded: [], closes: 1_000n, closed: true, pending: { count: 0, own: false, all: false } },
  abandonWindowS: 30,
  seated: false,
  quorum: false,
  exhausted: false,
  uncollected: 0,
  finalSince: 1_000n,
}

type Status = BatchView['batch']['status']
type Change = Partial<Omit<BatchView, 'batch'>> & { slashAt?: bigint; auditUntil?: bigint; verdicts?: `0x${string}` }
const at = (status: Status, { slashAt = 0n, auditUntil = 999n, verdicts = '0x00', ...change }: Change = {}): Move =>
  nextMove({ ...base, ...change, batch: { ...base.batch, status, slashAt, auditUntil, verdicts } })

type Row = [what: string, status: Status, change: Change, expected: Move['do'] | `record ${number}`]
const late = { now: 1_061n }
const turn = { now: 1_069n }
const unrecorded = { deadline: 0n }
const dissent = { objects: { against: false }, exhausted: true }

const shut = (closes: bigint): BatchView['poll'] => ({ ...base.poll!, closes })
/** A committee that commits until 1,040, of which this many stand on chain. */
const open = (pending: Partial<Poll['pending']> = {}, recorded = 0): BatchView['poll'] => ({
  recorded: new Array<Poll['recorded'][number]>(recorded).fill({ voter: '0x00', commitment: '0x00', tx: '0x00' }),
  closes: 1_040n,
  closed: false,
  pending: { count: 1, own: false, all: false, ...pending },
})

const TABLE: Row[] = [
  ['nothing is known', 'none', {}, 'wait'],

  ['the slot lies ahead', 'anchored', { ...unrecorded, headBlock: 19n, mine: true }, 'wait'],
  [
    'the provider records its slot as soon as it is there',
    'anchored',
    { ...unrecorded, headBlock: 20n, mine: true },
    'record 10',
  ],
  ['others let it go first', 'anchored', { ...unrecorded, headBlock: 30n }, 'wait'],
  ['and take over when it does not', 'anchored', { ...unrecorded, headBlock: 31n }, 'record 10'],
  ['the provider traces', 'anchored', { mine: true }, 'trace'],
  ['but not while audits can be named', 'anchored', { mine: true, auditUntil: 1_000n }, 'wait'],
  ['not before its sample is beyond a fork', 'anchored', { mine: true, confirmations: 81 }, 'wait'],
  ['and then it does', 'anchored', { mine: true, confirmations: 80 }, 'trace'],
  ['to the last second', 'anchored', { mine: true, now: 1_060n }, 'trace'],
  ['others wait for the trace', 'anchored', {}, 'wait'],
  ['too late, the provider itself expires it', 'anchored', { ...late, mine: true }, 'expire'],
  ['others in turn', 'anchored', { now: 1_068n }, 'wait'],
  ['others in turn', 'anchored', turn, 'expire'],

  ['the challenge slot lies ahead', 'traced', { ...unrecorded, headBlock: 39n, mine: true }, 'wait'],
  ['the provider records it', 'traced', { ...unrecorded, headBlock: 40n, mine: true }, 'record 20'],
  ['others take over', 'traced', { ...unrecorded, headBlock: 51n }, 'record 20'],
  ['the provider attests', 'traced', { mine: true }, 'attest'],
  ['not before its challenge is beyond a fork', 'traced', { mine: true, confirmations: 61 }, 'wait'],
  ['and then it does', 'traced', { mine: true, confirmations: 60 }, 'attest'],
  ['others wait for it', 'traced', {}, 'wait'],
  ['silence ends', 'traced', turn, 'expire'],

  ['the committee slot lies ahead', 'committed', { ...unrecorded, headBlock: 59n }, 'wait'],
  ['the provider records it', 'committed', { ...unrecorded, headBlock: 60n, mine: true }, 'record 30'],
  ['others take over', 'committed', { ...unrecorded, headBlock: 71n }, 'record 30'],
  ['a member votes', 'committed', { seated: true }, 'vote'],
  ['whoever has no seat waits', 'committed', {}, 'wait'],
  ['so does the provider, whose seat there is none', 'committed', { mine: true }, 'wait'],
  ['the provider settles with a quorum', 'committed', { mine: true, quorum: true }, 'settle'],
  ['others leave it the grace', 'committed', { quorum: true, now: 1_010n }, 'wait'],
  ['and their turn', 'committed', { quorum: true, now: 1_018n }, 'wait'],
  ['then settle', 'committed', { quorum: true, now: 1_019n }, 'settle'],
  [
    'a member that could not settle yet goes on voting',
    'committed',
    { quorum: true, now: 1_010n, seated: true },
    'vote',
  ],
  ['a member votes to the last second', 'committed', { seated: true, now: 1_060n }, 'vote'],
  ['the provider hands in all commitments at once', 'committed', { mine: true, poll: open({ all: true }) }, 'commit'],
  ['others in turn', 'committed', { now: 1_018n, poll: open({ all: true }) }, 'wait'],
  ['others in turn', 'committed', { now: 1_019n, poll: open({ all: true }) }, 'commit'],
  ['some are missing: the provider waits', 'committed', { mine: true, now: 1_009n, poll: open() }, 'wait'],
  ['and hands in what there is', 'committed', { mine: true, now: 1_010n, poll: open() }, 'commit'],
  ['more of them: it waits again', 'committed', { mine: true, now: 1_031n, poll: open({}, 1) }, 'wait'],
  ['for the rest', 'committed', { mine: true, now: 1_032n, poll: open({}, 1) }, 'commit'],
  ['nothing to hand in', 'committed', { mine: true, now: 1_032n, poll: open({ count: 0 }) }, 'wait'],
  ['whoever has no seat leaves that to them', 'committed', { now: 1_039n, poll: open() }, 'wait'],
  [
    'a member whose own was forgotten',
    'committed',
    { seated: true, now: 1_018n, poll: open({ own: true }, 1) },
    'vote',
  ],
  ['hands it in', 'committed', { seated: true, now: 1_019n, poll: open({ own: true }, 1) }, 'commit'],
  [
    'a member of a provider that does nothing',
    'committed',
    { seated: true, now: 1_035n, poll: open({ own: true }) },
    'vote',
  ],
  ['hands it in at the end', 'committed', { seated: true, now: 1_036n, poll: open({ own: true }) }, 'commit'],
  ['the grace runs from the last commitment', 'committed', { quorum: true, now: 1_028n, poll: shut(1_010n) }, 'wait'],
  ['and their turn', 'committed', { quorum: true, now: 1_029n, poll: shut(1_010n) }, 'settle'],
  ['no quorum in time: another committee', 'committed', turn, 'redraw'],
  ['the provider at once', 'committed', { ...late, mine: true }, 'redraw'],
  ['too late for a vote', 'committed', { seated: true, now: 1_061n }, 'wait'],
  ['a late quorum settles all the same', 'committed', { ...turn, quorum: true }, 'settle'],
  ['also where nobody is left to draw', 'committed', { ...turn, quorum: true, exhausted: true }, 'settle'],
  ['a quorum that nobody could settle: another committee', 'committed', { now: 1_091n, quorum: true }, 'redraw'],
  ['the last committee votes to the end', 'committed', { seated: true, now: 1_090n, exhausted: true }, 'vote'],
  ['nobody left to draw', 'committed', { now: 1_098n, exhausted: true }, 'wait'],
  ['nobody left to draw', 'committed', { now: 1_099n, exhausted: true }, 'abandon'],
  ['the provider gets its lock back at once', 'committed', { now: 1_091n, exhausted: true, mine: true }, 'abandon'],

  ['a forgery that a quorum overlooks is shown', 'committed', { objects: { against: true }, quorum: true }, 'refute'],
  ['a quorum that condemns it needs no help', 'committed', { objects: { against: false }, seated: true }, 'vote'],
  ['while others may still vote, they do', 'committed', { ...dissent, now: 1_075n }, 'wait'],
  ['then it is shown before its lock returns', 'committed', { ...dissent, now: 1_076n }, 'refute'],
  ['that is not the last committee', 'committed', { ...dissent, exhausted: false, now: 1_068n }, 'wait'],
  ['a verdict before stands', 'committed', { ...dissent, verdicts: '0x05', now: 1_090n }, 'wait'],
  ['a forgery that was paid is shown in turn', 'paid', { objects: { against: false }, finalSince: 992n }, 'wait'],
  ['and before all is done', 'paid', { objects: { against: false }, finalSince: 991n }, 'refute'],
  ['one that was slashed is no matter', 'slashed', { objects: { against: false } }, 'finish'],

  [
    'a canary is revealed as soon as it is judged',
    'slashPending',
    { canary: true, condemned: true, mine: true },
    'reveal',
  ],
  ['before its pay is collected', 'paid', { canary: true, uncollected: 1, mine: true }, 'reveal'],
  ['and not sooner', 'committed', { canary: true, mine: true }, 'wait'],

  ['the slash is pending', 'slashPending', { slashAt: 1_000n, mine: true }, 'wait'],
  ['anybody ends it in turn', 'slashPending', { slashAt: 992n }, 'wait'],
  ['anybody ends it in turn', 'slashPending', { slashAt: 991n }, 'finalize'],
  ['whoever it concerns too', 'slashPending', { slashAt: 999n, mine: true }, 'finalize'],
]
for (const status of ['paid', 'untraced', 'slashed', 'abandoned'] as const) {
  TABLE.push(['the provider collects at once', status, { uncollected: 1, mine: true }, 'collect'])
  TABLE.push(['others let it go first', status, { uncollected: 1, finalSince: 992n }, 'wait'])
  TABLE.push(['and collect when it does not', status, { uncollected: 1, finalSince: 991n }, 'collect'])
  TABLE.push(['all is done', status, {}, 'finish'])
}

for (const [what, status, change, expected] of TABLE)
  test(`${status}: ${what} (${expected})`, () => {
    const move = at(status, change)
    assert.is(move.do === 'record' ? `record ${move.slot}` : move.do, expected)
  })

test('a batch that nobody else touches never waits for ever: its provider, or another node, ends every state', () => {
  const open: Status[] = ['anchored', 'traced', 'committed', 'slashPending']
  for (const status of open)
    for (const mine of [true, false])
      for (const deadline of [0n, 1_060n])
        for (const exhausted of [true, false])
          assert.is.not(at(status, { mine, deadline, exhausted, now: 10n ** 9n, headBlock: 10n ** 9n }).do, 'wait')
})

test.run()
