import { timingSafeEqual } from 'node:crypto'
import { utf8 } from '../../protocol/bytes.ts'
import { SinterError } from '../../protocol/errors.ts'
import { sha256 } from '../../protocol/hash.ts'

const LOOPBACK = /^(127(\.\d{1,3}){3}|localhost|\[?::1\]?)$/

/** Refuses what would let strangers spend the account's money. Throws `GATEWAY_TOKEN`. */
export function checkExposure(host: string, tokens: string[]): void {
  if (tokens.some((token) => token.length < 16))
    throw new SinterError('GATEWAY_TOKEN', 'an API token has at least 16 characters')
  if (!LOOPBACK.test(host) && tokens.length === 0)
    throw new SinterError(
      'GATEWAY_TOKEN',
      `listening on ${host} needs API tokens (--token-file): whoever reaches the gateway spends this account's money`,
    )
}

/**
 * Whether a request may use the gateway, or why not. Without tokens only programs on this machine may: a page in a browser could
 * reach a loopback port too, by a cross-site request (it has an Origin) or by a name that resolves to 127.0.0.1 (the Host gives it away).
 */
export function createAccess(tokens: string[]): (headers: Headers) => { status: 401 | 403; error: string } | null {
  const digests = tokens.map((token) => sha256(utf8(token)))
  return (headers) => {
    if (digests.length > 0) {
      const given = /^Bearer (\S+)$/i.exec(headers.get('authorization') ?? '')?.[1]
      // Digests have one length, so that the comparison takes the same time for every token.
      const digest = sha256(utf8(given ?? ''))
      const known = digests.filter((each) => timingSafeEqual(each, digest)).length > 0
      return given !== undefined && known ? null : { status: 401, error: 'a valid API token is required' }
    }
    const host = (headers.get('host') ?? '').replace(/:\d+$/, '')
    if (headers.has('origin') || !LOOPBACK.test(host))
      return {
        status: 403,
        error: 'without an API token the gateway serves programs on this machine only, not web pages',
      }
    return null
  }
}
