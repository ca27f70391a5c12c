/** `sinter chain deploy` and `chain check` on a real chain. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { encodeDeployData, type Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { type Anvil, startAnvil } from '../../node/chain/anvil.ts'
import { checkDeployment } from '../../node/chain/check.ts'
import { openClient } from '../../node/chain/client.ts'
import { type Creation, creationsOf } from '../../node/chain/creations.ts'
import { deployDrandBeacon, openDrandBeacon } from '../../node/chain/drand.ts'
import { chainlinkFeed, parseFeed } from '../../node/chain/oracle.ts'
import { devnetParams, firstParams, paramsFromJson, paramsToJson } from '../../node/chain/params.ts'
import { openTransactor } from '../../node/chain/transact.ts'
import { chainCheck, chainDeploy, readParams } from '../../node/commands/chain.ts'
import { parseGwei, parseRpc } from '../../node/commands/options.ts'
import { createKeystore } from '../../node/identity/keystore.ts'
import { EVMNET, localRounds } from '../../protocol/drand.ts'
import { type NetworkFile, networkTag, parseNetwork } from '../../protocol/network.ts'
import { code, deployFeed, word } from './chain-world.ts'

const folder = mkdtempSync(join(tmpdir(), 'sinter-deploy-'))
const passwordFile = join(folder, 'password')
const data = join(folder, 'deployer')
const out = join(folder, 'network.json')
let anvil: Anvil
const says: string[] = []
const say = (line: string): void => void says.push(line)
const refused = (action: () => unknown): Promise<string> => code(Promise.resolve().then(action))

test.before(async () => {
  anvil = await startAnvil({ blockTime: 0 })
  writeFileSync(passwordFile, 'password\n')
  mkdirSync(data)
  const { address } = await createKeystore(join(data, 'key.json'), 'password', { cost: 'devnet' })
  await anvil.setEther(address, 10n ** 22n)
})
test.after(async () => {
  await anvil?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const options = () => ({
  name: 'tried',
  rpc: [anvil.rpcUrl],
  data,
  passwordFile,
  devnet: true,
  tiles: '8',
  out,
  faucet: false,
})

test('a network is deployed by RPC URL and its file is true', async () => {
  const file = join(folder, 'params.json')
  writeFileSync(file, JSON.stringify({ draws: 8, minStake: '2000000000000000000000', seatStake: '5' }))
  await chainDeploy({ ...options(), params: file }, say)
  const network = parseNetwork(JSON.parse(readFileSync(out, 'utf8')))
  const params = paramsFromJson(network.params)
  assert.equal([params.draws, params.minStake, params.quorum], [8, 2_000n * 10n ** 18n, 2])
  assert.ok(says.some((line) => line.includes(networkTag(network))))
  assert.ok((await checkDeployment(network, anvil.rpcUrl)) >= 30)
  await chainCheck({ network: out, rpc: [anvil.rpcUrl] }, say)
  assert.is(await code(chainDeploy(options(), say)), 'FILE_EXISTS')

  // Every parameter that stands in a contract is compared.
  const { genesis: _, faucetTokens: __, faucetEther: ___, classes, capacityClasses, ...onChain } = network.params
  for (const name of Object.keys(onChain)) {
    const stated = network.params[name]!
    const changed = typeof stated === 'number' ? stated + 1 : String(BigInt(stated) + 1n)
    const other = { ...network, params: { ...network.params, [name]: changed } }
    assert.is(await code(checkDeployment(other, anvil.rpcUrl)), 'NETWORK_MISMATCH', name)
  }
  for (const other of [`${classes}1`, `${classes},gpu:1:1`, String(classes).replace('cpu', 'gpu')])
    assert.is(
      await code(checkDeployment({ ...network, params: { ...network.params, classes: other } }, anvil.rpcUrl)),
      'NETWORK_MISMATCH',
      other,
    )
  const lanes = String(capacityClasses)
  for (const other of [
    `${lanes}1`,
    `${lanes},gpu:256:16:4:25:2:1`,
    lanes.replace('cpu', 'gpu'),
    lanes.replace(':16:', ':32:'),
  ])
    assert.is(
      await code(checkDeployment({ ...network, params: { ...network.params, capacityClasses: other } }, anvil.rpcUrl)),
      'NETWORK_MISMATCH',
      other,
    )
  const { escrow } = network.contracts
  for (const name of ['registry', 'token', 'beacon', 'prices', 'emissions', 'seats', 'capacity'] as const) {
    const contracts = { ...network.contracts, [name]: escrow }
    assert.is.not(await code(checkDeployment({ ...network, contracts }, anvil.rpcUrl)), 'NO_ERROR', name)
  }
})

/** A network whose deployer sends something else than this software would for one of its contracts. */
async function deployedWith(change: (creation: Creation) => Partial<Creation>): Promise<NetworkFile> {
  const client = openClient(anvil.rpcUrl)
  const transactor = openTransactor(client, await client.getChainId(), privateKeyToAccount(anvil.key))
  const first = await client.getTransactionCount({ address: transactor.address })
  const params = devnetParams
  const made = await creationsOf({ from: transactor.address, first, params, faucet: false, drand: null })
  let deployBlock = Number.POSITIVE_INFINITY
  for (const creation of made.creations) {
    const { abi, bytecode, args, contract } = { ...creation, ...change(creation) }
    const data = encodeDeployData({ abi, bytecode, args })
    const { blockNumber } = await transactor.send({ data, action: contract })
    deployBlock = Math.min(deployBlock, Number(blockNumber))
  }
  transactor.close()
  const honest = parseNetwork(JSON.parse(readFileSync(out, 'utf8')))
  return { ...honest, deployBlock, contracts: made.contracts, params: paramsToJson(params) }
}

