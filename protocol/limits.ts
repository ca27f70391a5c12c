/** Caps that everybody on a network applies alike; a message beyond one is rejected before it is decoded. */
export const MAX_OFFER_BYTES = 16 * 1024
export const MAX_VOTE_BYTES = 8 * 1024
export const MAX_ATTESTATION_BYTES = 4 * 1024 * 1024
export const MAX_BID_BYTES = 8 * 1024
/** What a peer tells of the models it has. */
export const MAX_CATALOGUE_BYTES = 64 * 1024
export const MAX_CATALOGUE_MODELS = 128
export const MAX_MODEL_NAME = 64
/** An answer to a pulse, or the reply with its path. */
export const MAX_PULSE_BYTES = 1024
/** A frame of the job stream: inputs and outputs of one job. */
export const MAX_JOB_FRAME_BYTES = 16 * 1024 * 1024

/**
 * Fields of one message, those of its sub-messages and the elements of its packed lists counted. Empty sub-messages take two bytes
 * each on the wire and some 450 in memory. What an attestation may need is known before a job is taken (node/model/cost.ts).
 */
export const MAX_FIELDS = 2 ** 18

export const MAX_ADDRESSES = 8
export const MAX_ADDRESS_LENGTH = 256
export const MAX_SESSION_JOBS = 1_000_000n
/** An offer may ask for bids at most this long ahead. */
export const MAX_OFFER_LIFE_MS = 10 * 60_000
/** Difference between two peers' clocks that is forgiven. */
export const CLOCK_SKEW_MS = 5_000

/** Gossip topics, by name; the full topic is `/sinter/<network>/<name>/1`. */
export const TOPICS = ['offers', 'attestations', 'votes'] as const
export type Topic = (typeof TOPICS)[number]

export const MAX_TOPIC_BYTES: Record<Topic, number> = {
  offers: MAX_OFFER_BYTES,
  attestations: MAX_ATTESTATION_BYTES,
  votes: MAX_VOTE_BYTES,
}

export const topicName = (tag: string, topic: Topic): string => `/sinter/${tag}/${topic}/1`
