import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createCommitter } from '../../circuits/commit.ts'
import { createProverPool } from '../../circuits/pool.ts'
import { createProver, pointwiseWitnessInput } from '../../circuits/prove.ts'
import { proveExternally, readProofJson, witnessFile } from '../../circuits/rapidsnark.ts'
import { createVerifier } from '../../circuits/verify.ts'
import { bytesToBigint } from '../../protocol/bytes.ts'
import { describeError } from '../../protocol/errors.ts'
import { calculator, childIds, codeOf, pointwiseInput, productInput } from './fixtures.ts'

const folder = await mkdtemp(join(tmpdir(), 'sinter-rapidsnark-'))
const verifier = await createVerifier()
test.after(async () => {
  await verifier.close()
  await rm(folder, { recursive: true, force: true })
})

/** A program that runs a shell script with `key witness proof public` as $1 to $4. */
async function program(name: string, script: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, `#!/bin/sh\n${script}\n`)
  await chmod(path, 0o755)
  return path
}
const proverFolders = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('sinter-prover-'))

/** A proof in snarkjs' JSON. */
function proofJson(proof: Uint8Array): string {
  const [ax, ay, bx1, bx0, by1, by0, cx, cy] = Array.from({ length: 8 }, (_, i) =>
    String(bytesToBigint(proof.subarray(32 * i, 32 * i + 32))),
  )
  const pi_b = [
    [bx0, bx1],
    [by0, by1],
    ['1', '0'],
  ]
  return JSON.stringify({ pi_a: [ax, ay, '1'], pi_b, pi_c: [cx, cy, '1'], protocol: 'groth16', curve: 'bn128' })
}

test('a proof file says one proof or is refused', async () => {
  const proof = Uint8Array.from({ length: 256 }, (_, i) => (i * 37) & 0x1f)
  const text = proofJson(proof)
  assert.equal(readProofJson(text), proof)
  const json = JSON.parse(text)
  const wrong = [
    '',
    'garbage',
    'null',
    '[]',
    '{}',
    { ...json, pi_a: json.pi_a.slice(0, 2) },
    { ...json, pi_a: [json.pi_a[0], json.pi_a[1], '2'] },
    { ...json, pi_a: [Number(json.pi_a[0]), json.pi_a[1], '1'] },
    { ...json, pi_a: [`0${json.pi_a[0]}`, json.pi_a[1], '1'] },
    { ...json, pi_a: [`-${json.pi_a[0]}`, json.pi_a[1], '1'] },
    { ...json, pi_a: [String(1n << 256n), json.pi_a[1], '1'] },
    { ...json, pi_b: json.pi_a },
    { ...json, pi_b: [json.pi_b[0], json.pi_b[1], ['1', '1']] },
    { ...json, pi_b: [json.pi_b[0].slice(1), json.pi_b[1], ['1', '0']] },
    { ...json, pi_c: undefined },
  ]
  for (const each of wrong)
    assert.is(
      await codeOf(() => readProofJson(typeof each === 'string' ? each : JSON.stringify(each))),
      'EXTERNAL_PROOF',
      JSON.stringify(each),
    )
})

