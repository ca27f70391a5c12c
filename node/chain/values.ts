/** Every address in a decoded answer in lower case, the one form in which the protocol compares them. */
export function lowerAddresses<T>(value: T): T {
  if (typeof value === 'string') return (/^0x[0-9a-fA-F]{40}$/.test(value) ? value.toLowerCase() : value) as T
  if (Array.isArray(value)) return value.map(lowerAddresses) as T
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, lowerAddresses(field)])) as T
  }
  return value
}
