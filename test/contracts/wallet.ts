/** The tests' contract wallet (Wallet.sol) on a chain: compiled on the spot, since nothing that is deployed knows it. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Abi, createPublicClient, createWalletClient, defineChain, encodeFunctionData, type Hex, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { assetPath } from '../../protocol/assets.ts'
import { SETTINGS } from '../../protocol/contracts/compile.ts'

type Compiled = { contracts: Record<string, Record<string, { abi: Abi; evm: { bytecode: { object: string } } }>> }

function compileWallet(): { abi: Abi; bytecode: Hex } {
  const solc = createRequire(import.meta.url)('solc') as {
    compile(input: string, callbacks: { import(path: string): { contents: string } }): string
  }
  const input = {
    language: 'Solidity',
    sources: { 'Wallet.sol': { content: readFileSync(assetPath('test/contracts/Wallet.sol'), 'utf8') } },
    settings: { ...SETTINGS, outputSelection: { '*': { Wallet: ['abi', 'evm.bytecode.object'] } } },
  }
  const read = (path: string) => ({ contents: readFileSync(assetPath(`node_modules/${path}`), 'utf8') })
  const { contracts } = JSON.parse(solc.compile(JSON.stringify(input), { import: read })) as Compiled
  const { abi, evm } = contracts['Wallet.sol']!.Wallet!
  return { abi, bytecode: `0x${evm.bytecode.object}` }
}

export type ContractWallet = {
  address: Hex
  /** A call by the wallet, sent by its owner. */
  call(to: Hex, abi: Abi, functionName: string, args: unknown[]): Promise<void>
  /** From now on the wallet says of everything that it has not signed it. */
  fallSilent(): Promise<void>
}

/** Deploys a wallet whose owner has this key, and ether for gas. */
export async function deployWallet(rpcUrl: string, chainId: number, owner: Hex): Promise<ContractWallet> {
  const { abi, bytecode } = compileWallet()
  const account = privateKeyToAccount(owner)
  const nativeCurrency = { name: 'Ether', symbol: 'ETH', decimals: 18 }
  const chain = defineChain({ id: chainId, name: 'test', nativeCurrency, rpcUrls: { default: { http: [rpcUrl] } } })
  const client = createWalletClient({ account, chain, transport: http(rpcUrl) })
  const reader = createPublicClient({ chain, transport: http(rpcUrl), pollingInterval: 50 })
  const mined = async (hash: Hex) => {
    const receipt = await reader.waitForTransactionReceipt({ hash })
    if (receipt.status !== 'success') throw new Error(`the wallet's transaction was refused: ${hash}`)
    return receipt
  }
  const { contractAddress } = await mined(await client.deployContract({ abi, bytecode, args: [account.address] }))
  const address = contractAddress!.toLowerCase() as Hex
  const send = async (functionName: string, args: unknown[]): Promise<void> => {
    await mined(await client.writeContract({ address, abi, functionName, args }))
  }
  return {
    address,
    call: (to, target, functionName, args) =>
      send('execute', [to, encodeFunctionData({ abi: target, functionName, args })]),
    fallSilent: () => send('fallSilent', []),
  }
}
