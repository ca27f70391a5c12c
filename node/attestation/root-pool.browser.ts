import type { Committer } from '../../circuits/commit.ts'
import { commitTrees, sideTrees } from './commit.ts'
import type { RootPool } from './root-pool.ts'

/** Roots in the page's own thread, about a millisecond a leaf: it has no threads that a package could start. */
export function createRootPool(committer: Committer): RootPool {
  return {
    root: async (model, side, jobKey, values) => commitTrees(committer, sideTrees(model, side), jobKey, values),
    close: async () => {},
  }
}
