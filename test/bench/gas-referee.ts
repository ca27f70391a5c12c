import { type Abi, encodeFunctionData, type Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { readVerifyingKey } from '../../circuits/artifacts.ts'
import { createProver } from '../../circuits/prove.ts'
import { createVerifier } from '../../circuits/verify.ts'
import type { Anvil } from '../../node/chain/anvil.ts'
import { openClient } from '../../node/chain/client.ts'
import { keyWords } from '../../node/chain/keys.ts'
import type { Done } from '../../node/chain/steps.ts'
import { openTransactor } from '../../node/chain/transact.ts'
import { toHex } from '../../protocol/bytes.ts'
import { attestationParts, CIRCUIT_NUMBERS, signalsHash } from '../../protocol/claims.ts'
import { encode } from '../../protocol/codec.ts'
import { refereeAbi } from '../../protocol/contracts/abi.ts'
import { AttestationSchema } from '../../protocol/gen/sinter_pb.js'
import type { NetworkFile } from '../../protocol/network.ts'
import { relationInput } from '../circuits/fixtures.ts'

/** A transaction of this key's, mined. */
export async function sendAs(anvil: Anvil, network: NetworkFile, key: Hex, to: Hex, data: Hex): Promise<Done> {
  const account = privateKeyToAccount(key)
  const transactor = openTransactor(openClient(anvil.rpcUrl, 5), network.chainId, account)
  const receipt = await transactor.send({ to, data, action: 'bench' })
  transactor.close()
  return { tx: receipt.transactionHash, block: receipt.blockNumber, gasUsed: receipt.gasUsed }
}

/**
 * An attestation that claims a real proof of `relation` for signals of which one is another: the pairing fails, and nothing before it. What
 * convicts its batch is `proveProof`, with all signals and the whole key in the call.
 */
export async function relationForgery(batch: Uint8Array) {
  const prover = await createProver()
  const { publicSignals, proof } = await prover.prove('relation', relationInput())
  await prover.close()
  const verifier = await createVerifier()
  if (!(await verifier.verify('relation', publicSignals, proof))) throw new Error('the proof does not hold')
  await verifier.close()
  const signals = publicSignals.with(-1, publicSignals.at(-1)! + 1n)
  const networkId = new Uint8Array(32)
  const segments = [{ signals: signalsHash('relation', signals), proof }]
  const payload = encode(AttestationSchema, { batch, jobs: [{ statements: [{ segments }] }] })
  const { digest, length, chunks, claims, tree } = attestationParts(payload, networkId)
  const index = claims.findIndex(({ kind }) => kind === 'proof')
  const key = keyWords(await readVerifyingKey('relation'))

  return {
    digest,
    signals: signals.length,
    nonZero: signals.filter((signal) => signal !== 0n).length,
    /** Convicts a batch that is committed to the digest. */
    convict(anvil: Anvil, network: NetworkFile, sender: Hex, batchId: Hex): Promise<Done> {
      const parts = { length, chunks: toHex(chunks.root), claimCount: claims.length, claims: toHex(tree.root) }
      const leaf = { index, path: tree.path(index).map(toHex) }
      const claim = { job: 0, statement: 0, segment: 0, proof: toHex(proof) }
      const args = [batchId, parts, leaf, claim, CIRCUIT_NUMBERS.relation, signals, key]
      const data = encodeFunctionData({ abi: refereeAbi as Abi, functionName: 'proveProof', args })
      return sendAs(anvil, network, sender, network.contracts.referee, data)
    },
  }
}
