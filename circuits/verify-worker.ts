// Child process of the verifier: holds the prepared keys and answers one proof after the other.
import { curves } from 'snarkjs'
import { readVerifyingKey } from './artifacts.ts'
import { prepareVerifier } from './groth16.ts'
import type { VerifierReply, VerifierRequest } from './verify.ts'

const curve = await curves.getCurveFromName('bn128', { singleThread: true })
const verifiers = {
  relation: prepareVerifier(curve, await readVerifyingKey('relation')),
  pointwise: prepareVerifier(curve, await readVerifyingKey('pointwise')),
}

process.on('message', async ({ id, kind, signals, proof }: VerifierRequest) => {
  process.send?.({ id, verdict: await verifiers[kind](signals, proof) } satisfies VerifierReply)
})
// A parent that dies takes its verifier with it.
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
