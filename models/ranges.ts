import { operandsOfPlan, type Plan } from './plan.ts'
import { usefulRange } from './tables.ts'

/** How large numbers get, for the choice of scales. */

/** The ranges that the readers of each tensor can tell apart: of what only tables read, no more than they do. */
export function usefulSizes(plan: Plan, sizes: number[], headroom: number): number[] {
  const source = (id: number): number => plan.tensors[id]!.viewOf ?? id
  const read = plan.tensors.map(() => 0)
  const note = (id: number, each: number): void => {
    read[source(id)] = Math.max(read[source(id)]!, each)
  }
  for (const op of plan.ops)
    if (op.kind === 'table') {
      const reach = headroom * sizes[source(op.input)]!
      // All but the last integer of a power of two.
      note(op.input, reach === 0 ? 0 : usefulRange(op.apply, reach) * (1 - 2 ** -15))
    } else for (const { tensor } of operandsOfPlan(op)) note(tensor, Number.POSITIVE_INFINITY)
  for (const { tensor } of plan.outputs) note(tensor, Number.POSITIVE_INFINITY)
  return sizes.map((each, id) => (read[id] === 0 ? headroom * each : Math.min(headroom * each, read[id]!)))
}

/** Σ|w| over the reduced loops, at most, for any point of the others. */
export function rowSize(values: ArrayLike<number>, strides: number[], loops: number[], rank: number): number {
  const visit = (loop: number, at: number): number => {
    if (loop === loops.length) return Math.abs(values[at]!)
    const stride = strides[loop]!
    const outer = loop < rank
    if (stride === 0) return (outer ? 1 : loops[loop]!) * visit(loop + 1, at)
    let sum = 0
    for (let i = 0; i < loops[loop]!; i++) {
      const row = visit(loop + 1, at + i * stride)
      sum = outer ? Math.max(sum, row) : sum + row
    }
    return sum
  }
  return visit(0, 0)
}
