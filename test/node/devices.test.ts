/** Which sessions of a model run where, from what an operator writes. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { EXECUTION_PROVIDERS } from '../../models/session.ts'
import { type DeviceConfig, placements } from '../../node/exec/devices.ts'
import { errorCode } from '../../protocol/errors.ts'

const code = (config: DeviceConfig): string => {
  try {
    placements(config)
    return 'NONE'
  } catch (error) {
    return errorCode(error)
  }
}

test('without a word there is one session on the default device of every provider', () => {
  for (const executionProvider of EXECUTION_PROVIDERS)
    assert.equal(placements({ executionProvider }), [{ device: null, env: {}, deviceId: null, threads: null }])
})

test('CUDA and TensorRT see exactly the GPU or MIG slice that a session is for', () => {
  const gpu = 'GPU-8932f937-d72c-4106-c12f-20bd9faed9f6'
  const mig = 'MIG-0f0d1f2b-5b2e-5d3c-9a4e-1f2a3b4c5d6e'
  const old = 'MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/0'
  for (const executionProvider of ['cuda', 'tensorrt'] as const) {
    const made = placements({ executionProvider, devices: ['1', gpu, mig, old], sessionsPerDevice: 2 })
    assert.is(made.length, 8)
    assert.equal(
      made.map(({ env }) => env.CUDA_VISIBLE_DEVICES),
      ['1', '1', gpu, gpu, mig, mig, old, old],
    )
    // As nvidia-smi counts them, whatever order the driver prefers.
    assert.ok(made.every(({ env, deviceId }) => env.CUDA_DEVICE_ORDER === 'PCI_BUS_ID' && deviceId === null))
  }
})

test('DirectML is given a number; providers without a choice refuse one', () => {
  assert.equal(
    placements({ executionProvider: 'dml', devices: ['2'] }).map(({ deviceId, env }) => [deviceId, env]),
    [[2, {}]],
  )
  for (const executionProvider of ['cpu', 'webgpu', 'coreml'] as const)
    assert.is(code({ executionProvider, devices: ['0'] }), 'DEVICE_UNSUPPORTED')
})

test('what names no device is refused', () => {
  for (const device of ['', '-1', '01', '1000', 'a', '0,1', 'GPU-', 'MIG-8932f937', '1/0', 'all'])
    assert.is(code({ executionProvider: 'cuda', devices: [device] }), 'DEVICE_MALFORMED', device)
  assert.is(code({ executionProvider: 'cuda', devices: ['999'] }), 'NONE')
  assert.is(
    code({ executionProvider: 'dml', devices: ['GPU-8932f937-d72c-4106-c12f-20bd9faed9f6'] }),
    'DEVICE_MALFORMED',
  )
  assert.is(code({ executionProvider: 'cuda', devices: ['0', '1', '0'] }), 'DEVICE_TWICE')
  const gpu = 'GPU-8932f937-d72c-4106-c12f-20bd9faed9f6'
  assert.is(code({ executionProvider: 'cuda', devices: [gpu, gpu.toLowerCase()] }), 'DEVICE_TWICE')
})

test('sessions per device are from 1 to 64, and share the cores', () => {
  for (const sessionsPerDevice of [0, 65, 1.5, Number.NaN])
    assert.is(code({ executionProvider: 'cpu', sessionsPerDevice }), 'DEVICE_SESSIONS')
  assert.is(placements({ executionProvider: 'cpu', sessionsPerDevice: 64 }).length, 64)
  const [first] = placements({ executionProvider: 'cpu', sessionsPerDevice: 64 })
  assert.ok(first!.threads! >= 1)
})

test.run()
