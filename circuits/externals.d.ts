// What Sinter uses of two packages that bring no types.

declare module 'snarkjs' {
  export const curves: {
    getCurveFromName(name: 'bn128', options?: { singleThread?: boolean }): Promise<import('./curve.ts').Curve>
  }
  export type Logger = Record<'debug' | 'info' | 'warn' | 'error', (line: string) => void>
  export const powersOfTau: {
    newAccumulator(curve: import('./curve.ts').Curve, power: number, file: string): Promise<unknown>
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
