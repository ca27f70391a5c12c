import {
  type EntryOpening,
  type KeptState,
  laneTree,
  openEntry,
  type Position,
  type PulseClass,
  stateTree,
  stepSeed,
  stepVectors,
} from '../../protocol/pulse.ts'
import type { Products } from './products.ts'

/** A lane and the entries of it to show, none while they are not known. */
export type LaneWork = { seed: Uint8Array; pulse: PulseClass; positions: Position[] }
export type LaneResult = { answer: Uint8Array; entries: EntryOpening[] }

/**
 * Computes a lane. States are made anew for what is shown later rather than kept: one in so many lanes is, and a state has n² bytes. Two of them
 * are held at any time.
 */
export async function computeLane(products: Products, { seed, pulse, positions }: LaneWork): Promise<LaneResult> {
  const { n, steps } = pulse
  const roots: Uint8Array[] = []
  const shown: ((lane: ReturnType<typeof laneTree>) => void)[] = []
  const entries: EntryOpening[] = []
  let floats: Float32Array = new Float32Array(n * n)
  let before: KeptState | null = null
  for (let step = 0; step < steps; step++) {
    floats = await products(floats, stepVectors(stepSeed(seed, step, roots.at(-1) ?? new Uint8Array(32)), n))
    const state = Uint8Array.from(floats)
    const after: KeptState = { state, tree: stateTree(state, n) }
    roots.push(after.tree.root)
    for (const [i, position] of positions.entries()) {
      if (position.step !== step) continue
      // Its rows are copied now, its place in the lane is known at the end.
      const partial = openEntry(position, n, NOWHERE, before, after)
      shown.push((lane) => {
        const beforePath = step === 0 ? [] : lane.path(step)
        entries[i] = { ...partial, beforePath, afterPath: lane.path(step + 1) }
      })
    }
    before = after
  }
  const lane = laneTree(roots)
  for (const place of shown) place(lane)
  return { answer: lane.answer, entries }
}

const NOWHERE = { answer: new Uint8Array(), path: () => [] }
