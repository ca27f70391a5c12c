/**
 * What Sinter uses of snarkjs' curves, which bring no types. Here, and not in externals.d.ts: what the package declares speaks of them, and a user's
 * compiler finds nothing there. Buffers hold little-endian Montgomery values unless a name says otherwise; affine points are x ‖ y, Jacobian ones
 * x ‖ y ‖ z.
 */
export type Scalars = {
  e(value: bigint | number): Uint8Array
  w: Uint8Array[]
  s: number
  shift: Uint8Array
  add(a: Uint8Array, b: Uint8Array): Uint8Array
  mul(a: Uint8Array, b: Uint8Array): Uint8Array
  neg(a: Uint8Array): Uint8Array
  eq(a: Uint8Array, b: Uint8Array): boolean
  fft(values: Uint8Array): Promise<Uint8Array>
  ifft(values: Uint8Array): Promise<Uint8Array>
  batchApplyKey(values: Uint8Array, first: Uint8Array, increment: Uint8Array): Promise<Uint8Array>
}
export type Group = {
  add(a: Uint8Array, b: Uint8Array): Uint8Array
  neg(a: Uint8Array): Uint8Array
  eq(a: Uint8Array, b: Uint8Array): boolean
  isZero(a: Uint8Array): boolean
  isValid(a: Uint8Array): boolean
  timesFr(a: Uint8Array, scalar: Uint8Array): Uint8Array
  timesScalar(a: Uint8Array, scalar: bigint): Uint8Array
  toAffine(a: Uint8Array): Uint8Array
  toJacobian(a: Uint8Array): Uint8Array
  /** Big-endian, not Montgomery; in the quadratic extension the imaginary part comes first. */
  toUncompressed(a: Uint8Array): Uint8Array
  fromRprUncompressed(bytes: Uint8Array, offset: number): Uint8Array
  fromObject(point: unknown[]): Uint8Array
  toObject(point: Uint8Array): unknown[]
  /** Scalars are little-endian and not Montgomery, 32 bytes each. */
  multiExpAffine(bases: Uint8Array, scalars: Uint8Array): Promise<Uint8Array>
  oneAffine: Uint8Array
}
export type Task =
  | { cmd: 'ALLOCSET'; var: number; buff: Uint8Array }
  | { cmd: 'ALLOC'; var: number; len: number }
  | { cmd: 'CALL'; fnName: string; params: ({ var: number } | { val: number })[] }
  | { cmd: 'GET'; out: number; var: number; len: number }
export type Curve = {
  Fr: Scalars
  G1: Group
  G2: Group
  Gt: { one: Uint8Array; mul(a: Uint8Array, b: Uint8Array): Uint8Array; eq(a: Uint8Array, b: Uint8Array): boolean }
  /** `code` is the curve's whole WebAssembly module, of a curve of one thread only. */
  tm: { queueAction(tasks: Task[]): Promise<Uint8Array[]>; concurrency: number; code?: Uint8Array<ArrayBuffer> }
  pairing(a: Uint8Array, b: Uint8Array): Uint8Array
  prepareG1(jacobian: Uint8Array): Uint8Array
  prepareG2(jacobian: Uint8Array): Uint8Array
  millerLoop(a: Uint8Array, b: Uint8Array): Uint8Array
  finalExponentiation(a: Uint8Array): Uint8Array
  terminate(): Promise<void>
}
