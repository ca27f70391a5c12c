import { type ChildProcess, fork } from 'node:child_process'
import { siblingEntry } from '../protocol/assets.ts'
import { SinterError } from '../protocol/errors.ts'
import { type BatchVerdict, PROOF_BYTES, type ProofFault, type ProofVerdict } from './groth16.ts'
import { isCanonical } from './scalars.ts'
import { type CircuitKind, SIGNAL_COUNT } from './signals.ts'

export type { BatchVerdict, ProofFault, ProofVerdict } from './groth16.ts'

/** A proof that came from a peer, with the signals that the verifier itself derived. */
export type ProofClaim = { kind: CircuitKind; signals: readonly bigint[]; proof: Uint8Array }
type Question = ProofClaim | { claims: readonly ProofClaim[] }
type Answer = ProofVerdict | BatchVerdict
export type VerifierRequest = { id: number } & Question
export type VerifierReply = { id: number; verdict: Answer }

export type Verifier = {
  /**
   * Judges a proof that came from a peer. `publicSignals` is what the verifier itself derived from statement, challenge
   * and opened leaves. Never throws on their content; rejects with `VERIFIER_CLOSED`, or with `VERIFIER_DIED` when the
   * child process ended, after which the next call starts another.
   */
  verify(kind: CircuitKind, publicSignals: readonly bigint[], proof: Uint8Array): Promise<ProofVerdict>
  /**
   * The verdict of judging claims in this order up to the first bad one, whose index it names. Several proofs of one circuit
   * cost less together. Rejects as `verify`.
   */
  verifyAll(claims: readonly ProofClaim[]): Promise<BatchVerdict>
  /** Ends the child process. */
  close(): Promise<void>
}

type Waiting = { resolve(verdict: Answer): void; reject(error: SinterError): void }
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

/** What needs no key to be seen. */
function malformed({ kind, signals, proof }: ProofClaim): ProofFault | null {
  if (signals.length !== SIGNAL_COUNT[kind]) return 'SIGNAL_COUNT'
  if (!signals.every(isCanonical)) return 'SIGNAL_RANGE'
  return proof.length === PROOF_BYTES ? null : 'PROOF_LENGTH'
}

/** Whether the child keeps this process alive. */
function hold(child: ChildProcess, alive: boolean): void {
  const change = alive ? 'ref' : 'unref'
  child[change]()
  child.channel?.[change]()
}

/**
 * A verifier with all keys loaded and checked, in a child process of its own: a proof takes tens of milliseconds of
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

  const ask = async (question: Question): Promise<Answer> => {
    if (closed) throw closedError()
    const { process, waiting } = await (child ?? launch())
    if (closed) throw closedError()
    return new Promise((resolve, reject) => {
      const id = nextId++
      waiting.set(id, { resolve, reject })
      hold(process, true)
      process.send({ id, ...question } satisfies VerifierRequest, (error) => {
        if (error !== null) reject(new SinterError('VERIFIER_DIED', 'the verifier process could not be reached'))
      })
    })
  }

  return {
    async verify(kind, signals, proof) {
      if (closed) throw closedError()
      // The cheap checks first, here: what fails them never reaches the child. It repeats them.
      const code = malformed({ kind, signals, proof })
      return code === null ? ((await ask({ kind, signals, proof })) as ProofVerdict) : { ok: false, code }
    },
    async verifyAll(claims) {
      if (closed) throw closedError()
      // What follows a malformed claim does not matter, what comes before it may be bad for another reason.
      const index = claims.findIndex((claim) => malformed(claim) !== null)
      const sound = index < 0 ? claims : claims.slice(0, index)
      const verdict = sound.length === 0 ? { ok: true as const } : ((await ask({ claims: sound })) as BatchVerdict)
      return verdict.ok && index >= 0 ? { ok: false, index, code: malformed(claims[index]!)! } : verdict
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
