// Child process of the verifier: holds the prepared keys and answers one request after the other.
import { curves } from 'snarkjs'
import { readVerifyingKey } from './artifacts.ts'
import { type PreparedKey, prepareKey, verifyBatch, verifyProof } from './groth16.ts'
import { CIRCUIT_KINDS, type CircuitKind } from './signals.ts'
import type { VerifierReply, VerifierRequest } from './verify.ts'

const curve = await curves.getCurveFromName('bn128', { singleThread: true })
const keys = {} as Record<CircuitKind, PreparedKey>
for (const kind of CIRCUIT_KINDS) keys[kind] = prepareKey(curve, await readVerifyingKey(kind))

async function judge(request: VerifierRequest): Promise<VerifierReply['verdict']> {
  if (!('claims' in request)) return verifyProof(keys[request.kind], request.signals, request.proof)
  return verifyBatch(request.claims.map(({ kind, signals, proof }) => ({ key: keys[kind], signals, proof })))
}

process.on('message', async (request: VerifierRequest) => {
  process.send?.({ id: request.id, verdict: await judge(request) } satisfies VerifierReply)
})
// A parent that dies takes its verifier with it.
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
