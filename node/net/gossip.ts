import {
  type GossipSub,
  type GossipsubMessage,
  type GossipsubOpts,
  gossipsub,
  StrictNoSign,
  TopicValidatorResult,
} from '@chainsafe/libp2p-gossipsub'
import { createTopicScoreParams } from '@chainsafe/libp2p-gossipsub/score'
import { concat, utf8 } from '../../protocol/bytes.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import { MAX_TOPIC_BYTES, TOPICS, type Topic, topicName } from '../../protocol/limits.ts'
import { sha256 } from '../../protocol/sha256.ts'
import { ignore, reject, type Verdict } from '../../protocol/verdict.ts'
import type { Log } from './log.ts'

/**
 * Judges one message of a topic. `from` is the peer that handed it to us (a peer id), who answers for it; who wrote it
 * is in the message's own signature. May take its time: other messages are judged meanwhile.
 */
export type TopicValidator = (bytes: Uint8Array, from: string) => Promise<Verdict>

/** How often each verdict was given: `counts[topic]['reject OFFER_FIELDS']`. Codes are a closed set, so this stays small. */
export type VerdictCounts = Record<Topic, Record<string, number>>

export type GossipInit = {
  /** Short name of the network, part of every topic name. */
  tag: string
  devnet: boolean
  validators: Record<Topic, TopicValidator>
  /** Topics to take part in. Publishing needs no subscription. */
  subscribe: readonly Topic[]
  log: Log
}

export type Gossip = {
  /**
   * Sends to every connected peer of the topic. Publishing the same bytes again within two minutes reaches nobody new.
   * Throws `GOSSIP_TOO_LARGE`, `GOSSIP_NO_PEERS` (try again when there are some) or `GOSSIP_FAILED`.
   */
  publish(topic: Topic, bytes: Uint8Array): Promise<{ recipients: number }>
  /** Calls back with every accepted message of other peers (never our own); returns the way to stop that. */
  onMessage(topic: Topic, handler: (bytes: Uint8Array, from: string) => void): () => void
  /** Peers connected to us that take part in the topic. */
  subscribers(topic: Topic): string[]
  counts(): VerdictCounts
}

/**
 * Messages in judgement at once, per topic: the memory that strangers can make us hold is this many times the topic's
 * largest message. Beyond it a message is ignored, without blame.
 */
const MAX_PENDING: Record<Topic, number> = { offers: 512, attestations: 8, votes: 512 }
/** A judgement that takes longer is given up (milliseconds). */
const VALIDATION_TIMEOUT_MS = 60_000
/** Room around the largest message for its topic and for control data. */
const RPC_OVERHEAD_BYTES = 64 * 1024

/**
 * The id covers the topic as well as the payload: with the payload alone, anyone could send a fresh attestation under
 * another topic first, where it is rejected, and have the real one dropped everywhere as already seen.
 */
function messageId(message: { topic: string; data: Uint8Array }): Uint8Array {
  return sha256(concat(utf8(`${message.topic}\0`), message.data))
}

function scoring(tag: string, devnet: boolean): Pick<GossipsubOpts, 'scoreParams' | 'scoreThresholds'> {
  const topic = createTopicScoreParams({
    topicWeight: 1,
    timeInMeshWeight: 0.01,
    timeInMeshQuantum: 1000,
    timeInMeshCap: 300,
    firstMessageDeliveriesWeight: 0.5,
    firstMessageDeliveriesDecay: 0.99,
    firstMessageDeliveriesCap: 20,
    // Delivery quotas punish silence, and these topics are silent for hours at a time.
    meshMessageDeliveriesWeight: 0,
    meshFailurePenaltyWeight: 0,
    // One invalid message costs the peer its place in the mesh, three within some minutes get it ignored altogether.
    invalidMessageDeliveriesWeight: -20,
    invalidMessageDeliveriesDecay: 0.995,
  })
  return {
    scoreParams: {
      topics: Object.fromEntries(TOPICS.map((name) => [topicName(tag, name), topic])),
      topicScoreCap: 20,
      // On one machine all peers share an address: the penalty would cut a local network apart.
      IPColocationFactorWeight: devnet ? 0 : -5,
      IPColocationFactorThreshold: 10,
      behaviourPenaltyWeight: -10,
      behaviourPenaltyThreshold: 6,
      behaviourPenaltyDecay: 0.9,
      decayInterval: 1000,
      decayToZero: 0.1,
      retainScore: 3_600_000,
    },
    scoreThresholds: {
      gossipThreshold: -40,
      publishThreshold: -80,
      graylistThreshold: -160,
      acceptPXThreshold: 100,
      opportunisticGraftThreshold: 1,
    },
  }
}

