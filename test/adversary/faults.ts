import type { NodeParts } from '../../node/node.ts'

/** Providers that fail their consumers without forging anything. Each serves its first job well. */

/** Takes the second job and never answers. */
const slowLoris: Partial<NodeParts> = {
  runtime(real) {
    let jobs = 0
    return {
      ...real,
      // Zeros are what it tries itself with before it bids: it goes on bidding.
      serve: (inputs) =>
        jobs === 0 || inputs.every((values) => values.every((value) => value === 0))
          ? real.serve(inputs)
          : new Promise(() => {}),
      accepts: (inputs, quantised) => {
        jobs++
        return real.accepts(inputs, quantised)
      },
    }
  },
}

/** Answers from the second job on at once, with as many bytes as it should, none of which is a number. */
const quickGarbage: Partial<NodeParts> = {
  runtime(real) {
    let jobs = 0
    return {
      ...real,
      async serve(inputs) {
        const served = await real.serve(inputs)
        if (jobs === 0) return served
        return { ...served, outputs: served.outputs.map((each) => ({ ...each, data: each.data.map(() => 0xff) })) }
      },
      accepts: () => {
        jobs++
        return true
      },
    }
  },
}

export const FAULTS: Record<string, Partial<NodeParts>> = {
  'slow-loris': slowLoris,
  'quick-garbage': quickGarbage,
}
