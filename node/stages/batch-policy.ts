/** What waits to be anchored, and what anchoring it now would cost. Amounts in base units of the token, ages in ms. */
export type Backlog = {
  /** Fees of the receipts that would go into the batch. */
  value: bigint
  /** Gas of the whole batch in tokens; null where nothing has a price. */
  gasCost: bigint | null
  /** Since the oldest of its vouchers. */
  ageMs: number
  /** A batch holds no more, so waiting would not make it worth more. */
  full: boolean
  /** One of its sessions ends soon. */
  ending: boolean
}

/**
 * @param gasShareBps gas may take so much of a batch's value (1/10000). @default 200
 * @param patienceMs a batch that is worth less goes after so long all the same: pay that comes late is worth less too. @default 6 h
 */
export type BatchPolicy = { gasShareBps: number; patienceMs: number }

export const BATCH_POLICY: BatchPolicy = { gasShareBps: 200, patienceMs: 6 * 3_600_000 }

/** Whether a batch whose time has come is also worth its gas. */
export function worthAnchoring({ value, gasCost, ageMs, full, ending }: Backlog, policy: BatchPolicy): boolean {
  if (gasCost === null || full || ageMs >= policy.patienceMs) return true
  if (gasCost * 10_000n <= value * BigInt(policy.gasShareBps)) return true
  // What the end of a session would lose is worth sending for as long as it is worth more than the gas.
  return ending && gasCost < value
}
