// Child process of the verifier: holds the prepared keys and answers one proof after the other.
import { curves } from 'snarkjs'
import { readVerifyingKey } from './artifacts.ts'
import { prepareVerifier } from './groth16.ts'
import { CIRCUIT_KINDS, type CircuitKind } from './signals.ts'
import type { VerifierReply, VerifierRequest } from './verify.ts'

const curve = await curves.getCurveFromName('bn128', { singleThread: true })
const prepared = await Promise.all(
  CIRCUIT_KINDS.map(async (kind) => [kind, prepareVerifier(curve, await readVerifyingKey(kind))] as const),
)
const verifiers = Object.fromEntries(prepared) as Record<CircuitKind, ReturnType<typeof prepareVerifier>>

process.on('message', async ({ id, kind, signals, proof }: VerifierRequest) => {
  process.send?.({ id, verdict: await verifiers[kind](signals, proof) } satisfies VerifierReply)
})
// A parent that dies takes its verifier with it.
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
