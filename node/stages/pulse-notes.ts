import { utf8 } from '../../protocol/bytes.ts'
import { openFiles } from '../net/files.ts'
import type { PulseLoss } from './pulse-plan.ts'

/** How a node did in pulses, for people: `sinter status` reads it beside a node that runs. Slots and amounts as decimal strings. */
export type PulseStatus = {
  /** Lanes that it computes at most. */
  lanes: number
  /** Pulses of which it has opened, answered, reported, and lanes it has claimed. */
  counts: { opened: number; answered: number; reported: number; claimed: number }
  /** Timestamp in seconds. */
  last: { slot: string; openedAt: number; lanes: number } | null
  /** The last pulse of which nothing came, and why. */
  skipped: { slot: string; reason: PulseLoss; detail: Record<string, string> } | null
}

export type PulseNotes = {
  opened(): Promise<void>
  answered(slot: bigint, openedAt: bigint, lanes: number): Promise<void>
  reported(): Promise<void>
  claimed(): Promise<void>
  /** `reason` null where all that could come has come. */
  ended(slot: bigint, reason: PulseLoss | null, detail: Record<string, string>): Promise<void>
}

const FILE = 'status.json'

const EMPTY: Omit<PulseStatus, 'lanes'> = {
  counts: { opened: 0, answered: 0, reported: 0, claimed: 0 },
  last: null,
  skipped: null,
}

/** What a node of this folder noted last, null where none did. */
export async function pulseStatus(folder: string): Promise<PulseStatus | null> {
  const bytes = await (await openFiles(folder)).read(FILE)
  return bytes === null ? null : (JSON.parse(new TextDecoder().decode(bytes)) as PulseStatus)
}

/** Notes in a folder of their own, on top of those that are there. A disk that does not take them stops nothing. */
export async function openNotes(folder: string, lanes: number): Promise<PulseNotes> {
  const files = await openFiles(folder)
  const status: PulseStatus = { ...structuredClone(EMPTY), ...(await pulseStatus(folder).catch(() => null)), lanes }
  const save = (): Promise<void> => files.write(FILE, utf8(`${JSON.stringify(status, null, 2)}\n`)).catch(() => {})
  const count = (what: keyof PulseStatus['counts']): Promise<void> => {
    status.counts[what]++
    return save()
  }
  await save()
  return {
    opened: () => count('opened'),
    reported: () => count('reported'),
    claimed: () => count('claimed'),
    answered(slot, openedAt, computed) {
      status.last = { slot: slot.toString(), openedAt: Number(openedAt), lanes: computed }
      return count('answered')
    },
    async ended(slot, reason, detail) {
      if (reason !== null) status.skipped = { slot: slot.toString(), reason, detail }
      await save()
    },
  }
}
