import { type CudaInstalled, installCuda } from '../cuda/install.ts'
import { cudaFolders } from '../cuda/requirements.ts'

/** What an operator is told after the libraries are in place; the last line says whether they can be used. */
export function reportCuda({ files, source, requirements }: CudaInstalled, folders = cudaFolders()): string[] {
  const { cudaMajor, cudnnMajor, libraries, driver } = requirements
  const missing = libraries.filter(({ found }) => !found).map(({ name }) => name)
  const lines = [
    `installed from ${source.kind === 'nuget' ? 'NuGet' : `a ${source.kind}`}, ${source.version === null ? 'version not known' : `version ${source.version}`}:`,
    ...files.map(({ file, bytes, sha256 }) => `  ${file} (${(bytes / 1e6).toFixed(1)} MB, sha256 ${sha256})`),
    `linked with CUDA ${cudaMajor ?? 'of no named version'}, cuDNN ${cudnnMajor ?? 'of no named version'}`,
  ]
  if (!driver) lines.push('missing: libcuda.so.1, which comes with the NVIDIA driver')
  if (missing.length > 0) {
    lines.push(`missing: ${missing.join(', ')}`)
    lines.push(
      `  install CUDA ${cudaMajor ?? ''} and cuDNN ${cudnnMajor ?? ''}, or name their folder in LD_LIBRARY_PATH`.replaceAll(
        '  ',
        ' ',
      ),
    )
    if (folders.length > 0) lines.push(`  found here: ${folders.join(', ')}`)
  }
  lines.push(
    driver && missing.length === 0 ? 'ready: sinter up --ep cuda' : 'not ready: --ep cuda will refuse to start',
  )
  return lines
}

/** Throws the codes of `installCuda`. */
export async function cudaInstall(options: { from?: string; nuget?: string }): Promise<void> {
  const installed = await installCuda({ ...options, say: (line) => console.log(line) })
  for (const line of reportCuda(installed)) console.log(line)
}
