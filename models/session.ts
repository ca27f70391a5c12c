import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type ort from 'onnxruntime-node'
import { SinterError } from '../protocol/errors.ts'
import { halfBits, halfValue } from './half.ts'

/**
 * The only home of `onnxruntime-node`. Its calls block the thread and its GPU memory is only returned when the process
 * ends, so this module belongs in a child process.
 */

export const EXECUTION_PROVIDERS = ['cpu', 'cuda', 'tensorrt', 'webgpu', 'coreml', 'dml'] as const
export type ExecutionProvider = (typeof EXECUTION_PROVIDERS)[number]

/** A float32 tensor, row-major, batch axis included. */
export type FloatTensor = { data: Float32Array; shape: number[] }

export type ModelSession = {
  executionProvider: ExecutionProvider
  inputNames: readonly string[]
  outputNames: readonly string[]
  /** Throws `INPUT_NAME`, `INPUT_SHAPE` or `RUN_FAILED`. */
  run(inputs: Record<string, FloatTensor>): Promise<Record<string, FloatTensor>>
  /** Releases the session; a second call does nothing. */
  dispose(): Promise<void>
}

export type SessionOptions = {
  executionProvider: ExecutionProvider
  /** Threads inside one operator, CPU only. @default ONNX Runtime's own choice, one per core */
  threads?: number
  /** Device number, for CUDA, TensorRT and DirectML. @default the provider's first */
  deviceId?: number
}

/** Version of ONNX Runtime that this package is made for; its CUDA files must be the same one's. */
export const RUNTIME_VERSION = '1.30.0'

/** Folder of ONNX Runtime's native libraries for this platform. */
export function libraryFolder(): string {
  const entry = fileURLToPath(import.meta.resolve('onnxruntime-node'))
  return join(entry, '..', '..', 'bin', 'napi-v6', process.platform, process.arch)
}

/**
 * ONNX Runtime, loaded on first use. It is an optional dependency: its install script fetches CUDA files on Linux, and where
 * that fails npm leaves the package out rather than fail to install ours.
 */
async function loadRuntime(): Promise<typeof ort> {
  checkRuntime()
  return (await import('onnxruntime-node')).default
}

/** Throws `RUNTIME_MISSING` with the remedy when ONNX Runtime is not installed; loads nothing. */
export function checkRuntime(): void {
  try {
    import.meta.resolve('onnxruntime-node')
  } catch (cause) {
    throw new SinterError(
      'RUNTIME_MISSING',
      `ONNX Runtime is not installed: install it with \`npm install onnxruntime-node@${RUNTIME_VERSION} --onnxruntime-node-install=skip\``,
      { cause },
    )
  }
}

const unavailable = (message: string, cause?: unknown): SinterError =>
  new SinterError('EP_UNAVAILABLE', message, { cause })

/** [refuse] A GPU that was asked for and cannot be used is an error with its remedy, never a quiet fall back to the CPU. */
function checkProvider(runtime: typeof ort, provider: ExecutionProvider): void {
  if (!runtime.listSupportedBackends().some(({ name }) => name === provider))
    throw unavailable(
      `execution provider ${provider} does not exist on ${process.platform} ${process.arch}; choose another with --ep`,
    )
  if (provider !== 'cuda' && provider !== 'tensorrt') return
  const missing = missingLibraries(provider)
  if (missing.length > 0)
    throw unavailable(
      `ONNX Runtime's CUDA files are not installed (${missing.join(', ')} in ${libraryFolder()}). Install them with ` +
        '`npx sinter cuda install`, or with `--from` from the onnxruntime-gpu wheel of the same version; or run with --ep cpu',
    )
}

/** Libraries that CUDA and TensorRT need beside the runtime's own, by the names they have on this platform. */
export function providerLibraries(
  platform: NodeJS.Platform = process.platform,
): Record<'shared' | 'cuda' | 'tensorrt', string> {
  const name = (part: string): string =>
    platform === 'win32' ? `onnxruntime_providers_${part}.dll` : `libonnxruntime_providers_${part}.so`
  return { shared: name('shared'), cuda: name('cuda'), tensorrt: name('tensorrt') }
}

function missingLibraries(provider: 'cuda' | 'tensorrt'): string[] {
  const { shared, cuda, tensorrt } = providerLibraries()
  const needed = provider === 'cuda' ? [shared, cuda] : [shared, cuda, tensorrt]
  return needed.filter((file) => !existsSync(join(libraryFolder(), file)))
}

const REMEDY: Record<ExecutionProvider, string> = {
  cpu: '',
  cuda: 'check that the driver, CUDA 12 and cuDNN 9 are installed and that nvidia-smi lists a GPU, or run with --ep cpu',
  tensorrt:
    'check that the driver, CUDA 12, cuDNN 9 and TensorRT 10 are installed and that nvidia-smi lists a GPU, or run with --ep cuda or --ep cpu',
  coreml: 'CoreML covers only part of the operators on macOS: run with --ep webgpu or --ep cpu',
  dml: 'check that Windows has a Direct3D 12 driver for the device, or run with --ep cpu',
  webgpu: 'check that a Vulkan, Metal or Direct3D 12 driver is installed, or run with --ep cpu',
}

/** TensorRT takes the parts of a graph that it knows; what it leaves runs on CUDA, on the same device. */
function providersOf(
  provider: ExecutionProvider,
  deviceId: number | undefined,
): ort.InferenceSession.ExecutionProviderConfig[] {
  const names = provider === 'tensorrt' ? ['tensorrt', 'cuda'] : [provider]
  return names.map((name) => (deviceId === undefined ? name : ({ name, deviceId } as { name: string })))
}

