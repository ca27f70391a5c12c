import { verifyingKeyHashes } from '../circuits/artifacts.ts'
import { SinterError } from '../protocol/errors.ts'
import type { NetworkFile } from '../protocol/network.ts'

/** Hashes of the circuits' verification keys in this installation, as a network file names them. */
export async function installedCircuits(): Promise<NetworkFile['circuits']> {
  const { relation, pointwise } = await verifyingKeyHashes()
  return { relation: relation.replace(/^0x/, ''), pointwise: pointwise.replace(/^0x/, '') }
}

/** A node works only with the keys its network names: a proof under others would mean nothing there. Throws `CIRCUIT_KEYS`. */
export async function checkCircuits(network: NetworkFile): Promise<void> {
  const installed = await installedCircuits()
  for (const circuit of ['relation', 'pointwise'] as const)
    if (installed[circuit] !== network.circuits[circuit])
      throw new SinterError(
        'CIRCUIT_KEYS',
        `network ${network.name} names another ${circuit} key than the one installed here`,
      )
}
