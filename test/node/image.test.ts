/** Pictures as inputs: what each pixel becomes, and what is refused. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadHeldOut } from '../../models/digits.ts'
import { parseImage, readImage, readJobFile } from '../../node/commands/image.ts'
import { samplesOf } from '../../node/commands/samples.ts'
import { SinterError } from '../../protocol/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'sinter-image-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

const picture = (width: number, height: number, channels: 1 | 2 | 3 | 4, pixels: number[]) =>
  sharp(Uint8Array.from(pixels), { raw: { width, height, channels } })
const values = async (bytes: Uint8Array, shape: number[], settings = 'fit=fill,range=0:255'): Promise<number[]> =>
  [...(await readImage('p.png', bytes, shape, parseImage(settings)))].map((value) => Math.round(1000 * value) / 1000)
async function rejects(run: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  const error = await run.then(
    () => null,
    (error: unknown) => error,
  )
  assert.ok(error instanceof SinterError && error.code === code && message.test(error.message), String(error))
}

/** Red, green, blue; black, white, grey. */
const PIXELS = [255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 100, 100, 100]
const colour = await picture(3, 2, 3, PIXELS).png().toBuffer()

test('channels first, channels last and grey', async () => {
  const red = [255, 0, 0, 0, 255, 100]
  const green = [0, 255, 0, 0, 255, 100]
  const blue = [0, 0, 255, 0, 255, 100]
  assert.equal(await values(colour, [3, 2, 3]), [...red, ...green, ...blue])
  const grey = await values(colour, [2, 3])
  assert.equal(grey.slice(3), [0, 255, 100])
  // Green is the brightest, blue the darkest.
  assert.ok(grey[1]! > grey[0]! && grey[0]! > grey[2]! && grey[2]! > 0)
  assert.equal(await values(colour, [1, 2, 3]), grey)
  assert.equal(await values(colour, [2, 3, 1]), grey)
  // Two rows of three pixels: the last axis holds the channels where the first does not.
  assert.equal(await values(colour, [2, 3, 3]), PIXELS)
  const one = await picture(1, 1, 1, [100]).png().toBuffer()
  assert.equal(await values(one, [3, 1, 1]), [100, 100, 100])
})

test('range, then mean and std of each channel', async () => {
  const pixel = await picture(1, 1, 3, [255, 51, 0]).png().toBuffer()
  assert.equal(await values(pixel, [3, 1, 1], 'range=-1:1'), [1, -0.6, -1])
  assert.equal(await values(pixel, [3, 1, 1], 'range=16:0'), [0, 12.8, 16])
  assert.equal(await values(pixel, [3, 1, 1], 'mean=0.5:0.2:0,std=0.25'), [2, 0, 0])
  const twice = await picture(1, 2, 3, [255, 51, 0, 0, 0, 255]).png().toBuffer()
  assert.equal(await values(twice, [2, 1, 3], 'mean=0.5,std=1:2:4'), [0.5, -0.15, -0.125, -0.5, -0.25, 0.125])
})

test('size: stretched, cut or bordered; turned as EXIF says; transparency over black', async () => {
  const wide = await picture(4, 2, 1, [255, 0, 0, 255, 255, 0, 0, 255]).png().toBuffer()
  assert.equal(await values(wide, [2, 2], 'fit=cover,range=0:1'), [0, 0, 0, 0])
  assert.ok((await values(wide, [2, 2], 'fit=fill,range=0:1')).every((value) => value > 0.1 && value < 0.9))
  const tall = await values(wide, [4, 4], 'fit=contain,range=0:1')
  assert.equal([...tall.slice(0, 4), ...tall.slice(12)], new Array(8).fill(0))
  assert.ok(tall.slice(4, 12).some((value) => value > 0.9))
  const turned = await picture(3, 1, 1, [0, 100, 200])
    .jpeg({ quality: 100 })
    .withMetadata({ orientation: 3 })
    .toBuffer()
  const back = await values(turned, [1, 3])
  assert.ok(back[0]! > back[1]! && back[1]! > back[2]!, `${back}`)
  const clear = await picture(2, 1, 4, [200, 200, 200, 255, 200, 200, 200, 0]).png().toBuffer()
  assert.equal(await values(clear, [1, 2]), [200, 0])
})

test('pictures among the samples and jobs of a folder', async () => {
  const many = join(folder, 'many')
  mkdirSync(many)
  const { images } = loadHeldOut()
  for (const [i, image] of images.slice(0, 3).entries())
    writeFileSync(
      join(many, `${i}.png`),
      await picture(
        8,
        8,
        1,
        [...image].map((value) => Math.round((255 * value) / 16)),
      )
        .png()
        .toBuffer(),
    )
  writeFileSync(join(many, '3.json'), JSON.stringify([[...images[3]!]]))
  const samples = await samplesOf(many, [{ name: 'image', shape: [1, 8, 8] }], 'range=0:16')
  assert.is(samples.length, 4)
  for (const [i, [sample]] of samples.entries())
    sample!.forEach((value, at) => {
      assert.ok(Math.abs(value - images[i]![at]!) < 0.04)
    })
  const bytes = await picture(2, 1, 1, [0, 255]).webp({ lossless: true }).toBuffer()
  assert.equal(await readJobFile('a.webp', bytes, [{ name: 'x', shape: [1, 2] }]), { x: Float32Array.of(0, 1) })
  assert.equal(await readJobFile('a.json', Buffer.from('[3]'), [{ name: 'x', shape: [1] }]), [3])
})

test('what is no picture, or no input for one, is refused', async () => {
  const refused = (bytes: Uint8Array, shape: number[], reason: RegExp) =>
    rejects(values(bytes, shape), 'INPUT_FILE', reason)
  await refused(Buffer.from('no picture'), [2, 2], /cannot be read/)
  await refused(colour.subarray(0, 60), [2, 3], /cannot be read/)
  await refused(colour, [4], /shape \[4\]/)
  await refused(colour, [2, 3, 4], /shape/)
  // A header that claims 10^10 pixels, with its checksum left as it was.
  const bomb = Uint8Array.from(colour)
  new DataView(bomb.buffer).setUint32(16, 100_000)
  new DataView(bomb.buffer).setUint32(20, 100_000)
  await refused(bomb, [2, 3], /cannot be read/)
  const huge = await sharp({ create: { width: 9_000, height: 9_000, channels: 3, background: '#000' } })
    .png()
    .toBuffer()
  await refused(huge, [2, 3], /pixel limit/)
  const two = [
    { name: 'a', shape: [2, 3] },
    { name: 'b', shape: [2, 3] },
  ]
  await rejects(readJobFile('a.png', colour, two), 'INPUT_FILE', /2 inputs/)
  for (const [settings, reason] of [
    ['fit=tile', /fit is fill/],
    ['range=1', /range/],
    ['range=0:1:2', /range/],
    ['mean=a', /mean must be numbers/],
    ['mean=', /mean must be numbers/],
    ['std=0', /std must not be 0/],
    ['size=3', /unknown setting size/],
    ['mean=1:2', /mean has 2 numbers/],
  ] as const)
    await rejects(values(colour, [3, 2, 3], settings), 'OPTION', reason)
})

test.run()
