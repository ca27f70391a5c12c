import { indicesOf, pointsOf, type Reader, unravel } from './access.ts'
import { elementCount } from './tiling.ts'

/** Elements that a tile of each size reads, from one tile in the middle of the output. */
export function tileFor(readers: Reader[], shape: number[], fits: (tile: number, reads: number) => boolean): 64 {
  const total = elementCount(shape)
  const seen = readers.map(() => new Set<number>())
  const first = Math.floor(total / 128) * 64
  let best = 1
  for (let i = 0; i < 64 && first + i < total; i++) {
    readers.forEach((reader, r) => {
      const point = new Float64Array(reader.loops.length)
      unravel(shape, first + i, point)
      const dims = reader.loops.flatMap((_, loop) => (loop >= shape.length ? [loop] : []))
      const at = new Int32Array(pointsOf(reader.loops, dims))
      indicesOf(reader, dims, point, at)
      for (const index of at) if (index >= 0) seen[r]!.add(index)
    })
    const count = i + 1
    if ((count & i) !== 0) continue
    const reads = seen.reduce((sum, set) => sum + set.size, 0)
    if (!fits(count, reads)) return best as 64
    best = count
  }
  // Fewer elements than a tile could hold are one tile.
  while (best < 64 && first + best >= total) best *= 2
  return best as 64
}
