import { alwaysChecked } from '../../models/draw.ts'
import { isLinear, type Manifest, type Op } from '../../models/manifest.ts'
import { opTiles, tapsPerOutput } from '../../models/tiling.ts'
import { LEAF_LIMBS } from '../../protocol/statement.ts'

/**
 * Most coefficients of a job that verifiers compute, about fifteen seconds of one core. A manifest that may ask for more is invalid:
 * else a manifest of a few kilobytes, whose ops all read the same weights, could keep a committee busy past its deadline.
 */
export const MAX_JOB_MULTIPLY_ADDS = 2 ** 26

/**
 * Big-integer multiply-adds behind the statements of one drawn job, at most: every tile of the ops that are always checked, and
 * each of `tileDraws` draws on the dearest tile of the others. About a quarter of a microsecond each.
 */
export function jobMultiplyAdds(manifest: Manifest, tileDraws: number): number {
  const always = alwaysChecked(manifest)
  const tile = (op: Op): number => (isLinear(op) ? LEAF_LIMBS * tapsPerOutput(manifest, op) : 0)
  let fixed = 0
  let dearest = 0
  manifest.ops.forEach((op, i) => {
    if (always[i]) fixed += tile(op) * opTiles(manifest, op)
    else dearest = Math.max(dearest, tile(op))
  })
  return fixed + tileDraws * dearest
}
