/** A number of [0, 1) for a place in time: the same in two runs that differ in one agent, so that they can be compared. */
export function at(seed: number, epoch: number, agent: number, what: number): number {
  let h = (seed * 0x9e3779b1) ^ (epoch * 0x85ebca6b) ^ (agent * 0xc2b2ae35) ^ (what * 0x27d4eb2f)
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d)
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b)
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32
}
