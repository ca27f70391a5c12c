import { alwaysChecked } from '../../models/draw.ts'
import type { Manifest, Op, Operand } from '../../models/manifest.ts'
import { elementCount, operandsOf, opTiles, reducedLoops, tensorOf, tileSize } from '../../models/tiling.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'

/**
 * Most coefficients of a job that verifiers compute, about fifteen seconds of one core. A manifest that may ask for more is invalid:
 * else a manifest of a few kilobytes, whose ops all read the same weights, could keep a committee busy past its deadline.
 */
export const MAX_JOB_MULTIPLY_ADDS = 2 ** 26

/** Most multiply-adds of a model whose jobs may be attested under the policy `open`: verifiers do all of them, in seconds. */
export const MAX_OPEN_UNITS = 2 ** 33

/** A coefficient of a staged form is computed, kept as an object of its own, and folded with γ: memory counts here, not time. */
const STAGED = 32

/** Coefficients of an output element by itself: value, remainder, distance from the bound, each of two limbs at most. */
const OWN = 8

/** Limbs that a value of a tensor is committed in. */
export const limbsOf = (manifest: Manifest, { tensor }: Pick<Operand, 'tensor'>): number =>
  tensorOf(manifest, tensor).bits / 16

/** Big-integer multiply-adds behind one output element, at most. */
function elementCost(manifest: Manifest, op: Op): number {
  const taps = reducedLoops(op).map(elementCount)
  const limbs = operandsOf(op).map((operand) => limbsOf(manifest, operand))
  const sum = (list: number[]): number => list.reduce((total, each) => total + each, 0)
  switch (op.kind) {
    case 'table':
      return 0
    case 'linear':
      return OWN + sum(taps.map((count, i) => count * limbs[i]!))
    case 'product':
      return OWN + STAGED * taps[0]! * sum(limbs)
    case 'extremum':
      return STAGED * taps[0]! * (sum(limbs) + limbsOf(manifest, { tensor: op.output }))
    case 'divide':
    case 'root':
      return (1 + STAGED) * (OWN + sum(limbs))
  }
}

/** Big-integer multiply-adds behind one tile, at most. */
export const tileMultiplyAdds = (manifest: Manifest, op: Op): number => tileSize(op) * elementCost(manifest, op)

/** Whether checking a job under a policy takes no longer than a verifier has for it. */
export const isCheckable = (manifest: Manifest, tileDraws: number, policy: Policy): boolean =>
  policy === 'open'
    ? manifest.units <= MAX_OPEN_UNITS
    : jobMultiplyAdds(manifest, tileDraws, policy) <= MAX_JOB_MULTIPLY_ADDS

/**
 * Big-integer multiply-adds behind the statements of one drawn job, at most: every tile of the ops that are always checked, and
 * each of `tileDraws` draws on the dearest tile of the others; under the policy `full`, every tile of all. About a quarter of a
 * microsecond each.
 */
export function jobMultiplyAdds(manifest: Manifest, tileDraws: number, policy: Policy = 'zk'): number {
  const always = alwaysChecked(manifest)
  let fixed = 0
  let dearest = 0
  manifest.ops.forEach((op, i) => {
    const tile = tileMultiplyAdds(manifest, op)
    if (always[i] || policy === 'full') fixed += tile * opTiles(manifest, op)
    else dearest = Math.max(dearest, tile)
  })
  return policy === 'open' ? 0 : fixed + tileDraws * dearest
}