test('a deployer that keeps a key to somebody’s money is found', async () => {
  assert.is(await code(checkDeployment(await deployedWith(() => ({})), anvil.rpcUrl)), 'NO_ERROR')
  const own = privateKeyToAccount(anvil.key).address
  // A judge takes any seat for whomever it names.
  const judge = await deployedWith(({ contract, args }) =>
    contract === 'Seats' ? { args: [...args.slice(0, 4), [...(args[4] as unknown[]), own]] } : {},
  )
  assert.is(await code(checkDeployment(judge, anvil.rpcUrl)), 'NETWORK_MISMATCH')
  // Code that answers every question as it should, with another number in it.
  const other = await deployedWith(({ contract, bytecode }) =>
    contract === 'Strikes' ? { bytecode: bytecode.replace('612710', '612711') as Hex } : {},
  )
  assert.is(await code(checkDeployment(other, anvil.rpcUrl)), 'NETWORK_MISMATCH')
  // Nothing of it was created there.
  const late = await deployedWith(() => ({}))
  assert.is(
    await code(checkDeployment({ ...late, deployBlock: late.deployBlock + 1 }, anvil.rpcUrl)),
    'NETWORK_MISMATCH',
  )
})

test('parameters that are unknown or contradict each other are refused before anything is sent', async () => {
  const file = join(folder, 'bad.json')
  for (const [text, expected] of [
    ['{"drws": 8}', 'NETWORK_PARAMS'],
    ['{"draws": "x"}', 'NETWORK_PARAMS'],
    ['[1]', 'NETWORK_PARAMS'],
    ['{', 'NETWORK_PARAMS'],
  ] as const) {
    writeFileSync(file, text)
    assert.is(await refused(() => readParams(file, false)), expected, text)
  }
  const bad = { ...options(), out: join(folder, 'other.json'), params: file }
  for (const text of [
    '{"unbondingDelay": 1}',
    '{"seatStake": "1000000000000000000001"}',
    '{"canaryWindow": 100}',
    '{"committeeSize": 128, "quorum": 90}',
    '{"minStake": "900000000000000000000", "seatStake": "1"}',
    '{"pulseReporters": 128}',
  ]) {
    writeFileSync(file, text)
    assert.is(await code(chainDeploy(bad, say)), 'NETWORK_PARAMS', text)
  }
  assert.equal(readParams(undefined, false), firstParams)
})

