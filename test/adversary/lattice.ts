/**
 * Integer lattices, as far as forgeries need them: small solutions of one linear equation modulo a large prime. LLL (Lenstra, Lenstra,
 * Lovász 1982) with an exact Gram matrix and its Gram–Schmidt coefficients in float64, which is enough in few dimensions (Nguyen, Stehlé,
 * "Floating-point LLL revisited", 2005); then Babai's nearest plane.
 */

type Basis = bigint[][]

const dot = (a: bigint[], b: bigint[]): bigint => a.reduce((sum, each, i) => sum + each * b[i]!, 0n)

/** Gram–Schmidt of the basis in floating point, row by row: r_ij = ⟨b_i, b*_j⟩ and μ_ij = r_ij / r_jj. */
type Orthogonal = { r: number[][]; mu: number[][] }

function orthogonalise({ r, mu }: Orthogonal, gram: bigint[][], k: number): void {
  r[k] = []
  mu[k] = []
  for (let j = 0; j <= k; j++) {
    let value = Number(gram[k]![j]!)
    for (let i = 0; i < j; i++) value -= mu[j]![i]! * r[k]![i]!
    r[k]![j] = value
    if (j < k) mu[k]![j] = value / r[j]![j]!
  }
}

/** Takes multiples of the earlier rows from row k until none is left to take. */
function reduceRow(basis: Basis, gram: bigint[][], state: Orthogonal, k: number): void {
  for (let moved = true; moved; ) {
    moved = false
    orthogonalise(state, gram, k)
    const mu = [...state.mu[k]!]
    for (let j = k - 1; j >= 0; j--) {
      const times = Math.round(mu[j]!)
      if (times === 0) continue
      moved = true
      const by = BigInt(times)
      for (let i = 0; i < j; i++) mu[i]! -= times * state.mu[j]![i]!
      basis[k] = basis[k]!.map((each, i) => each - by * basis[j]![i]!)
    }
    if (moved)
      for (let i = 0; i < basis.length; i++) {
        gram[k]![i] = dot(basis[k]!, basis[i]!)
        gram[i]![k] = gram[k]![i]!
      }
  }
}

/** Reduces a basis in place with δ = 0.99. */
export function reduce(basis: Basis): void {
  const gram = basis.map((a) => basis.map((b) => dot(a, b)))
  const state: Orthogonal = { r: [], mu: [] }
  orthogonalise(state, gram, 0)
  for (let k = 1; k < basis.length; ) {
    reduceRow(basis, gram, state, k)
    const before = state.r[k - 1]![k - 1]!
    if (state.r[k]![k]! >= (0.99 - state.mu[k]![k - 1]! ** 2) * before) {
      k++
      continue
    }
    for (const rows of [basis, gram]) [rows[k - 1], rows[k]] = [rows[k]!, rows[k - 1]!]
    for (const row of gram) [row[k - 1], row[k]] = [row[k]!, row[k - 1]!]
    k = Math.max(1, k - 1)
    orthogonalise(state, gram, k - 1)
  }
}

/** `target` less a lattice vector near it: small in every coordinate. */
export function nearest(basis: Basis, target: bigint[]): bigint[] {
  const rows = [...basis, target]
  const gram = rows.map((a) => rows.map((b) => dot(a, b)))
  const state: Orthogonal = { r: [], mu: [] }
  for (let k = 0; k < basis.length; k++) orthogonalise(state, gram, k)
  reduceRow(rows, gram, state, basis.length)
  return rows.at(-1)!
}

/**
 * Small e with Σ u·e ≡ target (mod prime): coordinates of about prime^(1/n). The first coefficient is not 0.
 * @param inverse of a number modulo the prime
 */
export function smallSolution(
  u: bigint[],
  target: bigint,
  prime: bigint,
  inverse: (value: bigint) => bigint,
): bigint[] {
  const lead = inverse(u[0]!)
  const basis = u.map((each, i) =>
    i === 0
      ? u.map((_, j) => (j === 0 ? prime : 0n))
      : u.map((_, j) => (j === 0 ? (((-each * lead) % prime) + prime) % prime : j === i ? 1n : 0n)),
  )
  reduce(basis)
  const first = (((target * lead) % prime) + prime) % prime
  return nearest(
    basis,
    u.map((_, i) => (i === 0 ? first : 0n)),
  )
}
