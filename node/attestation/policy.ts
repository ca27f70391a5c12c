import { allTiles, type SelectedTile, selectTiles } from '../../models/draw.ts'
import type { Manifest } from '../../models/manifest.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'
import { isShowable } from './cost.ts'

/** What is asked of a drawn job: the policy of its receipt, the network's tile draws, and the job's own challenge. */
export type Demand = { policy: Policy; tileDraws: number; challenge: JobChallenge }

/**
 * How a drawn job is attested. One that its consumer named is shown, whatever its receipt says: that it is opened is what the consumer
 * asked for. Only where it would be too much to compute again, the receipt's policy stands.
 */
export const attestedAs = (policy: Policy, manifest: Manifest, audited: boolean): Policy =>
  audited && isShowable(manifest) ? 'open' : policy

/** Tiles whose statements a policy asks for; none where everything is computed again. */
export function tilesOf(manifest: Manifest, { policy, challenge, tileDraws }: Demand): SelectedTile[] {
  switch (policy) {
    case 'zk':
      return selectTiles(manifest, challenge.random, tileDraws)
    case 'full':
      return allTiles(manifest)
    case 'open':
      return []
  }
}
