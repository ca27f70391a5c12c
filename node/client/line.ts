/** A job that waits for its turn to be sent. */
export type Turn = {
  /** Its place: jobs are sent in this order, also those that are sent again. */
  ticket: number
  /** Whether nothing else may be under way beside it. */
  alone: boolean
  start(): void
}

export type Line = {
  /** Starts it now or when it may. */
  enter(turn: Turn): void
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
    enter(turn) {
      const after = waiting.findIndex(({ ticket }) => ticket > turn.ticket)
      waiting.splice(after < 0 ? waiting.length : after, 0, turn)
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