/** The gossipsub service with the limits of `protocol/spec/gossip.md`. */
export function gossipService(init: Pick<GossipInit, 'tag' | 'devnet'>): ReturnType<typeof gossipsub> {
  const largest = Math.max(...Object.values(MAX_TOPIC_BYTES)) + RPC_OVERHEAD_BYTES
  return gossipsub({
    // Every payload is a signed envelope that its validator opens. A second signature by gossipsub would be checked once per
    // copy received (2 ms each), and would name the first publisher to everybody.
    globalSignaturePolicy: StrictNoSign,
    allowedTopics: TOPICS.map((topic) => topicName(init.tag, topic)),
    msgIdFn: messageId,
    fallbackToFloodsub: false,
    floodPublish: true,
    // A message that reached nobody must stay publishable: gossipsub would count it as seen.
    allowPublishToZeroTopicPeers: false,
    ignoreDuplicatePublishError: true,
    doPX: false,
    D: 8,
    Dlo: 6,
    Dhi: 12,
    heartbeatInterval: 700,
    maxInboundDataLength: largest,
    maxOutboundBufferSize: 4 * largest,
    maxTopicBytesPerPeer: 16 * 1024,
    maxInboundStreams: 2,
    maxOutboundStreams: 2,
    decodeRpcLimits: {
      maxSubscriptions: 16,
      maxMessages: 256,
      maxIhaveMessageIDs: 1024,
      maxIwantMessageIDs: 1024,
      maxControlMessages: 64,
      maxIdontwantMessageIDs: 512,
      maxPeerInfos: 16,
    },
    ...scoring(init.tag, init.devnet),
  })
}

const RESULT: Record<Verdict['action'], TopicValidatorResult> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
}

/** Puts our validators on a running gossipsub. Every verdict passes through here: counted, logged and translated in one place. */
export function attachGossip(pubsub: GossipSub, init: GossipInit): Gossip {
  const { tag, log, validators } = init
  const counts: VerdictCounts = { offers: {}, attestations: {}, votes: {} }
  const pending: Record<Topic, number> = { offers: 0, attestations: 0, votes: 0 }
  const byName = new Map(TOPICS.map((topic) => [topicName(tag, topic), topic]))

  async function judge(topic: Topic, bytes: Uint8Array, from: string): Promise<Verdict> {
    // [REJECT] The payload is at most the topic's limit. Before anything decodes it.
    if (bytes.length > MAX_TOPIC_BYTES[topic]) return reject('MESSAGE_TOO_LARGE')
    // [IGNORE] There is room to judge it.
    if (pending[topic] >= MAX_PENDING[topic]) return ignore('VALIDATION_BUSY')
    pending[topic]++
    let timer: NodeJS.Timeout | undefined
    try {
      const late = new Promise<Verdict>((resolve) => {
        timer = setTimeout(() => resolve(ignore('VALIDATION_TIMEOUT')), VALIDATION_TIMEOUT_MS)
      })
      return await Promise.race([validators[topic](bytes, from), late])
    } catch (error) {
      // A fault of ours is never held against the peer.
      log.error({ topic, from, error: describeError(error) }, 'a topic validator failed')
      return ignore('VALIDATION_FAILED')
    } finally {
      clearTimeout(timer)
      pending[topic]--
    }
  }

  for (const topic of TOPICS)
    pubsub.topicValidators.set(topicName(tag, topic), async (peer, message) => {
      const from = peer.toString()
      const verdict = await judge(topic, message.data, from)
      const key = verdict.action === 'accept' ? 'accept' : `${verdict.action} ${verdict.code}`
      counts[topic][key] = (counts[topic][key] ?? 0) + 1
      if (verdict.action === 'reject') log.warn({ topic, from, code: verdict.code }, 'gossip message rejected')
      else log.debug({ topic, from, verdict: key }, 'gossip message judged')
      return RESULT[verdict.action]
    })

  const handlers: Record<Topic, Set<(bytes: Uint8Array, from: string) => void>> = {
    offers: new Set(),
    attestations: new Set(),
    votes: new Set(),
  }
  pubsub.addEventListener('gossipsub:message', (event: CustomEvent<GossipsubMessage>) => {
    const { msg, propagationSource } = event.detail
    const topic = byName.get(msg.topic)
    if (topic === undefined) return
    for (const handler of handlers[topic]) {
      try {
        handler(msg.data, propagationSource.toString())
      } catch (error) {
        log.error({ topic, error: describeError(error) }, 'a gossip handler failed')
      }
    }
  })
  for (const topic of init.subscribe) pubsub.subscribe(topicName(tag, topic))

  return {
    async publish(topic, bytes) {
      if (bytes.length > MAX_TOPIC_BYTES[topic])
        throw new SinterError('GOSSIP_TOO_LARGE', `a message on ${topic} is at most ${MAX_TOPIC_BYTES[topic]} bytes`, {
          detail: { topic, bytes: bytes.length },
        })
      try {
        const { recipients } = await pubsub.publish(topicName(tag, topic), bytes)
        return { recipients: recipients.length }
      } catch (cause) {
        if (cause instanceof Error && cause.message === 'PublishError.NoPeersSubscribedToTopic')
          throw new SinterError('GOSSIP_NO_PEERS', `no connected peer takes part in ${topic}`, { cause })
        throw new SinterError('GOSSIP_FAILED', `the message could not be published on ${topic}`, { cause })
      }
    },
    onMessage(topic, handler) {
      handlers[topic].add(handler)
      return () => handlers[topic].delete(handler)
    },
    subscribers: (topic) => pubsub.getSubscribers(topicName(tag, topic)).map((peer) => peer.toString()),
    counts: () => structuredClone(counts),
  }
}