test('a network of strangers has no time of the devnet: days are not minutes, and a window is longer than a block', () => {
  const times = Object.entries(firstParams).filter(
    ([name, value]) =>
      typeof value === 'number' && /(Window|Delay|Length|Grace|Exclusion|Period|Activation|Pending|Lock)$/.test(name),
  )
  assert.ok(times.length > 20, `${times.length} times`)
  assert.equal(
    times.filter(([name, value]) => value === devnetParams[name as keyof typeof devnetParams]),
    [],
  )
  const BLOCK_S = 12
  // Were its rounds counted as blocks are, there would be four pulses for each that capacity is paid for.
  const drand = readParams(undefined, false, EVMNET)
  assert.is(drand.slotLength * EVMNET.period, firstParams.slotLength * BLOCK_S)
  assert.is(drand.minDelay, firstParams.minDelay * BLOCK_S)
  for (const [name, value] of times) if (name.endsWith('Window')) assert.ok(Number(value) >= 15 * BLOCK_S, name)
  // protocol/spec/economics.md §4.
  const { epochLength, stakeActivation, consumerLock } = firstParams
  assert.equal([epochLength, stakeActivation, consumerLock], [86_400, 7 * 86_400, 30 * 86_400])
})

test('endpoints and gas prices are read from the command line or refused', async () => {
  assert.equal(parseRpc(['http://a', 'https://b,http://c']), ['http://a', 'https://b', 'http://c'])
  for (const bad of [[], ['ftp://a'], ['a'], ['http://a,b']]) assert.is(await refused(() => parseRpc(bad)), 'OPTION')
  assert.is(parseGwei('0.05'), 50_000_000n)
  for (const bad of ['', '-1', '1.0000000001', 'x']) assert.is(await refused(() => parseGwei(bad)), 'OPTION')
})

test('slots of a drand beacon are recorded with rounds of a local source, and with nothing else', async () => {
  const source = localRounds(77n)
  const params = { ...source, genesis: 1_000_000_000, period: 3, roundsPerSlot: 10, minDelay: 30 }
  const address = await deployDrandBeacon(anvil.rpcUrl, anvil.key, params)
  const beacon = await openDrandBeacon(anvil.rpcUrl, anvil.key, address, source)
  const slot = await beacon.nextSlot()
  const round = await beacon.roundOf(slot)
  assert.is(round, slot * 10n)
  assert.is(await beacon.value(slot), null)
  assert.is(await code(beacon.record(slot, source.sign(round + 1n))), 'DRAND_SIGNATURE')
  const done = await beacon.record(slot, source.sign(round))
  assert.ok(done !== null && done.gasUsed < 300_000n, String(done?.gasUsed))
  assert.ok((await beacon.value(slot)) !== null)
  assert.is(await beacon.record(slot, source.sign(round)), null)
  // A key that the program takes for its own and the contract does not: the contract has the last word.
  const wrong = await openDrandBeacon(anvil.rpcUrl, anvil.key, address, localRounds(78n))
  assert.is(await code(wrong.record(slot + 1n, localRounds(78n).sign(round + 10n))), 'CHAIN_SignatureWrong')
  const none = { ...params, publicKey: new Uint8Array(128) }
  assert.is(await code(deployDrandBeacon(anvil.rpcUrl, anvil.key, none)), 'CHAIN_BadBeaconParams')
  wrong.close()
  beacon.close()
})

test('a feed in the shape of Chainlink’s is read as the price it states, and not when it is old', async () => {
  const address = await deployFeed(anvil, 2_500n * 10n ** 8n)
  assert.is(await parseFeed(address, anvil.rpcUrl).price(), 2_500n * 10n ** 18n)
  assert.is(await parseFeed('0.5', anvil.rpcUrl).price(), 5n * 10n ** 17n)
  await anvil.skip(100)
  assert.is(await code(chainlinkFeed(anvil.rpcUrl, address, { maxAgeS: 99 }).price()), 'ORACLE_STALE')
  assert.is(await chainlinkFeed(anvil.rpcUrl, address, { maxAgeS: 200 }).price(), 2_500n * 10n ** 18n)
  const none = await deployFeed(anvil, -1n)
  assert.is(await code(chainlinkFeed(anvil.rpcUrl, none).price()), 'ORACLE_ANSWER')
  const empty = word(1n).slice(0, 42) as `0x${string}`
  assert.is.not(await code(chainlinkFeed(anvil.rpcUrl, empty).price()), 'NO_ERROR')
})

test.run()
