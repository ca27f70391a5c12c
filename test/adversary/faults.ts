import type { NodeParts } from '../../node/node.ts'

/** Providers that fail their consumers without forging anything. Each serves its first job well. */

/** Takes the second job and never answers. */
const slowLoris: Partial<NodeParts> = {
  runtime(real) {
    let jobs = 0
    return {
      ...real,
      serve: (inputs) => (jobs === 0 ? real.serve(inputs) : new Promise(() => {})),
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

/** Takes a second for each job. */
const straggler: Partial<NodeParts> = {
  runtime: (real) => ({
    ...real,
    async serve(inputs) {
      if (inputs.some((values) => values.some((value) => value !== 0)))
        await new Promise((wait) => setTimeout(wait, 1_000))
      return real.serve(inputs)
    },
  }),
}

export const FAULTS: Record<string, Partial<NodeParts>> = {
  'slow-loris': slowLoris,
  'quick-garbage': quickGarbage,
  straggler,
}
