/** How much of a node strangers can take up with models: how many, how large, and only such as can be proven in time. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fileCid } from '../../models/cid.ts'
import { loadDigits } from '../../models/digits.ts'
import { selectTiles } from '../../models/draw.ts'
import { type Manifest, manifestBytes } from '../../models/manifest.ts'
import { buildStatements } from '../../models/statements.ts'
import { leafKey, leavesOf, proofCount } from '../../node/attestation/segments.ts'
import { batchExcess, checkProvable, type ProvingLimits, type RangeTerms, worstCost } from '../../node/model/cost.ts'
import { createModelLibrary, KEPT_WEIGHT_BYTES, type ModelLibrary } from '../../node/model/load.ts'
import { resourcesOf } from '../../node/model/resources.ts'
import { createRuntimes, MAX_SERVED_UNITS } from '../../node/model/runtimes.ts'
import { seededRandomness } from '../../protocol/draw.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { axis, operand } from './attestation-models.ts'
import { log, model } from './session-world.ts'

const digits = loadDigits()
const LIMITS: ProvingLimits = {
  draws: 4,
  tileDraws: 4,
  attestWindowS: 300,
  traceWindowS: 60,
  voteWindowS: 60,
  leafS: 3e-4,
}
const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'NONE', errorCode)

test('the bound on an attestation of the digits model holds for every challenge, and is not far off', () => {
  const { manifest, weights } = digits
  const worst = worstCost(manifest, 4)
  let most = 0
  for (let seed = 0; seed < 20; seed++) {
    const selected = selectTiles(manifest, seededRandomness(new Uint8Array(32).fill(seed)), 4)
    for (const flagged of [true, false]) {
      const statements = buildStatements(manifest, weights, selected, () => flagged, 5n)
      const leaves = new Set(statements.flatMap(leavesOf).map(leafKey))
      const proofs = statements.reduce((sum, each) => sum + proofCount(each), 0)
      assert.ok(proofs <= worst.proofs, `${proofs} proofs, bound ${worst.proofs}`)
      assert.ok(leaves.size <= worst.leaves, `${leaves.size} leaves, bound ${worst.leaves}`)
      most = Math.max(most, proofs)
    }
  }
  assert.ok(worst.proofs <= 2 * most, `bound ${worst.proofs}, seen ${most}`)
})

test('a model whose proofs may not be made in time, or not be handed out, is refused', () => {
  const wide: Manifest = structuredClone(digits.manifest)
  checkProvable(digits.manifest, LIMITS)
  assert.throws(
    () => checkProvable(digits.manifest, { ...LIMITS, attestWindowS: 60 }),
    (error: unknown) => errorCode(error) === 'MODEL_UNPROVABLE',
  )
  // One output that hangs on two million inputs: the attack of a model that nobody can prove.
  wide.tensors = [
    { name: 'x', shape: [2 ** 21], exponent: 0, bits: 16, viewOf: null },
    { name: 'y', shape: [10], exponent: 0, bits: 16, viewOf: null },
  ]
  wide.ops = [
    {
      ...{ kind: 'linear', name: 'wide', output: 1, tile: 64, drop: 1, bias: 0 },
      terms: [{ ...operand(0, [axis(0, 1)]), reduce: [2 ** 21], weight: 1 }],
    },
  ]
  wide.outputs[0] = { ...wide.outputs[0]!, tensor: 1, shape: [10] }
  for (const attestWindowS of [120, 10 ** 9])
    assert.throws(
      () => checkProvable(wide, { ...LIMITS, attestWindowS }),
      (error: unknown) => errorCode(error) === 'MODEL_UNPROVABLE',
    )
})

test('a batch holds as many ranges as can be attested, if each of them has an audit', () => {
  const { manifest } = digits
  const ranges = (count: number): RangeTerms[] => Array.from({ length: count }, () => ({ manifest, policy: 'zk' }))
  assert.is(batchExcess(ranges(24), LIMITS), null)
  // One of them asks for every tile: the whole sample may fall on it.
  const full = [...ranges(23), { manifest, policy: 'full' as const }]
  assert.match(batchExcess(full, LIMITS)!, /proofs/)
  // Audited jobs are evaluated by the provider, and again by each verifier.
  let most = 24
  while (batchExcess(ranges(most + 1), { ...LIMITS, traceWindowS: 4 }) === null) most++
  assert.match(batchExcess(ranges(most + 1), { ...LIMITS, traceWindowS: 4 })!, /committing/)
  assert.match(batchExcess(ranges(most + 1), { ...LIMITS, voteWindowS: 3 })!, /again/)
  assert.match(batchExcess(ranges(20_000), { ...LIMITS, traceWindowS: 10 ** 6, voteWindowS: 10 ** 6 })!, /bytes/)
})

test('a model is admitted under the policies that it can be attested under, loaded or not', async () => {
  // Four draws of every tile do not fit into the window; shown jobs cost next to nothing.
  const proving = { ...LIMITS, attestWindowS: 60 }
  for (const warm of [false, true]) {
    const { runtimes } = createWorld({ proving })
    if (warm) await runtimes.get('a', 'open')
    assert.is(await code(runtimes.get('a', 'full')), 'MODEL_UNPROVABLE')
    assert.is(await code(runtimes.get('a')), 'MODEL_UNPROVABLE')
    assert.is(await code(runtimes.get('a', 'open')), 'NONE')
    await runtimes.close()
  }
})

/** Runtimes over the digits model under any number of names. */
function createWorld(
  {
    proving = LIMITS,
    worth = () => 0,
    ...init
  }: Parameters<typeof createRuntimes>[1] & { proving?: ProvingLimits; worth?(cid: string): number } = {},
  change: Partial<ModelLibrary> = {},
) {
  const clock = { now: 1_000 }
  const closed: string[] = []
  const provided: string[] = []
  const pinned = new Set<string>()
  let failures = 0
  const runtimes = createRuntimes(
    {
      library: { load: async () => model, onnx: async () => digits.model, ...change },
      content: {
        pin: (cid) => {
          pinned.add(cid)
          return () => void pinned.delete(cid)
        },
        provide: async (cid) => {
          if (failures-- > 0) throw new SinterError('DHT_PROVIDE', 'nobody')
          provided.push(cid)
        },
      },
      executionProvider: 'cpu',
      memoryMib: 1_024,
      proving,
      adapt: (real) => ({
        ...real,
        async close() {
          closed.push('closed')
          await real.close()
        },
      }),
      worth,
      now: () => clock.now,
      log,
    },
    init,
  )
  return { runtimes, clock, closed, provided, pinned, fail: (count: number) => (failures = count) }
}

