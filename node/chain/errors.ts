import {
  type Abi,
  BaseError,
  decodeErrorResult,
  type Hex,
  HttpRequestError,
  isHex,
  LimitExceededRpcError,
  TimeoutError,
} from 'viem'
import {
  batchesAbi,
  beaconAbi,
  canariesAbi,
  capacityAbi,
  drandBeaconAbi,
  emissionsAbi,
  escrowAbi,
  faucetAbi,
  refereeAbi,
  registryAbi,
  seatsAbi,
  strikesAbi,
  tokenAbi,
  votesAbi,
} from '../../protocol/contracts/abi.ts'
import { SinterError } from '../../protocol/errors.ts'

/** Contracts call each other, so a revert may carry any one's error. */
const ERRORS: Abi = [
  tokenAbi,
  registryAbi,
  escrowAbi,
  beaconAbi,
  drandBeaconAbi,
  batchesAbi,
  seatsAbi,
  strikesAbi,
  votesAbi,
  canariesAbi,
  capacityAbi,
  refereeAbi,
  emissionsAbi,
  faucetAbi,
]
  .flat()
  .filter((entry) => entry.type === 'error')

/** Revert data anywhere in a chain of viem errors. */
function revertData(error: unknown): Hex | undefined {
  if (!(error instanceof BaseError)) return undefined
  let data: Hex | undefined
  error.walk((inner) => {
    const held = (inner as { data?: unknown }).data
    const raw = typeof held === 'object' && held !== null ? (held as { data?: unknown }).data : held
    if (isHex(raw) && raw.length >= 10) data = raw
    return data !== undefined
  })
  return data
}

const SILENCE = [HttpRequestError, TimeoutError, LimitExceededRpcError]

/** The endpoint gave no answer, or none to this caller for now. */
export function isTransport(error: unknown): boolean {
  return error instanceof BaseError && error.walk((inner) => SILENCE.some((kind) => inner instanceof kind)) !== null
}

/** An error of ours that viem has wrapped. */
function ownError(error: unknown): SinterError | null {
  if (error instanceof SinterError) return error
  return error instanceof Error && error.cause !== undefined ? ownError(error.cause) : null
}

/**
 * Any error of a chain call as a SinterError. Codes: `CHAIN_<ErrorName>` for a contract's typed error (arguments in
 * `detail.args`), `CHAIN_REVERT` for another revert, `CHAIN_GAS_FUNDS` when the account cannot pay for gas,
 * `CHAIN_RPC` when the endpoint does not answer, `CHAIN_CALL` for the rest.
 */
export function chainError(error: unknown, action: string): SinterError {
  const own = ownError(error)
  if (own !== null) return own
  const data = revertData(error)
  if (data !== undefined) {
    try {
      const decoded = decodeErrorResult({ abi: ERRORS, data })
      const custom = decoded.errorName !== 'Error' && decoded.errorName !== 'Panic'
      const code = custom ? `CHAIN_${decoded.errorName}` : 'CHAIN_REVERT'
      const args = (decoded.args ?? []) as readonly unknown[]
      const text = `${action} was refused: ${decoded.errorName}(${args.map(String).join(', ')})`
      return new SinterError(code, text, { cause: error, detail: { args } })
    } catch {
      return new SinterError('CHAIN_REVERT', `${action} was refused`, { cause: error, detail: { data } })
    }
  }
  const text = error instanceof BaseError ? error.shortMessage : String(error)
  if (isTransport(error)) return new SinterError('CHAIN_RPC', `${action}: the chain does not answer`, { cause: error })
  if (/insufficient funds|gas required exceeds allowance|OutOfFund/i.test(describe(error)))
    return new SinterError('CHAIN_GAS_FUNDS', `${action}: the account has too little ether for gas`, { cause: error })
  if (/revert/i.test(text)) return new SinterError('CHAIN_REVERT', `${action} was refused`, { cause: error })
  return new SinterError('CHAIN_CALL', `${action} failed: ${text}`, { cause: error })
}

/** Message and viem's details of every error in the chain, for matching what nodes only say in words. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const details = error instanceof BaseError ? ` ${error.details}` : ''
  return `${error.message}${details} ${error.cause === undefined ? '' : describe(error.cause)}`
}
