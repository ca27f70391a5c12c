/**
 * A node that keeps its escrow balance at a target, in a process of its own that can be killed at any moment:
 * `chain-crash.ts NETWORK.json RPC STORE KEY TARGET`. Prints the balance when it is there.
 */
import { readFileSync } from 'node:fs'
import { openChain } from '../../node/chain/chain.ts'
import { storedJournal } from '../../node/chain/stored-journal.ts'
import { openStore } from '../../node/store/store.ts'
import type { Hex } from '../../protocol/bytes.ts'
import { parseNetwork } from '../../protocol/network.ts'

const [file, rpcUrl, folder, key, target] = process.argv.slice(2) as [string, string, string, Hex, string]
const store = await openStore(folder)
const network = parseNetwork(JSON.parse(readFileSync(file, 'utf8')))
const chain = await openChain({ network, rpcUrl, key, journal: storedJournal(store), confirmations: 2, pollMs: 50 })
const missing = BigInt(target) - (await chain.balanceOf(chain.address!))
if (missing > 0n) await chain.deposit(missing)
else if (missing < 0n) await chain.withdraw(-missing)
console.log(`balance ${await chain.balanceOf(chain.address!)}`)
chain.close()
await store.close()
process.exit(0)
