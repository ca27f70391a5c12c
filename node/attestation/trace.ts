import type { Committer } from '../../circuits/commit.ts'
import { evaluateStream, type StreamOptions, type TensorTrace } from '../../models/canonical.ts'
import { tensorLeaf } from '../../models/limbs.ts'
import { resolveTensor } from '../../models/tiling.ts'
import { SinterError } from '../../protocol/errors.ts'
import { saltsOf } from '../../protocol/salt.ts'
import type { LeafRef } from '../../protocol/statement.ts'
import type { LoadedModel } from '../model/load.ts'
import { type TreeSpec, treesAt } from './layout.ts'
import { packTree } from './packed-tree.ts'

/** The work behind a job's commitments, tensor by tensor: never more of the trace in memory than the tensors still to be read. */

/** The parts of a model that evaluating it takes, and who multiplies its matrices if not this process' own loops. */
export type Graph = Pick<LoadedModel, 'manifest' | 'weights'> & Pick<StreamOptions, 'multiply'>

/** One tree with its leaves and levels (packed-tree.ts). */
export type TracedTree = { spec: TreeSpec; nodes: Uint8Array }

/** Makes one job's trees, tensor by tensor. */
export type TreeMaker = {
  /** Takes what these trees commit; `trace` may be given up once this is done. */
  add(specs: TreeSpec[], trace: TensorTrace): void | Promise<void>
  /** What was added, in that order. */
  trees(): TracedTree[] | Promise<TracedTree[]>
}

/** All trees of one tensor. */
export function commitTensor(
  committer: Committer,
  specs: TreeSpec[],
  trace: TensorTrace,
  jobKey: Uint8Array,
): TracedTree[] {
  const salt = saltsOf(jobKey)
  return specs.map((spec) => {
    const leaves = committer.leavesBytes(spec.count, (index) => {
      const limbs = limbsAt(trace, { ...spec, index })
      return limbs === null ? null : { limbs, salt: salt(spec.tensor, spec.tree, index) }
    })
    return { spec, nodes: packTree(leaves) }
  })
}

/** Commits in the calling thread. */
export function treesHere(committer: Committer, jobKey: Uint8Array): TreeMaker {
  const trees: TracedTree[] = []
  return {
    add: (specs, trace) => void trees.push(...commitTensor(committer, specs, trace, jobKey)),
    trees: () => trees,
  }
}

/** Limbs of a leaf, null for the zero leaf. Throws `NO_SUCH_LEAF`. */
export function limbsAt(trace: TensorTrace, { tensor, tree, index }: LeafRef): Uint16Array | null {
  const limbs = tensorLeaf(trace, tree, index)
  if (limbs === undefined)
    throw new SinterError('NO_SUCH_LEAF', `tensor ${tensor} has no leaf ${index} in tree ${tree}`)
  return limbs
}

/** What was served of each graph output, by the tensor that it is. Throws `OUTPUT_SHAPE`. */
function servedOf({ manifest }: Graph, served: Int16Array[]): Map<number, Int16Array> {
  if (served.length !== manifest.outputs.length)
    throw new SinterError('OUTPUT_SHAPE', `the model has ${manifest.outputs.length} outputs, not ${served.length}`)
  return new Map(manifest.outputs.map(({ tensor }, i) => [resolveTensor(manifest, tensor), served[i]!]))
}

/** Evaluates, with each tensor's trace completed by what was served of it. Gives the canonical outputs. */
function traced(
  graph: Graph,
  inputs: Int16Array[],
  served: Int16Array[],
  onTensor: (tensor: number, trace: TensorTrace) => void | Promise<void>,
): Promise<Int16Array[]> {
  const { manifest, weights, multiply } = graph
  const outputs = servedOf(graph, served)
  return evaluateStream(manifest, weights, inputs, {
    ...(multiply && { multiply }),
    onTensor(tensor, trace) {
      const answer = outputs.get(tensor) ?? null
      if (answer !== null && answer.length !== trace.value.length)
        throw new SinterError('OUTPUT_SHAPE', `an output has ${trace.value.length} elements, not ${answer.length}`)
      return onTensor(tensor, { ...trace, served: answer })
    },
  })
}

/** Evaluates a job and commits every tree of its trace. `canonical` are the outputs as the manifest means them. */
export async function traceJob(
  maker: TreeMaker,
  graph: Graph,
  job: { inputs: Int16Array[]; served: Int16Array[] },
): Promise<{ trees: TracedTree[]; canonical: Int16Array[] }> {
  const canonical = await traced(graph, job.inputs, job.served, (tensor, trace) =>
    maker.add(treesAt(graph.manifest, tensor), trace),
  )
  const trees = [...(await maker.trees())]
  trees.sort((a, b) => a.spec.tensor - b.spec.tensor || a.spec.tree - b.spec.tree)
  return { trees, canonical }
}

/** Evaluates a job again for the limbs of some leaves; null for the zero leaf, in the order asked for. Throws `NO_SUCH_LEAF`. */
export async function limbsOfJob(
  graph: Graph,
  job: { inputs: Int16Array[]; served: Int16Array[] },
  refs: LeafRef[],
): Promise<(Uint16Array | null)[]> {
  const out = new Array<Uint16Array | null | undefined>(refs.length)
  await traced(graph, job.inputs, job.served, (tensor, trace) => {
    for (const [i, ref] of refs.entries()) if (ref.tensor === tensor) out[i] = limbsAt(trace, ref)
  })
  return refs.map(({ tensor }, i) => {
    const limbs = out[i]
    if (limbs === undefined) throw new SinterError('NO_SUCH_LEAF', `tensor ${tensor} has no leaves of its own`)
    return limbs
  })
}

/** The canonical outputs, in the manifest's order, evaluated in this process. */
export const evaluateHere = ({ manifest, weights, multiply }: Graph, inputs: Int16Array[]): Promise<Int16Array[]> =>
  evaluateStream(manifest, weights, inputs, { ...(multiply && { multiply }), onTensor() {} })

/** Leaves of a job that are computed and committed at most: those of the value, remainder and other limb trees. */
export const leavesToCommit = ({ manifest }: Pick<Graph, 'manifest'>): number =>
  manifest.tensors.reduce(
    (sum, _, tensor) => sum + treesAt(manifest, tensor).reduce((count, spec) => count + spec.count, 0),
    0,
  )
