import { operandsOfPlan, type Plan, type PlanOp, readsOfPlan } from '../plan.ts'

/** What a plan does not need. */

/** The ops that the given tensors need, in order, and all tensors that they touch. */
export function neededOps({ tensors, ops }: Plan, roots: readonly number[]): { ops: PlanOp[]; needed: Set<number> } {
  const needed = new Set<number>()
  const need = (tensor: number): void => {
    needed.add(tensor)
    needed.add(tensors[tensor]!.viewOf ?? tensor)
  }
  roots.forEach(need)
  const kept = ops.toReversed().filter((op) => {
    if (!needed.has(op.output)) return false
    readsOfPlan(op).forEach(need)
    return true
  })
  return { ops: kept.reverse(), needed }
}

/** Leaves out ops that no output needs, and the tensors only those wrote. */
export function pruned(plan: Plan): Plan {
  const { ops, needed } = neededOps(
    plan,
    plan.outputs.map(({ tensor }) => tensor),
  )
  for (const { tensor } of plan.inputs) {
    needed.add(tensor)
    needed.add(plan.tensors[tensor]!.viewOf ?? tensor)
  }
  // A scale may be taken from a tensor that is not read any more.
  for (let id = plan.tensors.length - 1; id >= 0; id--) {
    const { grid } = plan.tensors[id]!
    if (needed.has(id) && grid.kind === 'same' && !needed.has(grid.as)) {
      let { as } = grid
      for (let at = plan.tensors[as]!.grid; at.kind === 'same' && !needed.has(as); at = plan.tensors[as]!.grid)
        as = at.as
      plan.tensors[id]!.grid = needed.has(as) ? { kind: 'same', as } : plan.tensors[as]!.grid
    }
  }
  const kept = plan.tensors.flatMap((_, id) => (needed.has(id) ? [id] : []))
  const renamed = new Map(kept.map((id, i) => [id, i]))
  const to = (id: number): number => renamed.get(id)!
  for (const op of ops) {
    op.output = to(op.output)
    if (op.kind === 'table') op.input = to(op.input)
    for (const operand of new Set(operandsOfPlan(op))) operand.tensor = to(operand.tensor)
  }
  return {
    inputs: plan.inputs.map((input) => ({ ...input, tensor: to(input.tensor) })),
    outputs: plan.outputs.map((output) => ({ ...output, tensor: to(output.tensor) })),
    tensors: kept.map((id) => {
      const tensor = plan.tensors[id]!
      const { grid, viewOf } = tensor
      return {
        ...tensor,
        viewOf: viewOf === null ? null : to(viewOf),
        grid: grid.kind === 'same' ? { kind: 'same', as: to(grid.as) } : grid,
      }
    }),
    ops,
    halves: plan.halves,
    cuts: plan.cuts,
  }
}
