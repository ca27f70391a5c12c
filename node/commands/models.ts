import { connectWith, formatAmount, type JoinOptions, parseCount } from './joined.ts'

export type ModelsOptions = JoinOptions & { ceiling: string; window: string; json: boolean; logLevel: string }

/** The network keeps no index: what is listed is what the peers of this client say they have. */
async function list(consumer: Awaited<ReturnType<typeof connectWith>>, { json }: ModelsOptions): Promise<void> {
  const listings = await consumer.models()
  for (const { price, ...listing } of listings) {
    const { manifest, name, warm, providers } = listing
    const asked = price === null ? null : formatAmount(price)
    if (json) console.log(JSON.stringify({ event: 'listed', ...listing, price: asked }))
    else {
      const offers =
        asked === null ? 'published, nobody has loaded it' : `warm at ${warm} of ${providers}, from ${asked} SNTR`
      console.log(`${manifest}  ${name || '(no name told)'}: ${offers}`)
    }
  }
  if (!json)
    console.log(listings.length === 0 ? 'nobody tells of a model' : 'as peers tell; name CIDs for prices that hold')
}

/** What is on the network; of models named by their CIDs, what providers ask for them now, and who has them loaded. */
export async function models(cids: string[], options: ModelsOptions): Promise<void> {
  const consumer = await connectWith(options)
  try {
    if (cids.length === 0) await list(consumer, options)
    for (const cid of cids) {
      const { name, units, inputs, outputs, caught } = await consumer.model(cid)
      const quotes = await consumer.quote(cid, { windowMs: parseCount(options.window) })
      const listed = quotes.map((quote) => ({ ...quote, price: formatAmount(quote.price) }))
      if (options.json) {
        console.log(
          JSON.stringify({ event: 'model', model: cid, name, units, inputs, outputs, caught, quotes: listed }),
        )
        continue
      }
      const ends = (list: { name: string; shape: number[] }[]) =>
        list.map((end) => `${end.name} [${end.shape}]`).join(', ')
      console.log(`${name} (${cid}): ${ends(inputs)} → ${ends(outputs)}, ${units} multiply-adds`)
      const within = outputs.map((end) => `${end.name} ± ${end.tolerance}`).join(', ')
      const odds = `a broken op ${(100 * caught.op).toFixed(1)}%, one edited leaf ${(100 * caught.leaf).toFixed(1)}%`
      console.log(`  answers within ${within}; a drawn job gives away ${odds}`)
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
