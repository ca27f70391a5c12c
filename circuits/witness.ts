import { SinterError } from '../protocol/errors.ts'
import { SCALAR_BYTES, writeScalar } from './scalars.ts'

/** Named inputs of a circuit, each flattened in row-major order. */
export type CircuitInput = Record<string, readonly (bigint | number)[] | Uint16Array>

/** Computes witnesses of one circuit: 32 little-endian bytes for each wire, wire 0 being the constant 1. */
export type WitnessCalculator = { calculate(input: CircuitInput): Uint8Array }

type CircomExports = {
  getFieldNumLen32(): number
  getWitnessSize(): number
  getInputSize(): number
  getInputSignalSize(msb: number, lsb: number): number
  init(check: number): void
  writeSharedRWMemory(word: number, value: number): void
  readSharedRWMemory(word: number): number
  setInputSignal(msb: number, lsb: number, index: number): void
  getWitness(wire: number): void
}

const FIELD_WORDS = SCALAR_BYTES / 4
/** Code 4 of circom's runtime: an `===` or an assertion does not hold. */
const ASSERTION = 4

/** FNV-1a, 64 bits, the name hash of circom's generated code. */
function signalHash(name: string): { msb: number; lsb: number } {
  let hash = 0xcbf29ce484222325n
  for (const byte of new TextEncoder().encode(name)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  return { msb: Number(hash >> 32n), lsb: Number(hash & 0xffffffffn) }
}

/**
 * Loads the witness generator that circom 2 compiled to WebAssembly. `calculate` throws `WITNESS_INPUT` for a wrong
 * set or length of inputs and `WITNESS_UNSATISFIED` when the statement is false. Values must lie in [0, r).
 */
export async function createWitnessCalculator(wasm: Uint8Array<ArrayBuffer>): Promise<WitnessCalculator> {
  const module = await WebAssembly.compile(wasm)
  const runtime = {
    exceptionHandler(code: number) {
      if (code === ASSERTION)
        throw new SinterError('WITNESS_UNSATISFIED', 'the statement does not hold for these inputs')
      throw new SinterError('WITNESS_INPUT', `the circuit refused its inputs (circom runtime code ${code})`)
    },
    printErrorMessage() {},
    writeBufferMessage() {},
    showSharedRWMemory() {},
  }
  const instantiate = async () =>
    (await WebAssembly.instantiate(module, { runtime })).exports as unknown as CircomExports
  const circuit = await instantiate()
  if (circuit.getFieldNumLen32() !== FIELD_WORDS)
    throw new SinterError('WITNESS_INPUT', 'the circuit was compiled for another field')

  const element = new Uint8Array(SCALAR_BYTES)
  const view = new DataView(element.buffer)
  const wires = circuit.getWitnessSize()

  return {
    calculate(input) {
      circuit.init(0)
      let given = 0
      for (const [name, values] of Object.entries(input)) {
        const { msb, lsb } = signalHash(name)
        const size = circuit.getInputSignalSize(msb, lsb)
        if (size !== values.length)
          throw new SinterError('WITNESS_INPUT', `signal ${name} takes ${size} values, not ${values.length}`)
        for (let i = 0; i < values.length; i++) {
          const value = values[i]!
          if (typeof value === 'number') {
            circuit.writeSharedRWMemory(0, value)
            for (let word = 1; word < FIELD_WORDS; word++) circuit.writeSharedRWMemory(word, 0)
          } else {
            writeScalar(view, 0, value)
            for (let word = 0; word < FIELD_WORDS; word++)
              circuit.writeSharedRWMemory(word, view.getUint32(4 * word, true))
          }
          circuit.setInputSignal(msb, lsb, i)
          given++
        }
      }
      if (given !== circuit.getInputSize())
        throw new SinterError('WITNESS_INPUT', `${given} input values given, ${circuit.getInputSize()} needed`)

      const witness = new Uint32Array(FIELD_WORDS * wires)
      for (let wire = 0; wire < wires; wire++) {
        circuit.getWitness(wire)
        for (let word = 0; word < FIELD_WORDS; word++)
          witness[FIELD_WORDS * wire + word] = circuit.readSharedRWMemory(word)
      }
      return new Uint8Array(witness.buffer)
    },
  }
}
