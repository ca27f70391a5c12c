import { existsSync } from 'node:fs'
import { join, parse } from 'node:path'
import { networkId } from '../../protocol/network.ts'
import { MAX_SET_BYTES, openOutputSet, readOutput } from '../client/sealed-set.ts'
import { peerOfKey } from '../identity/identity.ts'
import { namedValues } from '../jobs/tensors.ts'
import { joinNetwork } from './join.ts'
import type { JoinOptions } from './options.ts'
import { makeFolder, writeWhole } from './write.ts'

export type ResultsOptions = JoinOptions & { out: string; from?: string; json: boolean; logLevel: string }

/**
 * Fetches the results of a batch by the CID that it ended with, from the provider that made them or whoever keeps them, opens them and
 * writes one JSON file each. Those that are there are left out. Throws the codes of `Content.get` and of sealed files.
 */
export async function results(cid: string, options: ResultsOptions): Promise<void> {
  const { network, identity, client } = await joinNetwork(options)
  try {
    const owner = { identity, networkId: networkId(network) }
    const { out } = options
    const { content } = client
    const from = options.from === undefined ? [] : [options.from]
    const file = await content.get(cid, { maxBytes: MAX_SET_BYTES, timeoutMs: 60_000, from })
    const set = openOutputSet(cid, file, owner)
    from.push(peerOfKey(set.provider).toString())
    makeFolder(out)
    for (const item of set.items) {
      const path = join(out, `${parse(item.name).name}.json`)
      if (existsSync(path)) continue
      const outputs = namedValues(await readOutput(item, set, { ...owner, content, from }))
      const plain = Object.entries(outputs).map(([name, { shape, data }]) => [name, { shape, data: Array.from(data) }])
      writeWhole(path, `${JSON.stringify({ outputs: Object.fromEntries(plain) })}\n`)
    }
    if (options.json) console.log(JSON.stringify({ event: 'results', files: set.items.length }))
    else console.log(`${set.items.length} results in ${out}`)
  } finally {
    await client.stop()
  }
}