test('models beyond the limit wait until another has been idle, and its process ends', async () => {
  const { runtimes, clock, closed } = createWorld({ maxModels: 1 })
  const first = await runtimes.get('a')
  assert.is(await runtimes.get('a'), first)
  assert.ok(runtimes.isWarm('a'))
  assert.is(await code(runtimes.get('b')), 'MODELS_BUSY')
  clock.now += 60_000
  await runtimes.get('b')
  assert.equal([runtimes.isWarm('a'), runtimes.isWarm('b'), closed.length], [false, true, 1])
  const zeros = [new Int16Array(64)]
  assert.is(await code(first.serve(zeros)), 'EXEC_CLOSED')
  await runtimes.close()
  assert.is(closed.length, 2)
  assert.is(await code(runtimes.get('b')), 'EXEC_CLOSED')
})

test('what is worth least goes first, and gives way sooner to what is worth more', async () => {
  const worth: Record<string, number> = { a: 3, b: 1, c: 2, d: 0 }
  const { runtimes, clock } = createWorld({ maxModels: 2, worth: (cid) => worth[cid]! })
  await runtimes.get('a')
  clock.now += 1_000
  await runtimes.get('b')
  clock.now += 5_000
  assert.not.ok(runtimes.hasRoom())
  assert.is(await code(runtimes.get('d')), 'MODELS_BUSY')
  await runtimes.get('c')
  assert.equal(runtimes.loaded(), ['a', 'c'], 'the one used last went, since it is worth less')
  clock.now += 60_000
  await runtimes.get('d')
  assert.equal(runtimes.loaded(), ['a', 'd'])
  await runtimes.close()
})

test('a model in the middle of a job is not taken away', async () => {
  const { runtimes, clock } = createWorld({ maxModels: 1 })
  const runtime = await runtimes.get('a')
  const running = runtime.serve([new Int16Array(64)])
  clock.now += 60_000
  assert.is(await code(runtimes.get('b')), 'MODELS_BUSY')
  await running
  await runtimes.close()
})

test('few models load at once, and one that fails leaves its place', async () => {
  let release = (_: SinterError): void => {}
  const stuck = new Promise<never>((_, reject) => {
    release = reject
  })
  const { runtimes } = createWorld({ maxLoading: 2 }, { load: () => stuck })
  const waiting = [code(runtimes.get('a')), code(runtimes.get('b'))]
  assert.is(await code(runtimes.get('c')), 'MODELS_BUSY')
  release(new SinterError('CONTENT_UNAVAILABLE', 'nobody has it'))
  assert.equal(await Promise.all(waiting), ['CONTENT_UNAVAILABLE', 'CONTENT_UNAVAILABLE'])
  assert.is(await code(runtimes.get('c')), 'CONTENT_UNAVAILABLE')
  await runtimes.close()
})

