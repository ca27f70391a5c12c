/** Looks for secret values in bytes that strangers can see, in every form in which they might have leaked. */

const WINDOW = 8

/** Pieces of the encoded values that are telling: eight bytes with at least four different ones. */
function pieces(bytes: Uint8Array): string[] {
  const out: string[] = []
  for (let at = 0; at + WINDOW <= bytes.length; at += 2) {
    const piece = bytes.subarray(at, at + WINDOW)
    if (new Set(piece).size >= 4) out.push(Buffer.from(piece).toString('latin1'))
  }
  return out
}

function swapped(bytes: Uint8Array, width: number): Uint8Array {
  const out = bytes.slice()
  for (let at = 0; at + width <= out.length; at += width) out.subarray(at, at + width).reverse()
  return out
}

const bytesOf = (values: Float32Array | Int16Array | Uint16Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

/** Encodings of a tensor: floats, quantised integers and limbs, both byte orders. */
export function needlesOf(values: Float32Array, quantised: Int16Array): string[] {
  const limbs = Uint16Array.from(quantised, (value) => value + 32_768)
  const forms = [bytesOf(values), bytesOf(quantised), bytesOf(limbs)]
  const widths = [4, 2, 2]
  return [...new Set(forms.flatMap((form, i) => [...pieces(form), ...pieces(swapped(form, widths[i]!))]))]
}

/** Needles that occur in the haystack. */
export function found(needles: string[], haystack: Uint8Array[]): string[] {
  const text = Buffer.concat(haystack).toString('latin1')
  return needles.filter((needle) => text.includes(needle))
}
