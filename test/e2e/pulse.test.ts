/**
 * Capacity pulses as nodes live them: processes that know each other by TCP alone, on a real chain, open them, compute lanes, report them to
 * each other, claim what is examined and are paid. One is killed between its answer and its claim.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { devnetParams } from '../../node/chain/params.ts'
import type { ActorEvent } from '../../node/devnet/actor.ts'
import { type Localnet, startLocalnet } from '../../node/devnet/localnet.ts'

const SNTR = 10n ** 18n
const UNITS = 25n
const events: ActorEvent[] = []
const folder = mkdtempSync(join(tmpdir(), 'sinter-pulse-'))
let net: Localnet

test.before(async () => {
  net = await startLocalnet({
    folder,
    params: {
      ...devnetParams,
      // Every other slot is a pulse, and every lane is examined.
      pulseRarity: 2,
      pulseWindow: 12,
      pulseClaimWindow: 24,
      epochLength: 20,
      capacityClasses: `cpu:256:16:4:${UNITS}:1:${1_000n * SNTR}`,
    },
    onEvent: (event) => void events.push(event),
  })
  await Promise.all([1, 2, 3].map((i) => net.startNode(`node-${i}`, { args: ['--lanes', i === 3 ? '0' : '1'] })))
})
test.after(async () => {
  await net?.stop()
  if (process.env.KEEP === undefined) rmSync(folder, { recursive: true, force: true })
})

test('x', async () => {
  await new Promise((r) => setTimeout(r, 60_000))
  for (const e of events) if (/pulse|ready|funds|chain|failed/.test(e.event)) console.log(new Date(e.at).toISOString().slice(17, 23), e.actor, JSON.stringify(e.facts).slice(0, 300))
})

test.run()
