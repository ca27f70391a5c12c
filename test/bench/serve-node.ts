/** The node's command line, which says once a second how late its event loop ran. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createProgram } from '../../node/program.ts'

const delay = monitorEventLoopDelay({ resolution: 5 })
delay.enable()
// Cumulative buckets are of no use to the reader: each line is of its own second.
setInterval(() => {
  console.log(JSON.stringify({ event: 'loop', p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 }))
  delay.reset()
}, 1_000).unref()
await createProgram().parseAsync()
process.exit(0)
