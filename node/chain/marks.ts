import type { Hex } from 'viem'

/** A block up to which events were read, with its hash: what shows later that it is still there. */
export type Mark = { number: bigint; hash: Hex }

/** Newest last, with old ones thinned out: `depth` blocks back, the distance between marks may be as large as the distance from the tip. */
export function withMark(marks: readonly Mark[], mark: Mark, depth: bigint): Mark[] {
  const older = marks.filter(({ number }) => number < mark.number && mark.number - number <= depth)
  const kept: Mark[] = []
  for (const each of older) {
    const last = kept.at(-1)
    const gap = last === undefined ? null : each.number - last.number
    // Dense near the tip, where chains fork; a deep fork is read again from a little before it.
    if (gap === null || mark.number - each.number <= 32n || gap >= (mark.number - each.number) / 4n) kept.push(each)
  }
  return [...kept, mark]
}

/**
 * Where reading goes on, given what the chain now says of the marked blocks (null: not asked, or it does not have one of that
 * height yet). `next` null when nothing was undone.
 * @param start where to begin when no marked block is left
 */
export function afterFork(
  marks: readonly Mark[],
  hashes: readonly (Hex | null)[],
  start: bigint,
): { next: bigint | null; marks: Mark[] } {
  let undone = false
  for (let i = marks.length - 1; i >= 0; i--) {
    const found = hashes[i] ?? null
    if (found === null) continue
    if (found === marks[i]!.hash) {
      // Blocks above an endpoint's own tip are unknown to it, not undone.
      return undone ? { next: marks[i]!.number + 1n, marks: marks.slice(0, i + 1) } : { next: null, marks: [...marks] }
    }
    undone = true
  }
  return undone ? { next: start, marks: [] } : { next: null, marks: [...marks] }
}
