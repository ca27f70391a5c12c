import { curves } from 'snarkjs'
import { SinterError } from '../protocol/errors.ts'
import { readVerifyingKey } from './artifacts.ts'
import { type PreparedKey, prepareKey, verifyBatch, verifyProof } from './groth16.ts'
import { CIRCUIT_KINDS, type CircuitKind } from './signals.ts'
import type { Verifier } from './verify.ts'

/**
 * A verifier in the page itself: a browser has no child processes, and a package cannot start a worker in whatever bundle it
 * ends up in. Tens of milliseconds a proof, during which the page stands still; eight together cost about as much as three.
 */
export async function createVerifier(): Promise<Verifier> {
  // One thread: more would be workers from blob URLs, which a page's security policy forbids.
  const curve = await curves.getCurveFromName('bn128', { singleThread: true })
  const keys = {} as Record<CircuitKind, PreparedKey>
  for (const kind of CIRCUIT_KINDS) keys[kind] = prepareKey(curve, await readVerifyingKey(kind))
  let closed = false
  const check = (): void => {
    if (closed) throw new SinterError('VERIFIER_CLOSED', 'the verifier is closed')
  }
  return {
    async verify(kind, signals, proof) {
      check()
      return verifyProof(keys[kind], signals, proof)
    },
    async verifyAll(claims) {
      check()
      return verifyBatch(claims.map(({ kind, signals, proof }) => ({ key: keys[kind], signals, proof })))
    },
    async close() {
      closed = true
    },
  }
}
