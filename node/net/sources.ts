/** What this node has seen of peers as sources of blocks. In memory: a restart forgives. */
export type SourceScores = {
  /** Whether a peer is worth asking now. */
  usable(peer: string): boolean
  delivered(peer: string, bytes: number): void
  /** A stream to the peer ended with this code. */
  failed(peer: string, code: string): void
  /** Bytes delivered and times failed; for tests and status. */
  of(peer: string): { bytes: number; failures: number; until: number }
}

/** How long a peer is left alone after a failure (ms). Others are tried again at the next fetch. */
const AVOID_MS: Record<string, number> = {
  // It sent what is not what was asked for: no accident of the line.
  BLOCK_WRONG: 10 * 60_000,
  STREAM_FRAME_TOO_LARGE: 10 * 60_000,
  STREAM_FRAME_MALFORMED: 10 * 60_000,
  STREAM_TIMEOUT: 15_000,
  PEER_PROTOCOL: 60_000,
}
const MAX_PEERS = 1_000

export function createSourceScores(now: () => number = Date.now): SourceScores {
  const peers = new Map<string, { bytes: number; failures: number; until: number }>()
  function entry(peer: string): { bytes: number; failures: number; until: number } {
    const known = peers.get(peer) ?? { bytes: 0, failures: 0, until: 0 }
    // Insertion order is order of use: the longest unheard of goes first.
    peers.delete(peer)
    peers.set(peer, known)
    if (peers.size > MAX_PEERS) peers.delete(peers.keys().next().value!)
    return known
  }
  return {
    usable: (peer) => (peers.get(peer)?.until ?? 0) <= now(),
    delivered(peer, bytes) {
      entry(peer).bytes += bytes
    },
    failed(peer, code) {
      const score = entry(peer)
      score.failures++
      score.until = Math.max(score.until, now() + (AVOID_MS[code] ?? 0))
    },
    of: (peer) => ({ bytes: 0, failures: 0, until: 0, ...peers.get(peer) }),
  }
}
