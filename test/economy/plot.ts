/** Small line charts as one SVG: no library, so the file is what is written here. */

export type Panel = { title: string; lines: { label: string; values: number[] }[]; unit: string }

const WIDTH = 420
const HEIGHT = 220
const MARGIN = { left: 64, right: 12, top: 30, bottom: 26 }
const COLOURS = ['#1f5fbf', '#c2571a', '#3a7d34']

export function plot(title: string, panels: Panel[], mark: number): string {
  const columns = 3
  const rows = Math.ceil(panels.length / columns)
  const body = panels.map((panel, i) => {
    const [x, y] = [(i % columns) * WIDTH, 34 + Math.floor(i / columns) * HEIGHT]
    return `<g transform="translate(${x} ${y})">${draw(panel, mark)}</g>`
  })
  const size = `width="${columns * WIDTH}" height="${34 + rows * HEIGHT}"`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="11">`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<text x="12" y="22" font-size="15" font-weight="bold">${escaped(title)}</text>`,
    ...body,
    '</svg>\n',
  ].join('\n')
}

function draw({ title, lines, unit }: Panel, mark: number): string {
  const days = Math.max(...lines.map(({ values }) => values.length))
  const all = lines.flatMap(({ values }) => values)
  const high = all.reduce((a, b) => Math.max(a, b), -Infinity)
  const low = Math.min(
    0,
    all.reduce((a, b) => Math.min(a, b), Infinity),
  )
  const span = high - low || 1
  const x = (day: number): number => MARGIN.left + (day / (days - 1)) * (WIDTH - MARGIN.left - MARGIN.right)
  const y = (value: number): number =>
    HEIGHT - MARGIN.bottom - ((value - low) / span) * (HEIGHT - MARGIN.top - MARGIN.bottom)
  const grid = [0, 0.5, 1].map((part) => {
    const value = low + part * span
    const at = y(value).toFixed(1)
    return `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}" stroke="#ddd"/><text x="${MARGIN.left - 5}" y="${at}" dy="4" text-anchor="end">${short(value)}</text>`
  })
  const step = Math.max(1, Math.floor(days / 300))
  const curves = lines.map(({ values }, i) => {
    const points = values.flatMap((value, day) =>
      day % step === 0 ? [`${x(day).toFixed(1)},${y(value).toFixed(1)}`] : [],
    )
    return `<polyline fill="none" stroke="${COLOURS[i]}" stroke-width="1.4" points="${points.join(' ')}"/>`
  })
  const names = lines.map(({ label }, i) => `<tspan fill="${COLOURS[i]}" dx="8">${escaped(label)}</tspan>`)
  const turn =
    mark < days
      ? `<line x1="${x(mark)}" x2="${x(mark)}" y1="${MARGIN.top}" y2="${HEIGHT - MARGIN.bottom}" stroke="#999" stroke-dasharray="3 3"/>`
      : ''
  const foot = HEIGHT - MARGIN.bottom + 16
  return [
    `<text x="${MARGIN.left}" y="18" font-weight="bold">${escaped(title)} <tspan font-weight="normal" fill="#666">${escaped(unit)}</tspan>${lines.length > 1 ? names.join('') : ''}</text>`,
    ...grid,
    turn,
    ...curves,
    `<text x="${MARGIN.left}" y="${foot}">day 0</text><text x="${WIDTH - MARGIN.right}" y="${foot}" text-anchor="end">day ${days - 1}</text>`,
  ].join('\n')
}

function short(value: number): string {
  const size = Math.abs(value)
  if (size >= 1e6) return `${(value / 1e6).toPrecision(3)}M`
  if (size >= 1e3) return `${(value / 1e3).toPrecision(3)}k`
  return size === 0 ? '0' : Number(value.toPrecision(3)).toString()
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