test('a model that would hold up the node is refused before its file is fetched', async () => {
  let fetched = false
  const units = MAX_SERVED_UNITS + 1
  const { runtimes } = createWorld(
    {},
    {
      load: async () => ({ ...model, manifest: { ...model.manifest, units } }),
      onnx: async () => {
        fetched = true
        return digits.model
      },
    },
  )
  assert.is(await code(runtimes.get('a')), 'MODEL_TOO_LARGE')
  assert.is(fetched, false)
  await runtimes.close()
})

test('memory for models is taken from those that nobody uses, and never twice', async () => {
  const { bytes, deviceBytes } = resourcesOf(digits.manifest)
  const mib = (count: number): number => Math.ceil((1.01 * count * bytes) / 2 ** 20)
  const { runtimes, clock } = createWorld({ totalMib: mib(1) })
  await runtimes.get('a')
  assert.is(await code(runtimes.get('b')), 'MODELS_BUSY')
  assert.ok(runtimes.isWarm('a'))
  clock.now += 60_000
  await runtimes.get('b')
  assert.equal([runtimes.isWarm('a'), runtimes.isWarm('b')], [false, true])
  await runtimes.close()
  const small = createWorld({ totalMib: mib(1) - 4 })
  assert.is(await code(small.runtimes.get('a')), 'MODEL_TOO_LARGE')
  await small.runtimes.close()
  // Device memory is counted by itself.
  const device = createWorld({ deviceMib: deviceBytes / 2 ** 20 / 2 })
  assert.is(await code(device.runtimes.get('a')), 'MODEL_TOO_LARGE')
  await device.runtimes.close()
})

test('a node that stops lets running jobs end, and takes no more', async () => {
  const { runtimes, closed } = createWorld()
  const runtime = await runtimes.get('a')
  const running = Array.from({ length: 20 }, () => runtime.serve([new Int16Array(64)]))
  const stopping = runtimes.close()
  assert.is(await code(runtime.serve([new Int16Array(64)])), 'EXEC_CLOSED')
  assert.is(await code(runtimes.get('b')), 'EXEC_CLOSED')
  for (const { outputs } of await Promise.all(running)) assert.is(outputs.length, 1)
  await stopping
  assert.is(closed.length, 1)
  // One that does not end is not waited for longer than that.
  const hanging = createWorld({ drainMs: 200 })
  const other = await hanging.runtimes.get('a')
  const stuck = other.serveCanonical([new Int16Array(64)])
  const started = Date.now()
  await hanging.runtimes.close()
  assert.ok(Date.now() - started < 5_000)
  await stuck.catch(() => {})
})

test('closing does not wait for a model that is still on its way', async () => {
  const { runtimes } = createWorld({}, { load: () => new Promise(() => {}) })
  void runtimes.get('a').catch(() => {})
  const started = Date.now()
  await runtimes.close()
  assert.ok(Date.now() - started < 1_000)
})

test('a model is announced again until somebody takes the record', async () => {
  const { runtimes, provided, pinned, fail } = createWorld()
  fail(1)
  await runtimes.get('a')
  for (let waited = 0; provided.length < 3 && waited < 5_000; waited += 50)
    await new Promise((resolve) => setTimeout(resolve, 50))
  assert.is(provided.length, 3)
  assert.equal([...pinned].sort(), [...provided].sort(), 'the files of a loaded model stay on disk')
  await runtimes.close()
  assert.is(pinned.size, 0)
  await runtimes.close()
})

test('the library keeps the models used last, and no more of them than it has room for', async () => {
  const files = new Map<string, Uint8Array>()
  const fetched: string[] = []
  const library = createModelLibrary(async (cid) => {
    fetched.push(cid)
    return files.get(cid) ?? Promise.reject(new SinterError('CONTENT_UNAVAILABLE', cid))
  })
  files.set(digits.manifest.weights.cid, digits.weights)
  const cids: string[] = []
  // Each counts for at least the room of a manifest.
  const room = Math.floor(KEPT_WEIGHT_BYTES / (4 * 2 ** 20))
  for (let i = 0; i <= room; i++) {
    const bytes = manifestBytes({ ...digits.manifest, name: `digits-${i}` })
    const cid = await fileCid(bytes)
    files.set(cid, bytes)
    cids.push(cid)
    await library.load(cid)
    if (i === 1) await library.load(cids[0]!)
  }
  await new Promise((resolve) => setTimeout(resolve, 5))
  fetched.length = 0
  await library.load(cids[room]!)
  assert.equal(fetched, [])
  await library.load(cids[1]!)
  assert.is(fetched[0], cids[1])
})

test.run()
