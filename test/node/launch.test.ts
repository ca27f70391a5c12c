/** Flags of Node by command, and that processes of the local network have the same. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { flagsOf, LIGHT_FLAGS, SERVING_FLAGS } from '../../node/bin/launch.js'
import { startActor } from '../../node/devnet/actor.ts'

test('commands that serve and commands that are clients have flags of their own, which Node knows', () => {
  for (const command of ['up', 'gateway']) {
    assert.is(flagsOf(command, 4), SERVING_FLAGS, command)
    assert.equal(flagsOf(command, 5), [], `${command}, where helper threads find a core`)
  }
  for (const command of ['infer', 'batch', 'status'])
    for (const cores of [2, 64]) assert.is(flagsOf(command, cores), LIGHT_FLAGS, command)
  for (const command of ['devnet', 'test/run.ts', undefined]) assert.equal(flagsOf(command), [], command)
  for (const flags of [LIGHT_FLAGS, SERVING_FLAGS])
    assert.is(spawnSync(process.execPath, [...flags, '--eval', '0']).status, 0)
})

test('a process of the local network has those of its command', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sinter-launch-'))
  const program = join(folder, 'program.mjs')
  writeFileSync(program, 'console.log(JSON.stringify({ event: "flags", flags: process.execArgv }))')
  for (const [command, flags] of [
    ['up', flagsOf('up')],
    ['model', []],
  ] as const) {
    const actor = startActor({ name: command, args: [command], env: {}, logFile: join(folder, 'log'), program })
    const { facts } = await actor.wait('flags', 10_000)
    assert.equal(facts.flags, ['--no-warnings', ...flags])
    await actor.ended
  }
  rmSync(folder, { recursive: true, force: true })
})

test.run()
