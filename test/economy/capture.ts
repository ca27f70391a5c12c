/**
 * `npm run odds`: how often a share of the stake has a quorum of a committee by itself, or can keep one from coming, as exact odds. Prints the
 * table of spec/settlement.md §12. The contract's draws are held to the same formula by test/contracts/attacks/Capture.t.sol.
 */

/** Two kinds of nodes: `[how many, stake of each]`. Stakes are in any unit. */
export type Network = { honest: [nodes: number, stake: number]; captors: [nodes: number, stake: number] }

/** A committee of `seats`; `quorum` of `size` is the first committee's, and the share of the stake that a larger one needs. */
export type Committee = { seats: number; quorum: number; size: number }

/** Odds that exactly i of the seats are the captors', for i = 0 … seats: drawn by stake without replacement, round by round. */
export function seatOdds({ honest, captors }: Network, seats: number): number[] {
  let odds = [1]
  for (let round = 0; round < seats; round++) {
    const next = new Array<number>(round + 2).fill(0)
    odds.forEach((p, i) => {
      const theirs = Math.max(0, captors[0] - i) * captors[1]
      const others = Math.max(0, honest[0] - (round - i)) * honest[1]
      next[i + 1]! += theirs + others === 0 ? 0 : (p * theirs) / (theirs + others)
      next[i]! += theirs + others === 0 ? 0 : (p * others) / (theirs + others)
    })
    odds = next
  }
  return odds
}

/** Whether these members are a quorum: heads in the first committee, stake in a larger one (settlement.md §5.3). */
const enough = (committee: Committee, heads: number, stake: number, all: number): boolean =>
  heads >= committee.quorum &&
  (committee.seats === committee.size || stake * committee.size >= all * committee.quorum - 1e-9)

/** Odds that the captors alone are a quorum (`capture`), and that the others alone are none (`block`). */
export function quorumOdds(network: Network, committee: Committee): { capture: number; block: number } {
  const { honest, captors } = network
  let capture = 0
  let block = 0
  seatOdds(network, committee.seats).forEach((p, i) => {
    const theirs = i * captors[1]
    const others = (committee.seats - i) * honest[1]
    if (enough(committee, i, theirs, theirs + others)) capture += p
    if (!enough(committee, committee.seats - i, others, theirs + others)) block += p
  })
  return { capture, block }
}

/** Seats of attempt a. */
export const seatsOf = (size: number, attempt: number): number => (size + 1) * 2 ** attempt - 1

const FIRST: [size: number, quorum: number][] = [
  [3, 2],
  [5, 4],
  [13, 9],
]

/** First committees and their first two appeals. */
export const COMMITTEES: Committee[] = FIRST.flatMap(([size, quorum]) =>
  [0, 1, 2].map((attempt) => ({ seats: seatsOf(size, attempt), quorum, size })),
)

/** Many nodes: what was drawn is missed by nobody. */
const MANY = 1e6
export const sharing = (share: number, nodes = MANY): Network => {
  const captors = Math.round(share * nodes)
  return { honest: [nodes - captors, 1], captors: [captors, 1] }
}

export const SHARES = [0.1, 0.2, 0.33]

export const written = (p: number): string => (p >= 0.01 ? p.toFixed(3) : p.toExponential(1))

/** The row of one committee: capture for each share, then block. */
export const row = (committee: Committee): string => {
  const odds = SHARES.map((share) => quorumOdds(sharing(share), committee))
  const name =
    committee.seats === committee.size
      ? `${committee.seats}, ${committee.quorum}`
      : `${committee.seats}, ${committee.quorum}/${committee.size} of its stake`
  const cells = [...odds.map(({ capture }) => written(capture)), ...odds.map(({ block }) => written(block))]
  return `| ${name} | ${cells.join(' | ')} |`
}

if (import.meta.main) {
  for (const committee of COMMITTEES) console.log(row(committee))
  const small = FIRST.map(([size, quorum]) => ({ seats: size, quorum, size }))
  console.log('128 nodes:')
  for (const committee of small)
    console.log(
      `${committee.seats}, ${committee.quorum}: ${SHARES.map((share) => written(quorumOdds(sharing(share, 128), committee).capture)).join(', ')}`,
    )
}
