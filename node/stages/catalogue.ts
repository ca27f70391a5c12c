import { bytesToBigint, u128 } from '../../protocol/bytes.ts'
import { decode, encode } from '../../protocol/codec.ts'
import { describeError, SinterError } from '../../protocol/errors.ts'
import { CatalogueSchema } from '../../protocol/gen/sinter_pb.js'
import { MAX_CATALOGUE_MODELS, MAX_MODEL_NAME } from '../../protocol/limits.ts'
import type { Runtimes } from '../model/runtimes.ts'
import { isContentCid } from '../net/blocks.ts'
import { parseCid } from '../net/libp2p.ts'
import type { Log } from '../net/log.ts'
import type { StreamHandler, Streams } from '../net/streams.ts'
import { sleep } from '../timers.ts'
import type { Warmth } from './warm.ts'

/** What a peer says of a model that it has or has heard of. Hints: nothing is signed, and what counts are the files and the bids. */
export type CatalogueEntry = {
  /** CID of the manifest. */
  manifest: string
  /** As the manifest has it; empty when that is not here. */
  name: string
  /** Loaded. */
  warm: boolean
  /** Asked per job (base units), or null from who serves no jobs. */
  price: bigint | null
}

/** Tells anybody who opens the stream, in one frame. */
export const catalogueHandler =
  (entries: () => CatalogueEntry[]): StreamHandler =>
  (stream) => {
    const models = entries()
      .slice(0, MAX_CATALOGUE_MODELS)
      .map(({ manifest, name, warm, price }) => ({
        ...{ manifest, warm, name: name.slice(0, MAX_MODEL_NAME) },
        price: price === null ? new Uint8Array() : u128(price),
      }))
    return stream.write(encode(CatalogueSchema, { models }))
  }

/** What a node tells: models that it has loaded, and those that were asked for lately. `price` is null for one that takes no jobs. */
export const nodeCatalogue = (init: {
  runtimes: Pick<Runtimes, 'names'>
  warmth: Pick<Warmth, 'asked'>
  price: bigint | null
}): StreamHandler =>
  catalogueHandler(() => {
    const names = init.runtimes.names()
    return [...new Set([...names.keys(), ...init.warmth.asked()])].map((manifest) => ({
      ...{ manifest, price: init.price },
      ...{ name: names.get(manifest) ?? '', warm: names.has(manifest) },
    }))
  })

/** The entries of a frame. Throws `FRAME_MALFORMED` for anything but a catalogue. */
export function readCatalogue(bytes: Uint8Array): CatalogueEntry[] {
  const message = decode(CatalogueSchema, bytes)
  if (message === null || message.models.length > MAX_CATALOGUE_MODELS)
    throw new SinterError('FRAME_MALFORMED', 'not a catalogue of models')
  return message.models.map(({ manifest, name, warm, price }) => {
    if (!isManifestCid(manifest) || (price.length !== 0 && price.length !== 16))
      throw new SinterError('FRAME_MALFORMED', 'a catalogue names a model that can be none')
    // Told by a stranger, and printed: plain characters, and not too many.
    const plain = [...name].filter((each) => /[\p{L}\p{N}\p{P}\p{S} ]/u.test(each)).slice(0, MAX_MODEL_NAME)
    return { manifest, name: plain.join(''), warm, price: price.length === 0 ? null : bytesToBigint(price) }
  })
}

function isManifestCid(text: string): boolean {
  try {
    return isContentCid(parseCid(text))
  } catch {
    return false
  }
}

/** A model as several peers tell of it. */
export type Listing = {
  manifest: string
  /** The name that most peers give it. */
  name: string
  /** Peers that serve jobs and have it or have heard of it, and those of them that have it loaded. */
  providers: number
  warm: number
  /** The lowest price asked per job (base units), or null when nobody asks one. */
  price: bigint | null
}

/** Peers that are asked. */
const MOST_PEERS = 32

/** Who has just joined finds its peers one after the other: when none has come for so long (ms), all are there. */
const SETTLED_MS = 1_500
const LOOK_MS = 100

/**
 * Asks peers what they have, those that are there and those that come meanwhile, and puts it together: what most have loaded comes first. Who
 * does not answer in time is left out.
 */
export async function askCatalogues(
  components: { streams: Pick<Streams, 'open'>; log: Log },
  peers: () => readonly string[],
  timeoutMs: number,
): Promise<Listing[]> {
  const { streams, log } = components
  const until = performance.now() + timeoutMs
  const left = (): number => Math.max(1, until - performance.now())
  const told: CatalogueEntry[][] = []
  const asking = new Map<string, Promise<void>>()
  let cameAt = performance.now()

  async function ask(peer: string): Promise<void> {
    try {
      const stream = await streams.open(peer, 'models', { timeoutMs: Math.ceil(left()) })
      try {
        told.push(readCatalogue(await stream.read(left())))
      } finally {
        await stream.close()
      }
    } catch (error) {
      log.debug({ event: 'catalogue.unheard', peer, error: describeError(error) }, 'a peer told nothing')
    }
  }

  while (performance.now() < Math.min(until, cameAt + SETTLED_MS)) {
    const fresh = peers().filter((peer) => !asking.has(peer))
    for (const peer of fresh.slice(0, MOST_PEERS - asking.size)) {
      asking.set(peer, ask(peer))
      cameAt = performance.now()
    }
    await sleep(LOOK_MS)
  }
  await Promise.all(asking.values())
  return listingsOf(told)
}

/** Of each peer, a model counts once. */
export function listingsOf(told: readonly (readonly CatalogueEntry[])[]): Listing[] {
  const found = new Map<string, Listing & { names: Map<string, number> }>()
  for (const entries of told)
    for (const { manifest, name, warm, price } of new Map(entries.map((each) => [each.manifest, each])).values()) {
      const listing = found.get(manifest) ?? {
        manifest,
        name: '',
        providers: 0,
        warm: 0,
        price: null,
        names: new Map(),
      }
      found.set(manifest, listing)
      if (name !== '') listing.names.set(name, (listing.names.get(name) ?? 0) + 1)
      if (price === null) continue
      listing.providers++
      if (warm) listing.warm++
      if (listing.price === null || price < listing.price) listing.price = price
    }
  return [...found.values()]
    .map(({ names, ...listing }) => ({ ...listing, name: [...names].sort((a, b) => b[1] - a[1])[0]?.[0] ?? '' }))
    .sort((a, b) => b.warm - a.warm || b.providers - a.providers || (a.manifest < b.manifest ? -1 : 1))
}