if (process.platform !== 'win32') {
  test('a program that is missing, fails or writes no proof throws', async () => {
    const mine = await mkdtemp(join(folder, 'private-'))
    const programs: [string, RegExp][] = [
      [join(folder, 'missing'), /ENOENT/],
      [await program('fails at once', 'exit 3'), /Command failed/],
      [await program('garbage', 'echo garbage > "$3"'), /EXTERNAL_PROOF/],
      [await program('nothing', 'exit 0'), /ENOENT/],
      [await program('large', 'head -c 20000 /dev/zero > "$3"'), /too much/],
    ]
    for (const [binary, reason] of programs) {
      const failure = await proveExternally(binary, 'key', new Uint8Array(32), mine).then(String, describeError)
      assert.match(failure, reason)
      assert.equal(await readdir(mine), [])
    }
  })

  test('one that fails or whose proof does not verify is warned of once and not asked again', async () => {
    // The proof of another statement: it reads well and does not verify.
    const other = await createProver()
    const { proof: foreign } = await other.prove('pointwise', pointwiseInput({ tol: 5 }))
    await other.close()
    await writeFile(join(folder, 'foreign.json'), proofJson(foreign))
    const calls = join(folder, 'calls')
    const mine = await mkdtemp(join(folder, 'private-'))
    for (const [script, reason] of [
      ['exit 3', /Command failed/],
      [`cp ${join(folder, 'foreign.json')} "$3"`, /PAIRING/],
    ] as const) {
      const binary = await program('bad', `echo x >> ${calls}; ${script}`)
      const warnings: string[] = []
      const prover = await createProver({ external: { binary, folder: mine, warn: (line) => warnings.push(line) } })
      for (let i = 0; i < 2; i++) {
        const { proof, publicSignals } = await prover.prove('pointwise', pointwiseInput())
        assert.equal(await verifier.verify('pointwise', publicSignals, proof), { ok: true })
      }
      await prover.close()
      assert.is(warnings.length, 1)
      assert.match(warnings[0]!, reason)
    }
    assert.is(readFileSync(calls, 'utf8'), 'x\nx\n')
  })

  test('the program gets the pinned key and the witness, and no more of our environment than it needs', async () => {
    const seen = join(folder, 'seen')
    const binary = await program(
      'spy',
      `env > ${seen}.env; cp "$1" ${seen}.zkey; cp "$2" ${seen}.wtns; stat -c %a "$2" > ${seen}.mode; exit 1`,
    )
    process.env.SINTER_PASSWORD = 'secret of the test'
    const mine = await mkdtemp(join(folder, 'private-'))
    const prover = await createProver({ external: { binary, folder: mine, warn: () => {} } })
    await prover.prove('pointwise', pointwiseInput())
    await prover.close()
    delete process.env.SINTER_PASSWORD
    assert.not.match(readFileSync(`${seen}.env`, 'utf8'), 'secret of the test')
    assert.equal(readFileSync(`${seen}.zkey`), readFileSync('circuits/artifacts/pointwise.zkey'))
    const { input } = pointwiseWitnessInput(await createCommitter(), pointwiseInput())
    const expected = witnessFile((await calculator('pointwise')).calculate(input))
    assert.equal(new Uint8Array(readFileSync(`${seen}.wtns`)), expected)
    if (process.platform === 'linux') assert.is(readFileSync(`${seen}.mode`, 'utf8').trim(), '600')
  })

  test('a program that proves is used, by every worker of a pool', async () => {
    const script = join(folder, 'prove.mjs')
    const log = join(folder, 'proved')
    await writeFile(
      script,
      `import { appendFileSync, writeFileSync } from 'node:fs'
       import * as snarkjs from ${JSON.stringify(import.meta.resolve('snarkjs'))}
       const [key, witness, proofFile, publicFile] = process.argv.slice(2)
       const { proof, publicSignals } = await snarkjs.groth16.prove(key, witness)
       writeFileSync(proofFile, JSON.stringify(proof))
       writeFileSync(publicFile, JSON.stringify(publicSignals))
       appendFileSync(${JSON.stringify(log)}, 'x')
       process.exit(0)`,
    )
    const rapidsnark = await program('proves', `exec "${process.execPath}" "${script}" "$@"`)
    const warnings: string[] = []
    const pool = createProverPool({ rapidsnark, warn: (line) => warnings.push(line) })
    try {
      for (const made of [
        { kind: 'pointwise' as const, ...(await pool.prove('pointwise', pointwiseInput())) },
        { kind: 'product' as const, ...(await pool.prove('product', productInput())) },
      ])
        assert.equal(await verifier.verify(made.kind, made.publicSignals, made.proof), { ok: true })
    } finally {
      await pool.close()
    }
    assert.equal(warnings, [])
    assert.is(readFileSync(log, 'utf8'), 'xx')
  })

  test('a pool warns once and proves without the program', async () => {
    const before = await proverFolders()
    const warnings: string[] = []
    const pool = createProverPool({
      workers: 2,
      rapidsnark: join(folder, 'missing'),
      warn: (line) => warnings.push(line),
    })
    const all = await Promise.all([0, 1].map(() => pool.prove('pointwise', pointwiseInput())))
    for (const { publicSignals, proof } of all)
      assert.equal(await verifier.verify('pointwise', publicSignals, proof), { ok: true })
    await pool.close()
    assert.is(warnings.length, 1)
    assert.equal(await proverFolders(), before)
  })

  test('a worker or a parent that is killed takes the program and the witness with it', async () => {
    const before = await proverFolders()
    const pidFile = join(folder, 'orphan')
    const hangs = await program('orphans', `echo $$ > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; exec sleep 600`)
    const gone = async (pid: number) => {
      const running = () =>
        /^[^Z]/.test(spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout)
      for (let waited = 0; running() && waited < 5_000; waited += 50) await sleep(50)
      assert.not(running())
    }
    const started = async () => {
      while (!existsSync(pidFile)) await sleep(20)
      const pid = Number(readFileSync(pidFile, 'utf8'))
      await rm(pidFile)
      return pid
    }
    const others = new Set(childIds())
    const pool = createProverPool({ rapidsnark: hangs })
    const job = codeOf(() => pool.prove('pointwise', pointwiseInput()))
    const program1 = await started()
    const [worker] = childIds().filter((id) => !others.has(id))
    if (worker !== undefined) {
      process.kill(worker, 'SIGKILL')
      assert.is(await job, 'PROVER_DIED')
    }
    await pool.close()
    await gone(program1)
    assert.equal(await proverFolders(), before)

    const script = `
      import { createProverPool } from './circuits/pool.ts'
      import { pointwiseInput } from './test/circuits/fixtures.ts'
      await createProverPool({ rapidsnark: ${JSON.stringify(hangs)} }).prove('pointwise', pointwiseInput())
    `
    const parent = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], { stdio: 'ignore' })
    const program2 = await started()
    parent.kill('SIGKILL')
    await gone(program2)
    assert.equal(await proverFolders(), before)
  })

  test('an abort ends the program too, and leaves no witness behind', async () => {
    const before = await proverFolders()
    const children = childIds()
    const pidFile = join(folder, 'pid')
    const pool = createProverPool({
      rapidsnark: await program('hangs', `echo $$ > ${pidFile}.part; mv ${pidFile}.part ${pidFile}; exec sleep 600`),
    })
    const abort = new AbortController()
    const job = codeOf(() => pool.prove('pointwise', pointwiseInput(), { signal: abort.signal }))
    while (!existsSync(pidFile)) await sleep(20)
    const pid = Number(readFileSync(pidFile, 'utf8'))
    process.kill(pid, 0)
    abort.abort()
    assert.is(await job, 'PROOF_ABORTED')
    await pool.close()
    assert.equal(await proverFolders(), before)
    assert.equal(childIds(), children)
    // Killed, it may stay a zombie until whoever adopted it looks.
    const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' })
    assert.match(stdout.trim(), /^(Z.*)?$/)
  })
}

test.run()
