import type { ConsumerOptions } from '../client/consumer.ts'
import { type Consumer, connect } from '../sdk.ts'
import { createLog, type JoinOptions, openIdentity, parseAmount, parseRpc } from './options.ts'

export { formatAmount, type JoinOptions, parseCount } from './options.ts'

/** The connection of a command, by its options. Throws what `connect` throws. */
export async function connectWith(
  options: JoinOptions & { ceiling: string; limit?: string; logLevel: string },
  scheduler: Pick<NonNullable<ConsumerOptions['scheduler']>, 'providers' | 'policy' | 'region'> = {},
): Promise<Consumer> {
  return connect({
    network: options.network,
    rpcUrl: parseRpc(options.rpc),
    identity: await openIdentity(options),
    dataDir: options.data,
    bootstrap: options.bootstrap,
    listen: options.listen,
    devnet: options.devnet,
    ceiling: parseAmount(options.ceiling),
    ...(options.limit === undefined ? {} : { spendingLimit: parseAmount(options.limit) }),
    scheduler,
    log: createLog(options.logLevel, 'stderr'),
  })
}
