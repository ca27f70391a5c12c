import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { toHex } from '../../protocol/bytes.ts'
import { errorCode } from '../../protocol/errors.ts'
import { canonicalJson, type NetworkFile, networkId, networkTag, parseNetwork } from '../../protocol/network.ts'
import { contract } from '../../protocol/vectors/cases.ts'

const file = {
  name: 'devnet',
  chainId: 31337,
  deployBlock: 4,
  contracts: {
    token: contract('token'),
    registry: contract('registry'),
    escrow: contract('escrow'),
    beacon: contract('beacon'),
    batches: contract('batches'),
    prices: contract('prices'),
    seats: contract('seats'),
    votes: contract('votes'),
    canaries: contract('canaries'),
    strikes: contract('strikes'),
    emissions: contract('emissions'),
    capacity: contract('capacity'),
    referee: contract('referee'),
  },
  params: { draws: 4, minStake: '1000000000000000000000' },
  tileDraws: 8,
  circuits: {
    relation: 'ab'.repeat(32),
    pointwise: 'cd'.repeat(32),
    product: '12'.repeat(32),
    extremum: '34'.repeat(32),
  },
}
const base: NetworkFile = parseNetwork(file)

const refusal = (json: unknown): string => {
  try {
    parseNetwork(json)
  } catch (error) {
    return errorCode(error)
  }
  return 'NONE'
}

test('the id does not depend on the order of keys, on white space or on the case of addresses', () => {
  const shuffled = JSON.parse(JSON.stringify(Object.fromEntries(Object.entries(file).reverse()), null, 4))
  assert.equal(networkId(parseNetwork(shuffled)), networkId(base))
  const upper = { ...file, contracts: { ...file.contracts, token: `0x${file.contracts.token.slice(2).toUpperCase()}` } }
  assert.equal(networkId(parseNetwork(upper)), networkId(base))
})

test('everything in the file is bound by the id', () => {
  const others: unknown[] = [
    { ...file, name: 'testnet' },
    { ...file, chainId: 1 },
    { ...file, deployBlock: 5 },
    ...Object.keys(file.contracts).map((name) => ({
      ...file,
      contracts: { ...file.contracts, [name]: contract('x') },
    })),
    { ...file, contracts: { ...file.contracts, faucet: contract('faucet') } },
    { ...file, params: { ...file.params, draws: 5 } },
    { ...file, params: { ...file.params, extra: 1 } },
    { ...file, tileDraws: 9 },
    { ...file, circuits: { ...file.circuits, relation: 'ef'.repeat(32) } },
    { ...file, circuits: { ...file.circuits, pointwise: 'ef'.repeat(32) } },
  ]
  const ids = [base, ...others.map(parseNetwork)].map((each) => toHex(networkId(each)))
  assert.is(new Set(ids).size, ids.length)
})

test('the tag is the name and the first four bytes of the id', () => {
  assert.is(networkTag(base), `devnet-${toHex(networkId(base)).slice(2, 10)}`)
})

test('limits: the last good value and the first bad one', () => {
  const good: unknown[] = [
    { ...file, tileDraws: 2 },
    { ...file, tileDraws: 4096 },
    { ...file, name: 'a'.repeat(32) },
    { ...file, chainId: 1 },
    { ...file, deployBlock: 0 },
  ]
  const bad: unknown[] = [
    null,
    'devnet',
    {},
    { ...file, tileDraws: 1 },
    { ...file, tileDraws: 4097 },
    { ...file, tileDraws: 2.5 },
    { ...file, name: '' },
    { ...file, name: 'a'.repeat(33) },
    { ...file, name: 'a/b' },
    { ...file, chainId: 0 },
    { ...file, deployBlock: -1 },
    { ...file, unknown: 1 },
    { ...file, contracts: { ...file.contracts, token: '0x12' } },
    { ...file, contracts: { ...file.contracts, other: contract('x') } },
    { ...file, params: { draws: true } },
    { ...file, circuits: { ...file.circuits, relation: 'AB'.repeat(32) } },
    { ...file, circuits: { relation: file.circuits.relation } },
  ]
  for (const json of good) assert.is(refusal(json), 'NONE', JSON.stringify(json))
  for (const json of bad) assert.is(refusal(json), 'NETWORK_FILE', JSON.stringify(json))
})

test('canonical JSON sorts keys at every depth and leaves out what is undefined', () => {
  assert.is(
    canonicalJson({ b: [1, { d: 'é"', c: null }], a: undefined, A: true }),
    '{"A":true,"b":[1,{"c":null,"d":"é\\""}]}',
  )
})

test.run()