async function create(runtime: typeof ort, model: Uint8Array, options: SessionOptions): Promise<ort.InferenceSession> {
  const { executionProvider, threads, deviceId } = options
  const gpu = executionProvider !== 'cpu'
  try {
    return await runtime.InferenceSession.create(model, {
      executionProviders: providersOf(executionProvider, deviceId),
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
      // ONNX Runtime would run what the GPU cannot on the CPU; with this it fails instead.
      // On the CPU its threads would spin for milliseconds after each run, and take from everybody else half of what the model takes.
      // And where the processor has no instruction for products of unsigned and signed bytes (x86 before VNNI), it adds two of them in 16 bits, which
      // saturates: a quantised model would answer with other numbers there than everywhere else.
      extra: {
        session: gpu ? { disable_cpu_ep_fallback: '1' } : { intra_op: { allow_spinning: '0' }, x64quantprecision: '1' },
      },
    })
  } catch (cause) {
    if (gpu) throw unavailable(`${executionProvider} cannot run this model here: ${REMEDY[executionProvider]}`, cause)
    throw new SinterError('MODEL_LOAD', 'ONNX Runtime cannot load the model', { cause })
  }
}

/** Numbers as a model takes them: outside of it they are float32, whichever of the three float types it computes with. */
function tensorOf(
  runtime: typeof ort,
  metadata: ort.InferenceSession.ValueMetadata | undefined,
  { data, shape }: FloatTensor,
): ort.Tensor {
  const type = metadata?.isTensor ? metadata.type : 'float32'
  if (type === 'float64') return new runtime.Tensor('float64', Float64Array.from(data), shape)
  // ONNX Runtime 1.30 reads bits; its own tensors hold a Float16Array where there is one, which it takes for empty.
  if (type === 'float16')
    return { type, data: Uint16Array.from(data, halfBits), dims: shape, location: 'cpu' } as unknown as ort.Tensor
  return new runtime.Tensor('float32', data, shape)
}

/** The same the other way; null for a tensor of anything else. */
function floatsOf({ type, data }: ort.Tensor): Float32Array | null {
  if (data instanceof Float32Array) return data
  if (type === 'float64') return Float32Array.from(data as Float64Array)
  // As bits where the platform has no such array.
  if (type === 'float16')
    return data instanceof Uint16Array
      ? Float32Array.from(data, halfValue)
      : Float32Array.from(data as unknown as ArrayLike<number>)
  return null
}

/** Feeds for ONNX Runtime; exactly the model's inputs, each with as many values as its shape says. */
function feedsOf(
  runtime: typeof ort,
  { inputNames: names, inputMetadata }: Pick<ort.InferenceSession, 'inputNames' | 'inputMetadata'>,
  inputs: Record<string, FloatTensor>,
): Record<string, ort.Tensor> {
  for (const name of Object.keys(inputs))
    if (!names.includes(name)) throw new SinterError('INPUT_NAME', `the model has no input ${name}`)
  return Object.fromEntries(
    names.map((name, index) => {
      const input = Object.hasOwn(inputs, name) ? inputs[name] : undefined
      if (input === undefined) throw new SinterError('INPUT_NAME', `input ${name} is missing`)
      if (input.shape.reduce((product, dim) => product * dim, 1) !== input.data.length)
        throw new SinterError('INPUT_SHAPE', `input ${name} has ${input.data.length} values, not [${input.shape}]`)
      return [name, tensorOf(runtime, inputMetadata[index], input)]
    }),
  )
}

/**
 * Loads a model on exactly one execution provider.
 * @param model the ONNX file, already admitted by `parseModel`
 * Throws `RUNTIME_MISSING` when ONNX Runtime is not installed, `EP_UNAVAILABLE` with the remedy when the provider cannot be used, `MODEL_LOAD` when the CPU cannot load the model.
 */
export async function openSession(model: Uint8Array, options: SessionOptions): Promise<ModelSession> {
  const runtime = await loadRuntime()
  checkProvider(runtime, options.executionProvider)
  const session = await create(runtime, model, options)
  let open = true
  return {
    executionProvider: options.executionProvider,
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    async run(inputs) {
      if (!open) throw new SinterError('RUN_FAILED', 'the session is closed')
      const feeds = feedsOf(runtime, session, inputs)
      let results: ort.InferenceSession.OnnxValueMapType
      try {
        results = await session.run(feeds)
      } catch (cause) {
        throw new SinterError('RUN_FAILED', 'ONNX Runtime could not run the model on this input', { cause })
      }
      const outputs: Record<string, FloatTensor> = {}
      for (const [name, value] of Object.entries(results)) {
        const tensor = value as ort.Tensor
        const data = floatsOf(tensor)
        if (data === null) throw new SinterError('RUN_FAILED', `output ${name} is ${tensor.type}, which is no float`)
        outputs[name] = { data, shape: [...tensor.dims] }
      }
      return outputs
    },
    async dispose() {
      if (!open) return
      open = false
      await session.release()
    },
  }
}

/** Runs a model of float64 tensors: feeds by name, one output. For the canonical evaluation, whose sums are exact. */
export type RawRun = (
  feeds: Record<string, { data: Float64Array; dims: number[] }>,
  output: string,
) => Promise<Float64Array>

/** Loads a model of our own, float64 throughout. Throws as `openSession`. */
export async function openRaw(model: Uint8Array, options: SessionOptions): Promise<RawRun> {
  const runtime = await loadRuntime()
  checkProvider(runtime, options.executionProvider)
  const session = await create(runtime, model, options)
  return async (feeds, output) => {
    const tensors = Object.entries(feeds).map(([name, { data, dims }]) => [
      name,
      new runtime.Tensor('float64', data, dims),
    ])
    const results = await session.run(Object.fromEntries(tensors))
    return results[output]!.data as Float64Array
  }
}
