import { type ChildProcess, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTestClient, type Hex, http } from 'viem'
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts'
import { SinterError } from '../../protocol/errors.ts'
import { guardProcess } from '../exec/guard.ts'

/** A running embedded chain. */
export type Anvil = {
  rpcUrl: string
  chainId: number
  pid: number
  /** Key of a fresh account that owns `10^6` ether; nobody knows it but this process. */
  key: Hex
  /** Sets an account's ether (wei). */
  setEther(address: Hex, wei: bigint): Promise<void>
  /** Mines blocks now, with `seconds` from one to the next. */
  mine(blocks: number, seconds?: number): Promise<void>
  /** Moves the clock forward and mines one block. */
  skip(seconds: number): Promise<void>
  /** Any other JSON-RPC method of anvil, such as `anvil_reorg`. */
  request(method: string, params?: unknown[]): Promise<unknown>
  /** Ends the process; resolves when it is gone. */
  stop(): Promise<void>
}

/**
 * @param port TCP port on 127.0.0.1. @default 0, a free one
 * @param blockTime seconds from block to block; 0 mines each transaction at once. @default 1
 * @param chainId @default 31337
 * @param state file that the chain is read from, if it is there, and written to at the end. @default none
 */
export type AnvilOptions = { port?: number; blockTime?: number; chainId?: number; state?: string }

const PLATFORMS: Record<string, string> = { linux: 'linux', darwin: 'darwin', win32: 'win32' }
const ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' }
const START_TIMEOUT_MS = 20_000

/** The binary of a @foundry-rs tool for this machine, without the npm wrapper, which relies on install scripts. */
export function foundryBinary(tool: 'anvil' | 'forge'): string {
  const platform = `${PLATFORMS[process.platform]}-${ARCHITECTURES[process.arch]}`
  try {
    const wrapper = createRequire(import.meta.url).resolve(`@foundry-rs/${tool}/package.json`)
    const manifest = createRequire(wrapper).resolve(`@foundry-rs/${tool}-${platform}/package.json`)
    return join(dirname(manifest), 'bin', process.platform === 'win32' ? `${tool}.exe` : tool)
  } catch (cause) {
    throw new SinterError('ANVIL_MISSING', `${tool} is not installed for ${platform}: run npm ci`, { cause })
  }
}

/** Starts anvil and waits until it answers. Throws `ANVIL_MISSING`, `ANVIL_START`. */
export async function startAnvil(options: AnvilOptions = {}): Promise<Anvil> {
  const { port = 0, blockTime = 1, chainId = 31_337, state } = options
  const timing = blockTime > 0 ? ['--block-time', String(blockTime)] : []
  const args = [
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '--chain-id',
    String(chainId),
    '--accounts',
    '0',
    ...timing,
    ...(state === undefined ? [] : ['--state', state]),
  ]
  const child = spawn(foundryBinary('anvil'), args, { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true })
  // A parent that ends without `stop` must not leave the chain behind.
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const release = guardProcess(child.pid)
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve())).then(release)
  const stop = async (): Promise<void> => {
    process.removeListener('exit', kill)
    child.kill('SIGTERM')
    const patience = sleep(3_000, undefined, { ref: false }).then(kill)
    await gone
    void patience
  }
  try {
    const rpcUrl = `http://${await listening(child)}`
    const client = createTestClient({ mode: 'anvil', transport: http(rpcUrl) })
    const key = generatePrivateKey()
    await client.setBalance({ address: privateKeyToAddress(key), value: 10n ** 24n })
    return {
      rpcUrl,
      chainId,
      pid: child.pid!,
      key,
      stop,
      request: (method, params = []) => client.request({ method, params } as never),
      setEther: (address, wei) => client.setBalance({ address, value: wei }),
      mine: (blocks, seconds) => client.mine({ blocks, ...(seconds === undefined ? {} : { interval: seconds }) }),
      async skip(seconds) {
        await client.increaseTime({ seconds })
        await client.mine({ blocks: 1 })
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** host:port from anvil's own announcement; afterwards its output is drained and dropped. */
function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const fail = (reason: string, cause?: unknown): void =>
      reject(new SinterError('ANVIL_START', `anvil did not start: ${reason}`, { cause, detail: { output: text } }))
    const timer = setTimeout(() => fail('no answer in time'), START_TIMEOUT_MS)
    const read = (chunk: Buffer): void => {
      text += chunk.toString()
      const found = /Listening on (\S+:\d+)/.exec(text)
      if (found === null) return
      clearTimeout(timer)
      for (const stream of [child.stdout!, child.stderr!]) stream.off('data', read).resume()
      resolve(found[1]!)
    }
    child.stdout!.on('data', read)
    child.stderr!.on('data', read)
    child.once('error', (error) => {
      clearTimeout(timer)
      fail(error.message, error)
    })
    child.once('exit', (code) => {
      clearTimeout(timer)
      fail(`it ended with ${code}`)
    })
  })
}
