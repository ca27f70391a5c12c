import { type ChildProcess, fork } from 'node:child_process'
import { siblingEntry } from '../protocol/assets.ts'
import { SinterError } from '../protocol/errors.ts'
import { PROOF_BYTES, type ProofVerdict } from './groth16.ts'
import { isCanonical } from './scalars.ts'
import { type CircuitKind, SIGNAL_COUNT } from './signals.ts'

export type { ProofFault, ProofVerdict } from './groth16.ts'

export type VerifierRequest = { id: number; kind: CircuitKind; signals: readonly bigint[]; proof: Uint8Array }
export type VerifierReply = { id: number; verdict: ProofVerdict }

export type Verifier = {
  /**
   * Judges a proof that came from a peer. `publicSignals` is what the verifier itself derived from statement, challenge
   * and opened leaves. Never throws on their content; rejects with `VERIFIER_CLOSED`, or with `VERIFIER_DIED` when the
   * child process ended, after which the next call starts another.
   */
  verify(kind: CircuitKind, publicSignals: readonly bigint[], proof: Uint8Array): Promise<ProofVerdict>
  /** Ends the child process. */
  close(): Promise<void>
}

type Waiting = { resolve(verdict: ProofVerdict): void; reject(error: SinterError): void }
type Child = { process: ChildProcess; waiting: Map<number, Waiting>; gone: Promise<void> }

/** Starts the child and resolves once it has loaded its keys. */
async function start(): Promise<Child> {
  const process = fork(siblingEntry(import.meta.url, './verify-worker'), {
    serialization: 'advanced',
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const waiting: Child['waiting'] = new Map()
  const gone = new Promise<void>((resolve) => {
    process.once('exit', () => resolve())
    process.once('error', () => resolve())
  })
  await new Promise<void>((resolve, reject) => {
    process.on('message', (message: 'ready' | VerifierReply) => {
      if (message === 'ready') {
        resolve()
        return
      }
      waiting.get(message.id)?.resolve(message.verdict)
      waiting.delete(message.id)
      if (waiting.size === 0) hold(process, false)
    })
    void gone.then(() => {
      const error = new SinterError('VERIFIER_DIED', 'the verifier process ended')
      for (const job of waiting.values()) job.reject(error)
      waiting.clear()
      reject(error)
    })
  })
  hold(process, false)
  return { process, waiting, gone }
}

/** Whether the child keeps this process alive. */
function hold(child: ChildProcess, alive: boolean): void {
  const change = alive ? 'ref' : 'unref'
  child[change]()
  child.channel?.[change]()
}

/**
 * A verifier with both keys loaded and checked, in a child process of its own: a proof takes tens of milliseconds of
 * computing, none of them on the caller's event loop. (A worker thread does not do: the curve library's worker shim
 * takes every thread for one of its own and rewires its globals.) An idle verifier does not keep the process alive.
 * Throws `VERIFIER_DIED` when the child cannot start; why stands on its standard error, such as a key's refusal.
 */
export async function createVerifier(): Promise<Verifier> {
  let nextId = 0
  let closed = false
  let child: Promise<Child> | null = null
  const launch = (): Promise<Child> => {
    const started = start()
    child = started
    const forget = () => {
      if (child === started) child = null
    }
    started.then(({ gone }) => gone).then(forget, forget)
    return started
  }
  await launch()
  const closedError = () => new SinterError('VERIFIER_CLOSED', 'the verifier is closed')

  return {
    async verify(kind, publicSignals, proof) {
      if (closed) throw closedError()
      // The cheap checks first, here: what fails them never reaches the child. It repeats them.
      if (publicSignals.length !== SIGNAL_COUNT[kind]) return { ok: false, code: 'SIGNAL_COUNT' }
      if (!publicSignals.every(isCanonical)) return { ok: false, code: 'SIGNAL_RANGE' }
      if (proof.length !== PROOF_BYTES) return { ok: false, code: 'PROOF_LENGTH' }
      const { process, waiting } = await (child ?? launch())
      if (closed) throw closedError()
      return new Promise((resolve, reject) => {
        const id = nextId++
        waiting.set(id, { resolve, reject })
        hold(process, true)
        process.send({ id, kind, signals: publicSignals, proof } satisfies VerifierRequest, (error) => {
          if (error !== null) reject(new SinterError('VERIFIER_DIED', 'the verifier process could not be reached'))
        })
      })
    },
    async close() {
      closed = true
      const current = await child?.catch(() => null)
      if (current === null || current === undefined) return
      for (const job of current.waiting.values()) job.reject(closedError())
      // Idle, it ends by itself when the channel does; busy, it would first finish its queue.
      if (current.waiting.size > 0) current.process.kill('SIGKILL')
      else if (current.process.connected) current.process.disconnect()
      current.waiting.clear()
      hold(current.process, true)
      await current.gone
    },
  }
}
