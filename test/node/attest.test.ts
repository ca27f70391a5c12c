import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { commitJob } from '../../node/attestation/commit.ts'
import { proveJob } from '../../node/attestation/prove.ts'
import { toHex } from '../../protocol/bytes.ts'
import { errorCode, SinterError } from '../../protocol/errors.ts'
import { idealProofs } from './attestation-ideal.ts'
import { attester, factsOf, makeWorld, memoryStore } from './attestation-world.ts'

const { pool } = await idealProofs()
const world = makeWorld()
const batch = toHex(world.batch)

test('a trace computed again after a restart has the same root, and is computed once in one life', async () => {
  let committed = 0
  const commit: typeof commitJob = (...args) => {
    committed++
    return commitJob(...args)
  }
  const first = attester(world, pool, { commit })
  await first.stage.trace(batch, world)
  await first.stage.trace(batch, world)
  assert.is(committed, 2)
  const second = attester(world, pool)
  await second.stage.trace(batch, world)
  assert.equal(second.root(), first.root())
})

test('an attestation is on disk before its digest is on chain, and a later life commits the same one', async () => {
  const store = memoryStore()
  let proven = 0
  const prove: typeof proveJob = (...args) => {
    proven++
    return proveJob(...args)
  }
  let onDisk: Uint8Array | null = null
  const down = attester(world, pool, {
    store,
    prove,
    async commitAttestation() {
      onDisk = await down.stage.sealed(batch)
      throw new SinterError('CHAIN_RPC', 'the chain does not answer')
    },
  })
  await down.stage.trace(batch, world)
  const facts = factsOf(world, down.root())
  const failed = await down.stage.attest(batch, facts).catch((error: unknown) => errorCode(error))
  assert.is(failed, 'CHAIN_RPC')
  const later = attester(world, pool, { store, prove })
  const sealed = await later.stage.attest(batch, facts)
  assert.equal(sealed, onDisk)
  assert.is(proven, 2)
  await later.stage.forget(batch)
  assert.is(await later.stage.sealed(batch), null)
})

test('a proof that fails costs its job only: the proofs before it are kept, those behind it called off', async () => {
  const calls: number[] = []
  let waiting: AbortSignal | undefined
  const { stage, root } = attester(world, pool, {
    async prove(...args) {
      const [, , job, , , options] = args
      calls.push(calls.length)
      if (calls.length === 2) {
        waiting = options!.signal
        throw new SinterError('PROVER_DIED', 'gone')
      }
      assert.ok(job)
      return proveJob(...args)
    },
  })
  await stage.trace(batch, world)
  const facts = factsOf(world, root())
  assert.is(await stage.attest(batch, facts).then(() => 'NONE', errorCode), 'PROVER_DIED')
  assert.is(waiting!.aborted, true)
  await stage.attest(batch, facts)
  assert.is(calls.length, 3)
})

test('the proofs of a batch go before those of the batches after it', async () => {
  const priorities: number[] = []
  const { stage, root } = attester(world, pool, {
    prove(...args) {
      priorities.push(args[5]!.priority!)
      return proveJob(...args)
    },
  })
  for (const id of [batch, toHex(new Uint8Array(32).fill(1))]) {
    await stage.trace(id, world)
    await stage.attest(id, factsOf(world, root()))
  }
  const [first, second, third, fourth] = priorities as [number, number, number, number]
  assert.is(first, second)
  assert.is(third, fourth)
  assert.ok(first > third, `${priorities}`)
})

test('an evaluation that fails is tried again', async () => {
  let broken = true
  const { stage } = attester(world, pool, {
    commit(...args) {
      if (broken) throw new SinterError('OUT_OF_MEMORY', 'for a moment')
      return commitJob(...args)
    },
  })
  assert.is(await stage.trace(batch, world).catch((error: unknown) => errorCode(error)), 'OUT_OF_MEMORY')
  broken = false
  await stage.trace(batch, world)
})

test.run()
