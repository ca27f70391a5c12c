import { lowerGraph, type UncoveredNode } from './lower.ts'
import type { Constant, Graph } from './onnx.ts'

/** What a graph holds and how much of it is covered: for people. */

export type Description = {
  /** How often each operator stands in the graph. */
  operators: Record<string, number>
  /** Numbers in its constants of floating point, and of integers that are scaled to it. */
  parameters: number
  /** Of what is covered, whether an output that is covered too needs it or not. */
  multiplyAdds: number
  /** Share of the work that is covered, at most: of what is not covered only the weights can be counted. */
  coverage: number
  uncovered: UncoveredNode[]
}

/** What a graph holds and how much of it has a canonical meaning; `model check` prints it. */
export function describePlan(graph: Graph): Description {
  const { uncovered: list, units: multiplyAdds } = lowerGraph(graph)
  const operators: Record<string, number> = {}
  for (const { operator } of graph.nodes) operators[operator] = (operators[operator] ?? 0) + 1
  const weights = ({ dtype, data }: Constant): number => (dtype === 'int64' || dtype === 'bool' ? 0 : data.length)
  const missing = new Set(list.map(({ node }) => node))
  const beyond = graph.nodes
    .filter(({ name }) => missing.has(name))
    .reduce((sum, { inputs }) => {
      const held = inputs.reduce(
        (all, name) => all + (graph.constants.has(name) ? weights(graph.constants.get(name)!) : 0),
        0,
      )
      return sum + Math.max(1, held)
    }, 0)
  return {
    operators: Object.fromEntries(Object.entries(operators).sort(([a], [b]) => (a < b ? -1 : 1))),
    parameters: [...graph.constants.values()].reduce((sum, constant) => sum + weights(constant), 0),
    multiplyAdds,
    coverage: list.length === 0 ? 1 : multiplyAdds / (multiplyAdds + beyond),
    uncovered: list,
  }
}
