/** A job that waits for its turn to be sent. */
export type Turn = {
  /** Its place: jobs are sent in this order, also those that are sent again. */
  ticket: number
  /** Whether nothing else may be under way beside it. */
  alone: boolean
  start(): void
}

export type Line = {
  /** Starts them now or when they may. */
  enter(...turns: Turn[]): void
  /** It does not wait any more. */
  leave(turn: Turn): void
  /** Starts what may start: called whenever `free` may say something else. */
  advance(): void
}

/** Jobs in the order of their tickets; the first holds up those behind it until it is `free` to go. */
export function createLine(free: (turn: Turn) => boolean): Line {
  const waiting: Turn[] = []
  function advance(): void {
    while (waiting.length > 0 && free(waiting[0]!)) waiting.shift()!.start()
  }
  return {
    enter(...turns) {
      waiting.push(...turns)
      waiting.sort((a, b) => a.ticket - b.ticket)
      advance()
    },
    leave(turn) {
      const at = waiting.indexOf(turn)
      if (at >= 0) waiting.splice(at, 1)
      advance()
    },
    advance,
  }
}
