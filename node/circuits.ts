import { verifyingKeyHashes } from '../circuits/artifacts.ts'
import { CIRCUIT_KINDS, type CircuitKind } from '../circuits/signals.ts'
import { SinterError } from '../protocol/errors.ts'
import type { NetworkFile } from '../protocol/network.ts'

/** Hashes of the circuits' verification keys in this installation, as a network file names them. */
export async function installedCircuits(): Promise<NetworkFile['circuits']> {
  const hashes = await verifyingKeyHashes()
  const digest = (kind: CircuitKind): string => hashes[kind].replace(/^0x/, '')
  return {
    relation: digest('relation'),
    pointwise: digest('pointwise'),
    product: digest('product'),
    extremum: digest('extremum'),
  }
}

/** A node works only with the keys its network names: a proof under others would mean nothing there. Throws `CIRCUIT_KEYS`. */
export async function checkCircuits(network: NetworkFile): Promise<void> {
  const installed = await installedCircuits()
  for (const circuit of CIRCUIT_KINDS)
    if (installed[circuit] !== network.circuits[circuit])
      throw new SinterError(
        'CIRCUIT_KEYS',
        `network ${network.name} names another ${circuit} key than the one installed here`,
      )
}
