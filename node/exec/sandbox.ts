import { spawnSync } from 'node:child_process'
import { lstatSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PACKAGE_ROOT } from '../../protocol/assets.ts'

/**
 * What an execution process may reach. A model's bytes are a stranger's and ONNX Runtime is native code, so two walls stand
 * around it:
 *
 * | what | how | where |
 * |---|---|---|
 * | files of our own code and the runtime only, no writing, no processes | Node's permission model | every system, against JavaScript; native code is not bound by it |
 * | no network at all, no capabilities | a user and a network namespace of its own (`unshare`) | Linux that allows them; against native code too |
 * | memory, time, life | watchdog and host | every system |
 */
export type Sandbox = {
  /** Program and arguments in front of the script that `fork` is given. */
  execPath: string
  execArgv: string[]
  /** Whether the kernel keeps the process off the network. */
  offline: boolean
}

/** Folders of ours that a child's code comes from; the data folder, with keys and store, is none of them. */
const OWN = ['node', 'models', 'protocol', '.dist', 'package.json']

/** Folder of an installed package, with everything in it. */
function packageFolder(name: string, from: string): string {
  const entry = fileURLToPath(import.meta.resolve(name, from))
  const mark = `${sep}node_modules${sep}${name}${sep}`
  const at = entry.lastIndexOf(mark)
  return at < 0 ? dirname(entry) : entry.slice(0, at + mark.length)
}

/** Where the child's own search for a package meets symbolic links, which some package managers install with. */
function links(name: string): string[] {
  const found: string[] = []
  for (let folder = PACKAGE_ROOT; ; folder = dirname(folder)) {
    const modules = join(folder, 'node_modules')
    if (isLink(modules)) found.push(modules)
    if (isLink(join(modules, name))) found.push(join(modules, name))
    if (folder === dirname(folder)) return found
  }
}

const isLink = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false

/** Paths that the child reads. Where the runtime is not installed it says so itself. */
function readable(): string[] {
  const own = OWN.map((name) => join(PACKAGE_ROOT, name))
  try {
    const runtime = import.meta.resolve('onnxruntime-node')
    return [
      ...own,
      packageFolder('onnxruntime-node', import.meta.url),
      packageFolder('onnxruntime-common', runtime),
      ...links('onnxruntime-node'),
    ]
  } catch {
    return own
  }
}

const UNSHARE = ['--user', '--net', '--']

let namespaces: boolean | null = null

/** Whether this machine lets us make namespaces: asked once, with a program that does nothing. */
function canUnshare(): boolean {
  namespaces ??=
    process.platform === 'linux' &&
    spawnSync('unshare', [...UNSHARE, process.execPath, '--version'], { stdio: 'ignore', timeout: 10_000 }).status === 0
  return namespaces
}

/** @param memoryMb limit of V8's heap (MiB); the whole process is watched from inside */
export function sandbox(memoryMb: number): Sandbox {
  const coverage = process.env.NODE_V8_COVERAGE
  const flags = [
    `--max-old-space-size=${memoryMb}`,
    '--no-warnings',
    '--permission',
    '--allow-addons',
    // The watchdog.
    '--allow-worker',
    ...readable().map((path) => `--allow-fs-read=${path}`),
    ...(coverage ? [`--allow-fs-read=${coverage}`, `--allow-fs-write=${coverage}`] : []),
  ]
  return canUnshare()
    ? { execPath: 'unshare', execArgv: [...UNSHARE, process.execPath, ...flags], offline: true }
    : { execPath: process.execPath, execArgv: flags, offline: false }
}
