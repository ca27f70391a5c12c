import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { neededLibraries } from './elf.ts'

/** What a CUDA provider library wants of the machine. */
export type Requirements = {
  /** Major version of CUDA that it is linked with; null where it names none. */
  cudaMajor: number | null
  /** Major version of cuDNN. */
  cudnnMajor: number | null
  /** Libraries of NVIDIA's that it names, and whether the loader finds each. */
  libraries: { name: string; found: boolean }[]
  /** Whether the driver's own library is there. */
  driver: boolean
}

/** Folders besides the loader's own in which CUDA is commonly installed. */
const FOLDERS = [
  '/usr/local/cuda/lib64',
  '/opt/cuda/lib64',
  '/usr/lib/wsl/lib',
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib64',
]
const NVIDIA =
  /^lib(cuda|cublas|cublasLt|cudnn|cufft|curand|cusparse|cusolver|nvrtc|nvJitLink|cudart|nvinfer)[A-Za-z_]*\.so/

/** Names of libraries that the loader's cache lists. */
function loaderCache(): Set<string> {
  for (const program of ['ldconfig', '/sbin/ldconfig', '/usr/sbin/ldconfig']) {
    const { status, stdout } = spawnSync(program, ['-p'], { encoding: 'utf8', timeout: 10_000 })
    if (status === 0) return new Set([...stdout.matchAll(/^\t(\S+) /gm)].map((match) => match[1]!))
  }
  return new Set()
}

/** How this machine's loader is asked; exchanged in tests. */
export type Loader = { has(name: string): boolean }

function machineLoader(): Loader {
  const cache = loaderCache()
  const listed = (process.env.LD_LIBRARY_PATH ?? '').split(':').filter((folder) => folder !== '')
  return { has: (name) => cache.has(name) || [...listed, ...FOLDERS].some((folder) => existsSync(join(folder, name))) }
}

const majorOf = (names: string[], library: RegExp): number | null => {
  for (const name of names) {
    const match = library.exec(name)
    if (match !== null) return Number(match[1])
  }
  return null
}

/** Throws `ELF_MALFORMED`. */
export async function requirementsOf(library: string, loader: Loader = machineLoader()): Promise<Requirements> {
  const names = (await neededLibraries(library)).filter((name) => NVIDIA.test(name))
  return {
    cudaMajor: majorOf(names, /^lib(?:cudart|cublas|cublasLt)\.so\.(\d+)/),
    cudnnMajor: majorOf(names, /^libcudnn[a-z_]*\.so\.(\d+)/),
    libraries: names.map((name) => ({ name, found: loader.has(name) })),
    driver: loader.has('libcuda.so.1'),
  }
}

/** CUDA installations below /usr/local, for a hint where libraries may lie. */
export function cudaFolders(root = '/usr/local'): string[] {
  try {
    return readdirSync(root)
      .filter((name) => /^cuda-\d+(\.\d+)?$/.test(name))
      .map((name) => join(root, name, 'lib64'))
  } catch {
    return []
  }
}
