/** Text of strangers for a terminal: what would move the cursor, end the line or turn its direction is spelled out. */

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu
/** Characters that are shown. */
const MOST = 4_000

/** One line; a longer one ends in an ellipsis. */
export function printable(line: string): string {
  const cut = line.length > MOST ? `${line.slice(0, MOST)}…` : line
  return cut.replace(UNSEEN, (each) => `\\u{${each.codePointAt(0)!.toString(16)}}`)
}
