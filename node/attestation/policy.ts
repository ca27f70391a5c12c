import { allTiles, type SelectedTile, selectTiles } from '../../models/draw.ts'
import type { Manifest } from '../../models/manifest.ts'
import type { JobChallenge } from '../../protocol/challenge.ts'
import type { Policy } from '../../protocol/rules/receipt.ts'

/** What is asked of a drawn job: the policy of its receipt, the network's tile draws, and the job's own challenge. */
export type Demand = { policy: Policy; tileDraws: number; challenge: JobChallenge }

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
