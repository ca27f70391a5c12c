import { stridesOf } from '../access.ts'
import type { GraphNode } from '../onnx.ts'
import { elementCount } from '../tiling.ts'
import { toRef } from './apply.ts'
import { type Activation, type Context, plain, uncovered } from './context.ts'
import { copyRef } from './emit.ts'
import { isRowMajor, plainFactors, type Ref, range, wholeRef } from './ref.ts'

/** Changing the view of an activation. */

/** A view of all of a tensor in one row, copied first unless it is in order already. */
function inOneRow(context: Context, node: GraphNode, ref: Ref): Ref {
  const source = isRowMajor(ref) ? ref : copyRef(context, node, ref)
  const extents = source.factors.flat()
  const dims = [elementCount(extents)]
  return {
    ...source,
    tensor: addView(context, source.tensor, dims),
    dims,
    axes: [{ coefs: stridesOf(extents), offset: 0 }],
  }
}

function addView({ plan }: Context, tensor: number, shape: number[]): number {
  const { name, viewOf, bits } = plan.tensors[tensor]!
  const root = viewOf ?? tensor
  return plan.tensors.push({ name: `${name}/view`, shape, bits, grid: { kind: 'same', as: root }, viewOf: root }) - 1
}

/**
 * Applies a change of view to an activation, whatever is still to be applied to its elements. Where the tensor's axes stand in
 * the way, its elements are put in a row first.
 */
export function viewed(
  context: Context,
  node: GraphNode,
  activation: Activation,
  change: (ref: Ref) => Ref | null,
): Activation {
  const base = activation.form === 'squares' ? plain(toRef(context, node, activation)) : activation
  let ref = change(base.ref)
  if (ref === null) {
    ref = change(inOneRow(context, node, base.ref)) ?? uncovered(node, 'cannot be expressed as a view')
    const factors = plainFactors(ref.shape)
    const dims = factors.flat()
    // In order it has axes of its own again, which windows can slide over.
    if (isRowMajor(ref)) ref = wholeRef(addView(context, ref.tensor, dims), ref.shape, factors, range(dims.length))
  }
  return base.form === 'plain' ? plain(ref, base.unary) : { ...base, ref }
}
