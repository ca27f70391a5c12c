/**
 * Writes groth16.json: a real proof of the smallest circuit with its key in words, for the Solidity tests. Proofs are random, so the file is
 * committed and not made anew: `node node/build/run.js test/contracts/groth16.ts`.
 */
import { writeFileSync } from 'node:fs'
import { readVerifyingKey } from '../../circuits/artifacts.ts'
import { createProver } from '../../circuits/prove.ts'
import { keyWords } from '../../node/chain/keys.ts'
import { assetPath } from '../../protocol/assets.ts'
import { toHex } from '../../protocol/bytes.ts'
import { productInput } from '../circuits/fixtures.ts'

const prover = await createProver()
const { publicSignals, proof } = await prover.prove('product', productInput())
await prover.close()
const key = keyWords(await readVerifyingKey('product'))
const words = (list: bigint[]): string[] => list.map((word) => `0x${word.toString(16).padStart(64, '0')}`)
const file = { key: words(key), signals: words(publicSignals), proof: toHex(proof) }
writeFileSync(assetPath('test/contracts/groth16.json'), `${JSON.stringify(file, null, 2)}\n`)
