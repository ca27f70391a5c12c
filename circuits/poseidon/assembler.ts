/** Just enough of WebAssembly's binary format to write a module of straight arithmetic: https://webassembly.github.io/spec/core/binary/ */

const I32 = 0x7f
const V128 = 0x7b
const I64 = 0x7e

const leb = (value: bigint | number, signed: boolean): number[] => {
  const out: number[] = []
  for (let rest = BigInt(value); ; ) {
    const low = Number(rest & 127n)
    rest >>= 7n
    const done = signed ? rest === (low & 64 ? -1n : 0n) : rest === 0n
    out.push(done ? low : low | 128)
    if (done) return out
  }
}
const unsigned = (value: number): number[] => leb(value, false)
const list = (items: number[][]): number[] => [...unsigned(items.length), ...items.flat()]
const section = (id: number, content: number[]): number[] => [id, ...unsigned(content.length), ...content]
const text = (name: string): number[] => list([...new TextEncoder().encode(name)].map((byte) => [byte]))

/** Instructions without an operand of their own. */
const PLAIN = {
  drop: [0x1a],
  'i32.add': [0x6a],
  'i32.sub': [0x6b],
  'i32.mul': [0x6c],
  'i64.extend_i32_u': [0xad],
  'i64.add': [0x7c],
  'i64.sub': [0x7d],
  'i64.mul': [0x7e],
  'i64.and': [0x83],
  'i64.or': [0x84],
  'i64.shl': [0x86],
  'i64.shr_s': [0x87],
  'i64.shr_u': [0x88],
  'i64.trunc_f64_u': [0xb1],
  'f64.convert_i64_u': [0xba],
  'i64x2.splat': [0xfd, 0x12],
  'v128.and': [0xfd, 0x4e],
  'i64x2.shr_u': [0xfd, 0xcd, 0x01],
  'i64x2.add': [0xfd, 0xce, 0x01],
  'i64x2.sub': [0xfd, 0xd1, 0x01],
  'i64x2.mul': [0xfd, 0xd5, 0x01],
  'i64x2.gt_s': [0xfd, 0xd9, 0x01],
  'f64x2.add': [0xfd, 0xf0, 0x01],
  'f64x2.sub': [0xfd, 0xf1, 0x01],
  'f64x2.relaxed_madd': [0xfd, 0x87, 0x02],
} as const

const MEMORY = {
  'i64.load': [0x29],
  'f64.load': [0x2b],
  'i64.store': [0x37],
  'f64.store': [0x39],
  'v128.load': [0xfd, 0x00],
  'v128.load64_splat': [0xfd, 0x0a],
  'v128.store': [0xfd, 0x0b],
} as const

/** The body of one function. `i32` parameters come first; locals are made as they are asked for. */
export type Body = {
  readonly parameters: number
  readonly locals: number[]
  readonly code: number[]
  op(...names: (keyof typeof PLAIN)[]): Body
  /** Loads from, or stores what was pushed after, an address that was pushed before. */
  at(name: keyof typeof MEMORY, offset?: number): Body
  i32(value: number): Body
  i64(value: bigint): Body
  get(...locals: number[]): Body
  set(local: number): Body
  tee(local: number): Body
  call(func: number): Body
  local(type: 'i32' | 'i64' | 'v128'): number
  /** Runs `inside` as often as the i32 local `count` says, at least once, counting it down to 0. */
  repeat(count: number, inside: () => void): Body
}

export function functionBody(parameters: number): Body {
  const locals: number[] = []
  const code: number[] = []
  const push = (...bytes: number[]): Body => {
    for (const byte of bytes) code.push(byte)
    return body
  }
  const body: Body = {
    parameters,
    locals,
    code,
    op(...names) {
      for (const name of names) push(...PLAIN[name])
      return body
    },
    // Alignment is a hint; no promise is made.
    at: (name, offset = 0) => push(...MEMORY[name], 0, ...unsigned(offset)),
    i32: (value) => push(0x41, ...leb(value, true)),
    i64: (value) => push(0x42, ...leb(BigInt.asIntN(64, value), true)),
    get(...names) {
      for (const name of names) push(0x20, ...unsigned(name))
      return body
    },
    set: (local) => push(0x21, ...unsigned(local)),
    tee: (local) => push(0x22, ...unsigned(local)),
    call: (func) => push(0x10, ...unsigned(func)),
    local(type) {
      locals.push({ i32: I32, i64: I64, v128: V128 }[type])
      return parameters + locals.length - 1
    },
    repeat(count, inside) {
      push(0x03, 0x40)
      inside()
      body.get(count).i32(1).op('i32.sub').tee(count)
      return push(0x0d, 0x00, 0x0b)
    },
  }
  return body
}

/** A module with memory of its own (64 KiB pages) that begins with `data`; `exported` functions by their place in `functions`. */
export function wasmModule(
  functions: Body[],
  exported: Record<string, number>,
  memory: { pages: number; data: Uint8Array },
): Uint8Array {
  const counts = [...new Set(functions.map(({ parameters }) => parameters))]
  const bodies = functions.map(({ locals, code }) => {
    const content = [...list(locals.map((type) => [1, type])), ...code, 0x0b]
    return [...unsigned(content.length), ...content]
  })
  const head = [
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, list(counts.map((count) => [0x60, ...list(Array.from({ length: count }, () => [I32])), 0]))),
    ...section(3, list(functions.map(({ parameters }) => unsigned(counts.indexOf(parameters))))),
    ...section(5, list([[0, ...unsigned(memory.pages)]])),
    ...section(
      7,
      list([
        [...text('memory'), 2, 0],
        ...Object.entries(exported).map(([name, index]) => [...text(name), 0, ...unsigned(index)]),
      ]),
    ),
    ...section(10, list(bodies)),
  ]
  const active = [1, 0, 0x41, 0, 0x0b, ...unsigned(memory.data.length)]
  return Uint8Array.from([...head, 11, ...unsigned(active.length + memory.data.length), ...active, ...memory.data])
}
