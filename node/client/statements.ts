/**
 * When the consumer commits to what it sent and received: work for milliseconds that nobody waits for, so it is done while no answer is
 * awaited, or when as much has gathered as may.
 */
export type Statements = {
  /** Adds one, whose turn comes after those before it; `onError` is told when it fails. */
  add(make: () => Promise<void>, onError: (error: unknown) => void): void
  /** Something changed that `init` tells of. */
  look(): void
  /** From now on they are made at once. */
  hurry(): void
}

export type StatementsInit = {
  /** Whether an answer is awaited. */
  answering(): boolean
  /** Whether no further job may be sent before one has its receipt. */
  pressed(): boolean
  /** Statements that may gather while answers are awaited. @default 4 */
  most?: number
  /** Milliseconds without a job under way after which they are made: the next one often comes right after an answer. @default 10 */
  quietMs?: number
}

/** After what is ready to run has run: a request that is there leaves first. */
const afterwards = (): Promise<void> =>
  new Promise((resolve) => (typeof setImmediate === 'function' ? setImmediate(resolve) : setTimeout(resolve)))

export function createStatements({ answering, pressed, most = 4, quietMs = 10 }: StatementsInit): Statements {
  const waiting: { make(): Promise<void>; onError(error: unknown): void }[] = []
  let working = false
  let hurried = false
  let timer: ReturnType<typeof setTimeout> | undefined

  async function work(): Promise<void> {
    working = true
    for (const { make, onError } of waiting.splice(0)) {
      await afterwards()
      await make().catch(onError)
    }
    working = false
    look()
  }

  function look(): void {
    if (working || waiting.length === 0) return
    clearTimeout(timer)
    timer = undefined
    if (hurried || pressed() || waiting.length >= most) void work()
    else if (!answering())
      timer = setTimeout(() => {
        if (!answering()) void work()
      }, quietMs)
  }

  return {
    add(make, onError) {
      waiting.push({ make, onError })
      look()
    },
    look,
    hurry() {
      hurried = true
      look()
    },
  }
}
