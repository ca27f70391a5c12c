/** Lines of an account as it grows; on a terminal also a status line below them that shows what is going on. */
export type Progress = {
  /** A stage begins. */
  stage(name: string): void
  /** A line that stays. */
  line(text: string): void
  /** What is happening right now; shown on a terminal only. */
  status(text: string): void
  end(): void
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

export function createProgress(
  out: NodeJS.WriteStream,
  now: () => number = performance.now.bind(performance),
): Progress {
  const started = now()
  const live = out.isTTY === true
  let status = ''
  let frame = 0
  const clock = (): string => `${((now() - started) / 1000).toFixed(1).padStart(6)} s`
  const erase = (): void => {
    if (live) out.write('\r\x1b[2K')
  }
  const draw = (): void => {
    if (!live || status === '') return
    const text = `${FRAMES[frame++ % FRAMES.length]} ${clock()}  ${status}`
    out.write(`\r\x1b[2K${text.slice(0, (out.columns ?? 80) - 1)}`)
  }
  const timer = live ? setInterval(draw, 100) : null
  timer?.unref()
  const write = (text: string): void => {
    erase()
    out.write(`${text}\n`)
    draw()
  }
  return {
    stage(name) {
      status = name
      write(`${clock()}  ${name}`)
    },
    line: (text) => write(text === '' ? '' : `          ${text}`),
    status(text) {
      status = text
    },
    end() {
      if (timer !== null) clearInterval(timer)
      status = ''
      erase()
    },
  }
}
