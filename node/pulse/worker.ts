// Child process of a pulse: computes lanes one after the other. What it runs is ours, so it needs no walls around it.
import { setPriority } from 'node:os'
import { describeError, errorCode } from '../../protocol/errors.ts'
import type { LaneReply, LaneRequest } from './engine.ts'
import { computeLane } from './lane.ts'
import { openProducts, type Products } from './products.ts'

/** Jobs and proofs come first: who waits for those is worth more than a pulse. */
const NICE = 10
try {
  setPriority(NICE)
} catch {
  // A system that does not allow it gives its own order.
}
let opened: { n: number; products: Products } | null = null

process.on('message', async ({ session, ...work }: LaneRequest) => {
  const { n } = work.pulse
  let reply: LaneReply
  try {
    if (opened?.n !== n) opened = { n, products: await openProducts(n, session) }
    reply = { ok: true, result: await computeLane(opened.products, work) }
  } catch (error) {
    reply = { ok: false, code: errorCode(error), message: describeError(error) }
  }
  process.send?.(reply)
})
// A parent that dies takes its children with it.
process.on('disconnect', () => process.exit(0))
