/** A drawing as the model knows digits: 8 × 8, each value the share of ink in a block of 4 × 4 of a 32 × 32 bitmap, as NIST's forms were read. */
const SIDE = 8
const BLOCK = 4
const GRID = SIDE * BLOCK
/** Rows and columns of the bitmap that stay empty around a digit. */
const MARGIN = 1
const PEN = 34

export type Point = { x: number; y: number }

export type Pad = {
  /** 64 values in [0, 1], row-major; null while there is nothing on it. */
  image(): Float32Array | null
  /** Draws a line through points in [0, 1]². */
  stroke(points: readonly Point[]): void
  clear(): void
}

/** Box of what is drawn, in canvas pixels. */
function inkBox({ data, width, height }: ImageData): { x: number; y: number; w: number; h: number } | null {
  let [left, top, right, bottom] = [width, height, -1, -1]
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (data[4 * (y * width + x)]! > 127) {
        left = Math.min(left, x)
        right = Math.max(right, x)
        top = Math.min(top, y)
        bottom = Math.max(bottom, y)
      }
  return right < 0 ? null : { x: left, y: top, w: right - left + 1, h: bottom - top + 1 }
}

/** @param onInk told when something was drawn by hand */
export function createPad(canvas: HTMLCanvasElement, onInk: () => void): Pad {
  const context = canvas.getContext('2d', { willReadFrequently: true })!
  context.lineWidth = PEN
  context.lineCap = 'round'
  context.lineJoin = 'round'
  context.strokeStyle = '#fff'
  let last: Point | null = null

  const clear = (): void => {
    context.fillStyle = '#111'
    context.fillRect(0, 0, canvas.width, canvas.height)
  }
  const line = (from: Point, to: Point): void => {
    context.beginPath()
    context.moveTo(from.x * canvas.width, from.y * canvas.height)
    context.lineTo(to.x * canvas.width, to.y * canvas.height)
    context.stroke()
  }
  const at = (event: PointerEvent): Point => {
    const box = canvas.getBoundingClientRect()
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height }
  }
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId)
    last = at(event)
    line(last, last)
    onInk()
  })
  canvas.addEventListener('pointermove', (event) => {
    if (last === null) return
    const next = at(event)
    line(last, next)
    last = next
  })
  for (const end of ['pointerup', 'pointercancel'] as const)
    canvas.addEventListener(end, () => {
      last = null
    })
  clear()

  return {
    clear,
    stroke(points) {
      for (const [i, point] of points.entries()) line(points[Math.max(0, i - 1)]!, point)
    },
    image() {
      const box = inkBox(context.getImageData(0, 0, canvas.width, canvas.height))
      if (box === null) return null
      // As high as the form, in the middle: so were the digits that the model has learned from.
      const scale = (GRID - 2 * MARGIN) / Math.max(box.w, box.h)
      const [w, h] = [box.w * scale, box.h * scale]
      const small = document.createElement('canvas')
      small.width = small.height = GRID
      const target = small.getContext('2d', { willReadFrequently: true })!
      target.imageSmoothingQuality = 'high'
      target.drawImage(canvas, box.x, box.y, box.w, box.h, (GRID - w) / 2, (GRID - h) / 2, w, h)
      const { data } = target.getImageData(0, 0, GRID, GRID)
      const counts = new Float32Array(SIDE * SIDE)
      for (let y = 0; y < GRID; y++)
        for (let x = 0; x < GRID; x++)
          if (data[4 * (y * GRID + x)]! > 127)
            counts[SIDE * Math.floor(y / BLOCK) + Math.floor(x / BLOCK)]! += 1 / BLOCK ** 2
      return counts
    },
  }
}

const arc = (cx: number, cy: number, rx: number, ry: number, from: number, to: number): Point[] =>
  Array.from({ length: 25 }, (_, i) => {
    const turn = (2 * Math.PI * (from + ((to - from) * i) / 24)) / 360
    return { x: cx + rx * Math.cos(turn), y: cy + ry * Math.sin(turn) }
  })
const path = (...points: [number, number][]): Point[] => points.map(([x, y]) => ({ x, y }))

/** Strokes of each digit, for whoever cannot draw. */
export const SAMPLES: readonly Point[][][] = [
  [arc(0.5, 0.5, 0.19, 0.33, -90, 270)],
  [path([0.38, 0.3], [0.54, 0.17], [0.54, 0.83])],
  [[...arc(0.5, 0.34, 0.18, 0.18, -170, 20), ...path([0.32, 0.82], [0.72, 0.82])]],
  [[...arc(0.48, 0.33, 0.18, 0.17, -150, 80), ...arc(0.48, 0.66, 0.2, 0.17, -80, 150)]],
  [path([0.5, 0.15], [0.3, 0.58], [0.75, 0.58]), path([0.62, 0.38], [0.58, 0.86])],
  [[...path([0.68, 0.17], [0.38, 0.17], [0.36, 0.47]), ...arc(0.48, 0.63, 0.2, 0.2, -110, 140)]],
  [[...path([0.58, 0.15], [0.38, 0.45]), ...arc(0.5, 0.66, 0.17, 0.18, 180, 540)]],
  [path([0.3, 0.18], [0.7, 0.18], [0.45, 0.84]), path([0.36, 0.52], [0.68, 0.52])],
  [arc(0.5, 0.33, 0.15, 0.16, 90, 450), arc(0.5, 0.67, 0.18, 0.18, -90, 270)],
  [[...arc(0.5, 0.34, 0.17, 0.18, 0, 360), ...path([0.66, 0.36], [0.58, 0.85])]],
]
