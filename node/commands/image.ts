import { extname } from 'node:path'
import { SinterError } from '../../protocol/errors.ts'
import { readInputFile } from '../client/input-file.ts'
import type { Inputs } from '../client/values.ts'
import { DEFAULT_IMAGE } from './options.ts'
import type { Wanted } from './samples.ts'

/** Pictures as inputs of a model, and the only home of `sharp`, an optional package that is loaded when there is one. */

const TYPES = new Set(['.png', '.jpg', '.jpeg', '.webp', '.avif', '.gif', '.tif', '.tiff'])
export const isImage = (file: string): boolean => TYPES.has(extname(file).toLowerCase())

/** How a picture becomes numbers. */
export type Preprocessing = {
  /** What happens to one of another shape: it is stretched, cut, or given black borders. */
  fit: 'fill' | 'cover' | 'contain'
  /** What black and white become, in each channel. */
  range: [black: number, white: number]
  /** What is then taken away from each channel, and what it is divided by; one number stands for all channels. */
  mean: number[]
  std: number[]
}

const FITS = ['fill', 'cover', 'contain'] as const
/** Pixels of a picture that is read: a small file can stand for a huge one. */
const MAX_PIXELS = 2 ** 26

const option = (why: string): SinterError => new SinterError('OPTION', `--image: ${why}`)

function numbers(name: string, text: string): number[] {
  const list = text.split(':').map((each) => (each.trim() === '' ? Number.NaN : Number(each)))
  if (!list.every(Number.isFinite)) throw option(`${name} must be numbers with colons between, not ${text}`)
  return list
}

/** Settings with commas between, such as `fit=cover,range=0:1,mean=0.485:0.456:0.406,std=0.229:0.224:0.225`. Throws `OPTION`. */
export function parseImage(text: string): Preprocessing {
  const out: Preprocessing = { fit: 'fill', range: [0, 1], mean: [0], std: [1] }
  for (const setting of text.split(',')) {
    const [name = '', value = ''] = setting.split('=', 2).map((each) => each.trim())
    if (name === 'fit') {
      const fit = FITS.find((each) => each === value)
      if (fit === undefined) throw option(`fit is ${FITS.join(', ')}, not ${value}`)
      out.fit = fit
    } else if (name === 'range') {
      const [black, white, ...more] = numbers(name, value)
      if (white === undefined || more.length > 0) throw option('range is what black and white become, such as 0:1')
      out.range = [black!, white]
    } else if (name === 'mean') out.mean = numbers(name, value)
    else if (name === 'std') {
      out.std = numbers(name, value)
      if (out.std.some((each) => each === 0)) throw option('std must not be 0')
    } else throw option(`unknown setting ${name}; there are fit, range, mean, std`)
  }
  return out
}

type Layout = { channels: number; height: number; width: number; channelsLast: boolean }

/** How a shape without the batch axis holds a picture: channels first, channels last, or grey without a channel axis. */
function layoutOf(shape: readonly number[]): Layout | null {
  const [a, b, c] = shape as [number, number, number]
  const colours = (count: number): boolean => count === 1 || count === 3
  if (shape.length === 2) return { channels: 1, height: a, width: b, channelsLast: false }
  if (shape.length !== 3) return null
  if (colours(a)) return { channels: a, height: b, width: c, channelsLast: false }
  return colours(c) ? { channels: c, height: a, width: b, channelsLast: true } : null
}

async function loadSharp(): Promise<typeof import('sharp').default> {
  try {
    return (await import('sharp')).default
  } catch (cause) {
    throw new SinterError('IMAGE_UNSUPPORTED', 'pictures need the package sharp: install it with `npm install sharp`', {
      cause,
    })
  }
}

/**
 * A picture as the values of an input of `shape` (batch axis left out): turned as its EXIF says, transparency over black, in sRGB or grey at 8 bits
 * a channel, brought to the input's size with a Lanczos kernel; then range, mean and std. Throws `INPUT_FILE`, `OPTION`, `IMAGE_UNSUPPORTED`.
 */
export async function readImage(
  file: string,
  bytes: Uint8Array,
  shape: readonly number[],
  { fit, range: [black, white], mean, std }: Preprocessing,
): Promise<Float32Array> {
  const layout = layoutOf(shape)
  if (layout === null)
    throw new SinterError('INPUT_FILE', `${file} is a picture, and an input of shape [${shape}] holds none`)
  const { channels, height, width, channelsLast } = layout
  for (const [name, list] of Object.entries({ mean, std }))
    if (list.length !== 1 && list.length !== channels)
      throw option(`${name} has ${list.length} numbers, and the input has ${channels} channels`)
  const sharp = await loadSharp()
  const pixels = await sharp(bytes, { limitInputPixels: MAX_PIXELS })
    .autoOrient()
    .flatten({ background: '#000' })
    .resize(width, height, { fit, kernel: 'lanczos3', background: '#000' })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer()
    .catch((cause: Error) => {
      throw new SinterError('INPUT_FILE', `${file} cannot be read as a picture: ${cause.message}`, { cause })
    })
  const size = height * width
  if (pixels.length !== size * channels)
    throw new SinterError('INPUT_FILE', `${file} has ${pixels.length / size} channels, not ${channels}`)
  const out = new Float32Array(size * channels)
  for (let i = 0; i < size; i++)
    for (let channel = 0; channel < channels; channel++) {
      const value = black + ((white - black) * pixels[channels * i + channel]!) / 255
      const at = channelsLast ? channels * i + channel : size * channel + i
      out[at] = (value - mean[channel % mean.length]!) / std[channel % std.length]!
    }
  return out
}

/** The inputs of one job in a file: a picture for a model with one input, else what `readInputFile` reads. */
export async function readJobFile(
  file: string,
  bytes: Uint8Array,
  wanted: readonly Wanted[],
  image: string = DEFAULT_IMAGE,
): Promise<Inputs> {
  const names = wanted.map(({ name }) => name)
  if (!isImage(file)) return readInputFile(file, bytes, names)
  const [only] = wanted
  if (only === undefined || wanted.length > 1)
    throw new SinterError(
      'INPUT_FILE',
      `${file} is one picture, the model has ${wanted.length} inputs: use JSON by name`,
    )
  return { [only.name]: await readImage(file, bytes, only.shape, parseImage(image)) }
}
