export type BatchProgress = { done: number; failed: number; of: number; cost: string; elapsedMs: number }

const BAR = 20

function left(seconds: number): string {
  if (seconds < 100) return `${Math.ceil(seconds)} s left`
  return seconds < 6_000 ? `${Math.ceil(seconds / 60)} min left` : `${Math.ceil(seconds / 3_600)} h left`
}

/** One line that is narrower than the terminal, so that it can be written over: a bar, counts, cost in tokens, pace. */
export function progressLine({ done, failed, of, cost, elapsedMs }: BatchProgress, columns: number): string {
  const ended = done + failed
  const full = Math.floor((BAR * ended) / Math.max(1, of))
  const pace = (1_000 * ended) / Math.max(1, elapsedMs)
  const parts = [
    `[${'█'.repeat(full)}${'░'.repeat(BAR - full)}] ${ended} of ${of}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    `${cost} SNTR`,
    ...(ended > 0 ? [`${pace.toFixed(1)}/s`] : []),
    ...(ended > 0 && ended < of ? [left((of - ended) / pace)] : []),
  ]
  return parts.join(', ').slice(0, Math.max(0, columns - 1))
}
