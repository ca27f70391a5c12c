// A light client of its own, for memory.ts: sends jobs one after the other and says after each hundred what it holds.
import { readFileSync } from 'node:fs'
import type * as Sdk from '../../node/sdk.ts'

const { sdk, images, network, rpcUrl, bootstrap, dataDir, password, model, jobs } = JSON.parse(
  process.argv[2]!,
) as Record<string, string>
const { connect } = (await import(sdk!)) as typeof Sdk
const client = await connect({
  network: network!,
  rpcUrl: rpcUrl!,
  bootstrap: [bootstrap!],
  dataDir: dataDir!,
  password: password!,
  devnet: true,
  ceiling: 10n ** 17n,
  audit: 0,
  scheduler: { providers: 1, windowMs: 20_000, bids: 1, sessionJobs: 2_000 },
})
const pictures = JSON.parse(readFileSync(images!, 'utf8')) as number[][]
const report = (done: number): void => {
  const { rss, heapUsed, external } = process.memoryUsage()
  process.send?.({ done, rss, heapUsed, external })
}
report(0)
for (let done = 1; done <= Number(jobs); done++) {
  const { receipt } = await client.infer(model!, { image: pictures[done % pictures.length]! }, { timeoutMs: 60_000 })
  if (done % 100 > 0) continue
  await receipt.acknowledged()
  report(done)
}
if (process.env.HEAP_SNAPSHOT !== undefined) (await import('node:v8')).writeHeapSnapshot(process.env.HEAP_SNAPSHOT)
await client.stop()
process.exit(0)
