// Child process of attestation-trace.test.ts, with memory of its own: evaluates a chain of ops over one large tensor, first as the
// tracer does and then keeping the whole trace, and prints by how many MiB it grew.
import { evaluate, evaluateStream } from '../../models/canonical.ts'
import type { Op } from '../../models/manifest.ts'
import { usage } from '../bench/measure.ts'
import { axis, modelFrom, operand } from './attestation-models.ts'

const [SIZE, OPS] = [2 ** 20, 60]
const MIB = 2 ** 20

const tensors = Array.from({ length: OPS + 1 }, (_, i) => ({ name: `t${i}`, shape: [SIZE] }))
const ops = Array.from(
  { length: OPS },
  (_, i): Op => ({
    ...{ kind: 'linear', name: `op${i}`, output: i + 1, tile: 64, drop: 1, bias: 32_768 + i },
    terms: [{ ...operand(i, [axis(1)]), reduce: [], weight: 65_536 }],
  }),
)
const { manifest, weights } = await modelFrom({ name: 'chain', tensors, ops, output: OPS, quanta: 1 })
const input = Int16Array.from({ length: SIZE }, (_, i) => (i * 7_919) % 30_011)

let traceBytes = 0
let tensorBytes = 0
const peak = (): number => usage(process.pid)!.ownPeakMb
const before = usage(process.pid)!.ownMb
await evaluateStream(manifest, weights, [input], {
  onTensor(_, trace) {
    const bytes = Object.values(trace).reduce((sum, array) => sum + (array?.byteLength ?? 0), 0)
    traceBytes += bytes
    tensorBytes = Math.max(tensorBytes, bytes)
  },
})
const streamed = peak()
const whole = evaluate(manifest, weights, [input])
const round = (mb: number): number => Math.round(mb)
console.log(
  JSON.stringify({
    tensorMb: round(tensorBytes / MIB),
    traceMb: round(traceBytes / MIB),
    grownMb: round(streamed - before),
    wholeMb: round(peak() - before),
    tensors: whole.tensors.length,
  }),
)
