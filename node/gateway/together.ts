/**
 * The jobs of one request, all or none: when one fails or the client goes away, those that were not sent yet are not bought any more.
 * @param start starts them; the signal ends them
 */
export async function together<T>(
  client: AbortSignal,
  start: (signal: AbortSignal) => readonly Promise<T>[],
): Promise<T[]> {
  const ended = new AbortController()
  try {
    return await Promise.all(start(AbortSignal.any([client, ended.signal])))
  } catch (error) {
    ended.abort()
    throw error
  }
}
