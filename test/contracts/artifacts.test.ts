import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assetPath } from '../../protocol/assets.ts'
import * as abis from '../../protocol/contracts/abi.ts'
import { type Artifact, compileContracts, LIBRARIES, SETTINGS } from '../../protocol/contracts/compile.ts'

const compiled = compileContracts()

for (const [name, artifact] of Object.entries(compiled)) {
  test(`the committed artifact of ${name} is what its sources compile to`, () => {
    const committed = JSON.parse(
      readFileSync(assetPath(`protocol/contracts/artifacts/${name}.json`), 'utf8'),
    ) as Artifact
    assert.is(committed.sourceHash, artifact.sourceHash, 'run npm run contracts')
    assert.is(committed.bytecode, artifact.bytecode)
    assert.equal(committed.abi, artifact.abi)
    // Nobody calls a library but the contract it is linked into.
    if (LIBRARIES.some((library) => library === name)) return
    assert.ok(
      Object.values<unknown>(abis).some((abi) => JSON.stringify(abi) === JSON.stringify(artifact.abi)),
      'abi.ts',
    )
  })
}

test('the Solidity tests compile with the settings of the deployment', () => {
  const config = readFileSync(assetPath('test/contracts/foundry.toml'), 'utf8')
  assert.match(config, `optimizer_runs = ${SETTINGS.optimizer.runs}\n`)
  assert.match(config, `evm_version = '${SETTINGS.evmVersion}'\n`)
})

test.run()
