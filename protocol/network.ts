import { z } from 'zod'
import { toHex, utf8 } from './bytes.ts'
import { SinterError } from './errors.ts'
import { hash } from './hash.ts'

const address = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/)
  .transform((text) => text.toLowerCase() as `0x${string}`)
const digest = z.string().regex(/^[0-9a-f]{64}$/)

/**
 * A network, as everyone on it must know it: chain, contracts, their immutable parameters, and the keys of the circuits.
 * Its hash is part of every signed message and of every topic name, so nodes of different networks never mix.
 */
export const networkSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9-]{1,32}$/),
  chainId: z.number().int().positive(),
  deployBlock: z.number().int().nonnegative(),
  contracts: z.strictObject({
    token: address,
    registry: address,
    escrow: address,
    beacon: address,
    batches: address,
    seats: address,
    votes: address,
    canaries: address,
    strikes: address,
    prices: address,
    emissions: address,
    referee: address,
    capacity: address,
    faucet: address.optional(),
  }),
  /** Constructor arguments of the contracts; integers beyond 2^53 as decimal strings. */
  params: z.record(z.string(), z.union([z.number(), z.string()])),
  /** Tiles drawn for each drawn job, beside those always checked. */
  tileDraws: z.number().int().min(2).max(4096),
  /** SHA-256 of the verification keys that proofs on this network must satisfy. */
  circuits: z.strictObject({ relation: digest, pointwise: digest, product: digest, extremum: digest }),
})

export type NetworkFile = z.infer<typeof networkSchema>

/** JSON with sorted keys and no white space: the same bytes for the same content. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${entries.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`
  }
  return JSON.stringify(value)
}

export function parseNetwork(json: unknown): NetworkFile {
  const parsed = networkSchema.safeParse(json)
  if (!parsed.success) throw new SinterError('NETWORK_FILE', `not a network file: ${z.prettifyError(parsed.error)}`)
  return parsed.data
}

export function networkId(network: NetworkFile): Uint8Array {
  return hash('network', utf8(canonicalJson(network)))
}

/** Short name used in topics and protocol ids: the network's name and the first four bytes of its id. */
export function networkTag(network: NetworkFile): string {
  return `${network.name}-${toHex(networkId(network).subarray(0, 4)).slice(2)}`
}
