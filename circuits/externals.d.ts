// What Sinter uses of two packages that bring no types. Buffers hold little-endian Montgomery values unless a name
// says otherwise; affine points are x ‖ y, Jacobian ones x ‖ y ‖ z.

declare module 'snarkjs' {
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
  export const curves: { getCurveFromName(name: 'bn128', options?: { singleThread?: boolean }): Promise<Curve> }
  export type Logger = Record<'debug' | 'info' | 'warn' | 'error', (line: string) => void>
  export const powersOfTau: {
    newAccumulator(curve: Curve, power: number, file: string): Promise<unknown>
    contribute(from: string, to: string, name: string, entropy: string): Promise<unknown>
    beacon(from: string, to: string, name: string, value: string, iterationsExponent: number): Promise<unknown>
    preparePhase2(from: string, to: string): Promise<unknown>
    verify(file: string): Promise<unknown>
  }
  export const zKey: {
    newZKey(r1cs: string, ptau: string, to: string): Promise<unknown>
    /** Resolves to the contribution's hash. */
    contribute(from: string, to: string, name: string, entropy: string): Promise<Uint8Array>
    /** Resolves to the contribution's hash, or to false for a beacon it does not take. */
    beacon(from: string, to: string, name: string, value: string, exponent: number): Promise<Uint8Array | false>
    verifyFromR1cs(r1cs: string, ptau: string, key: string, logger?: Logger): Promise<boolean>
    exportVerificationKey(key: string): Promise<unknown>
  }
  export const groth16: {
    verify(vkey: unknown, publicSignals: unknown, proof: unknown): Promise<boolean>
  }
}

declare module 'circomlibjs' {
  /** The hash of up to sixteen numbers, in the field's own form; `F.toObject` gives the number. */
  export function buildPoseidon(): Promise<{
    (inputs: readonly bigint[]): Uint8Array
    F: { toObject(element: Uint8Array): bigint }
  }>
}
