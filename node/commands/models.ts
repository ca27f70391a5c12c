import { connectWith, formatAmount, type JoinOptions, parseCount } from './joined.ts'

export type ModelsOptions = JoinOptions & { ceiling: string; window: string; json: boolean; logLevel: string }

/** What providers ask for models now, and who has them loaded. The network keeps no index, so models are named by their CIDs. */
export async function models(cids: string[], options: ModelsOptions): Promise<void> {
  const consumer = await connectWith(options)
  try {
    for (const cid of cids) {
      const { name, units, inputs, outputs } = await consumer.model(cid)
      const quotes = await consumer.quote(cid, { windowMs: parseCount(options.window) })
      const listed = quotes.map((quote) => ({ ...quote, price: formatAmount(quote.price) }))
      if (options.json) {
        console.log(JSON.stringify({ event: 'model', model: cid, name, units, inputs, outputs, quotes: listed }))
        continue
      }
      const ends = (list: { name: string; shape: number[] }[]) =>
        list.map((end) => `${end.name} [${end.shape}]`).join(', ')
      console.log(`${name} (${cid}): ${ends(inputs)} → ${ends(outputs)}, ${units} multiply-adds`)
      if (listed.length === 0) console.log('  nobody bids: a higher ceiling or a longer window may help')
      for (const { provider, price, expectedLatencyMs, warm, executionProvider } of listed)
        console.log(
          `  ${provider}: ${price} SNTR, ${expectedLatencyMs} ms, ${warm ? 'warm' : 'cold'}, ${executionProvider}`,
        )
    }
  } finally {
    await consumer.stop()
  }
}
