import { SinterError } from '../../protocol/errors.ts'

/**
 * How much the lowering of one graph may take beside its nodes: entries of lists and arrays that are made or looked through. A file of a few
 * hundred bytes can ask for millions of them at each of ten thousand nodes, and a provider lowers what strangers publish. Lowering never waits
 * for anything, so one count serves whichever graph it is at.
 */
const MOST = 2 ** 28

let left = MOST

export const startWork = (): void => {
  left = MOST
}

/** Throws `MODEL_TOO_LARGE` when nothing is left. */
export function spend(entries: number): void {
  left -= entries
  if (left < 0)
    throw new SinterError('MODEL_TOO_LARGE', 'the nodes up to here ask for more lists and arrays than a graph may')
}
