import { readFileSync } from 'node:fs'
import { assetPath } from '../../protocol/assets.ts'
import { SinterError } from '../../protocol/errors.ts'
import { checkExposure } from '../gateway/access.ts'
import { createGateway } from '../gateway/app.ts'
import { type EmbeddingModel, readTokenizer } from '../gateway/embeddings.ts'
import { serveHttp } from '../gateway/serve.ts'
import { repeat } from '../loop.ts'
import { connect } from '../sdk.ts'
import {
  createLog,
  type JoinOptions,
  openIdentity,
  parseAmount,
  parseCount,
  parsePolicy,
  parseRpc,
  parseShare,
  readInput,
  untilAsked,
} from './options.ts'

export type GatewayOptions = JoinOptions & {
  model?: string[]
  embedding?: string[]
  tokenizer?: string[]
  host: string
  port: string
  ceiling: string
  /** Share of the requests that a second provider is asked too. */
  audit: string
  limit?: string
  providers: string
  policy: string
  region: string
  concurrency: string
  tokenFile?: string
  cert?: string
  tlsKey?: string
  logLevel: string
}

/** Pause between looks for providers of models that have none (ms). */
const WARM_PAUSE_MS = 2_000

/** `name=cid` pairs. Throws `OPTION`. */
export function parseModels(pairs: string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1) throw new SinterError('OPTION', `a model is given as name=CID, not ${pair}`)
      return [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )
}

/** Embedding models with the tokeniser files of their names. Throws `OPTION`, `FILE_UNREADABLE`, `TOKENIZER`. */
function embeddingModels(cids: Record<string, string>, files: Record<string, string>): Map<string, EmbeddingModel> {
  return new Map(
    Object.entries(cids).map(([name, cid]) => {
      const file = files[name]
      if (file === undefined) throw new SinterError('OPTION', `--embedding ${name} needs --tokenizer ${name}=FILE`)
      return [name, { cid, tokenizer: readTokenizer(readInput(file)) }]
    }),
  )
}

/** Serves the Open Inference Protocol until it is asked to stop. */
export async function gateway(options: GatewayOptions): Promise<void> {
  const log = createLog(options.logLevel, 'stderr')
  const tokens =
    options.tokenFile === undefined
      ? []
      : new TextDecoder()
          .decode(readInput(options.tokenFile))
          .split('\n')
          .map((line) => line.trim())
          .filter((line) => line.length > 0)
  // Before anything is started: a gateway that must not run costs nothing.
  checkExposure(options.host, tokens)
  if ((options.cert === undefined) !== (options.tlsKey === undefined))
    throw new SinterError('OPTION', 'TLS needs both --cert and --tls-key')
  const models = parseModels(options.model ?? [])
  const embeddings = embeddingModels(parseModels(options.embedding ?? []), parseModels(options.tokenizer ?? []))
  if (Object.keys(models).length + embeddings.size === 0)
    throw new SinterError('OPTION', 'name at least one --model or --embedding')
  const { version } = JSON.parse(readFileSync(assetPath('package.json'), 'utf8')) as { version: string }
  const consumer = await connect({
    network: options.network,
    rpcUrl: parseRpc(options.rpc),
    identity: await openIdentity(options),
    dataDir: options.data,
    bootstrap: options.bootstrap,
    listen: options.listen,
    devnet: options.devnet,
    ceiling: parseAmount(options.ceiling),
    audit: parseShare(options.audit),
    ...(options.limit === undefined ? {} : { spendingLimit: parseAmount(options.limit) }),
    scheduler: {
      providers: parseCount(options.providers),
      policy: parsePolicy(options.policy),
      region: options.region,
    },
    log,
  })
  try {
    const { app, warm } = createGateway(
      { consumer, log },
      { models, embeddings, tokens, concurrency: parseCount(options.concurrency), version },
    )
    const served = await serveHttp(app, {
      host: options.host,
      port: parseCount(options.port),
      ...(options.cert === undefined
        ? {}
        : { tls: { cert: readInput(options.cert), key: readInput(options.tlsKey!) } }),
    })
    console.log(
      JSON.stringify({
        event: 'gateway.listening',
        url: served.url,
        models: [...Object.keys(models), ...embeddings.keys()],
      }),
    )
    // A provider may come later, need a while to load the model, or go.
    let before = false
    const looking = repeat('gateway.warm', WARM_PAUSE_MS, log, async () => {
      const now = await warm()
      if (now && !before) log.info({ event: 'gateway.warm' }, 'every model has a provider')
      before = now
    })
    await untilAsked()
    looking.halt()
    await served.stop()
  } finally {
    await consumer.stop()
  }
}
