import { type Hex, keccak256, numberToHex, type PublicClient, type RpcBlock, toRlp } from 'viem'
import { SinterError } from '../../protocol/errors.ts'

/** Header fields in the order they are hashed; later forks only append. */
const FIELDS = [
  'parentHash',
  'sha3Uncles',
  'miner',
  'stateRoot',
  'transactionsRoot',
  'receiptsRoot',
  'logsBloom',
  'difficulty',
  'number',
  'gasLimit',
  'gasUsed',
  'timestamp',
  'extraData',
  'mixHash',
  'nonce',
  'baseFeePerGas',
  'withdrawalsRoot',
  'blobGasUsed',
  'excessBlobGas',
  'parentBeaconBlockRoot',
  'requestsHash',
] as const
const QUANTITIES = new Set<string>([
  'difficulty',
  'number',
  'gasLimit',
  'gasUsed',
  'timestamp',
  'baseFeePerGas',
  'blobGasUsed',
  'excessBlobGas',
])

/** RLP writes a number without leading zeros, and zero as nothing. */
function quantity(hex: Hex): Hex {
  const digits = hex.slice(2).replace(/^0+/, '')
  return `0x${digits.length % 2 === 0 ? digits : `0${digits}`}`
}

/** RLP of a block's header. Throws `CHAIN_HEADER` when the node's answer does not hash to the block's hash. */
export function encodeHeader(block: RpcBlock): Hex {
  const fields = block as unknown as Record<string, Hex | undefined>
  const present = FIELDS.filter((name) => fields[name] !== undefined && fields[name] !== null)
  const rlp = toRlp(present.map((name) => (QUANTITIES.has(name) ? quantity(fields[name]!) : fields[name]!)))
  if (keccak256(rlp) !== block.hash) {
    throw new SinterError('CHAIN_HEADER', `block ${block.number} has header fields this program does not know`)
  }
  return rlp
}

/** Headers of the blocks from `from` down to `to`, inclusive. */
export async function fetchHeaders(client: PublicClient, from: bigint, to: bigint): Promise<Hex[]> {
  const headers: Hex[] = []
  for (let number = from; number >= to; number--) {
    const block = await client.request({ method: 'eth_getBlockByNumber', params: [numberToHex(number), false] })
    if (block === null) throw new SinterError('CHAIN_HEADER', `block ${number} is not known to the endpoint`)
    headers.push(encodeHeader(block))
  }
  return headers
}
