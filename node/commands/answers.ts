import { firstLargest } from '../../models/lookup.ts'
import type { Manifest } from '../../models/manifest.ts'

/** What a job's outputs say: numbers, or the indices that the model's own last ArgMax would have given. */
export type Answer = { name: string; values: number[]; index: boolean }

/** @param outputs by the manifest's names, row-major, batch left out */
export function answersOf(manifest: Manifest, outputs: Record<string, Float32Array>): Answer[] {
  return manifest.outputs.map(({ name, shape, argmax }) => {
    const values = outputs[name]!
    return argmax === null
      ? { name, values: [...values], index: false }
      : { name: argmax.name, values: firstLargest(values, shape, argmax.axis), index: true }
  })
}

const SHOWN = 10
/** Place of the first largest. */
const largest = (values: number[] | Float32Array): number => firstLargest(values, [values.length], 0)[0]!

/** One line for people: of many numbers the first ten, and the place of the largest. */
export function describeAnswers(answers: Answer[]): string {
  return answers
    .map(({ name, values, index }) => {
      if (index) return `${name} = ${values.slice(0, SHOWN).join(', ')}${values.length > SHOWN ? ', …' : ''}`
      const shown = values.slice(0, SHOWN).map((value) => Number(value.toPrecision(5)))
      const rest = values.length > SHOWN ? `, … (${values.length} values)` : ''
      const top = values.length > 1 ? `; largest at ${largest(values)}` : ''
      return `${name} = [${shown.join(', ')}${rest}]${top}`
    })
    .join('; ')
}

/** Class with the largest logit, and its softmax share. */
export function classify(logits: Float32Array): { digit: number; confidence: number } {
  const digit = largest(logits)
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - logits[digit]!), 0)
  return { digit, confidence: 1 / total }
}
