/**
 * A link with a round-trip time, a process of its own: `MS PORT…` listens on a port for each port given, carries bytes between the two,
 * each way MS milliseconds late, and prints the ports it listens on. It limits nothing else: what comes together goes together.
 */
import { connect, createServer, type Socket } from 'node:net'

const [delay, ...targets] = process.argv.slice(2).map(Number) as [number, ...number[]]

/** Hands on what arrives, and the end, so many milliseconds later and in order. */
function late(from: Socket, to: Socket): void {
  const queue: { at: number; chunk: Buffer | null }[] = []
  let waiting = false
  const pass = (): void => {
    waiting = false
    const now = performance.now()
    to.cork()
    for (let next = queue[0]; next !== undefined && next.at <= now; next = queue[0]) {
      queue.shift()
      if (next.chunk === null) to.end()
      else to.write(next.chunk)
    }
    to.uncork()
    if (queue.length > 0) wait(queue[0]!.at - now)
  }
  const wait = (ms: number): void => {
    waiting = true
    setTimeout(pass, Math.max(1, ms))
  }
  const push = (chunk: Buffer | null): void => {
    queue.push({ at: performance.now() + delay, chunk })
    if (!waiting) wait(delay)
  }
  from.on('data', push)
  from.on('end', () => push(null))
  from.on('error', () => to.destroy())
}

const ports = await Promise.all(
  targets.map(
    (target) =>
      new Promise<number>((resolve) => {
        const server = createServer({ noDelay: true }, (near) => {
          const far = connect({ port: target, host: '127.0.0.1', noDelay: true })
          late(near, far)
          late(far, near)
        })
        server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
      }),
  ),
)
console.log(JSON.stringify(ports))
