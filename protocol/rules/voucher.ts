import { bytesToBigint, equalBytes } from '../bytes.ts'
import { recoverTyped, type SigningDomain, type VoucherFields, voucherDigest } from '../eip712.ts'
import type { Voucher } from '../gen/sinter_pb.js'
import type { Address } from '../signature.ts'
import { reject } from '../verdict.ts'
import { accepted, type Judged } from './judged.ts'
import type { Receipt } from './receipt.ts'

export type VoucherContext = {
  /** Chain and escrow of the network. */
  domain: SigningDomain
  /** The session’s voucher key. */
  signer: Address
  /** The receipt that awaits acknowledgement. */
  receipt: Pick<Receipt, 'session' | 'seq' | 'cumulative' | 'hash'>
}

export type SignedVoucher = VoucherFields & { signature: Uint8Array }

/** Judges a voucher, at the provider: only a voucher the escrow will take releases the next job. */
export function judgeVoucher(voucher: Voucher, { domain, signer, receipt }: VoucherContext): Judged<SignedVoucher> {
  // [REJECT] Session and receipt hash have 32 bytes, the amount 16.
  if (voucher.session.length !== 32 || voucher.receipt.length !== 32 || voucher.cumulative.length !== 16)
    return reject('VOUCHER_FIELDS')
  // [REJECT] It acknowledges exactly the receipt that awaits it.
  if (!equalBytes(voucher.session, receipt.session)) return reject('VOUCHER_SESSION')
  if (voucher.seq !== receipt.seq) return reject('VOUCHER_SEQUENCE')
  const cumulative = bytesToBigint(voucher.cumulative)
  if (cumulative !== receipt.cumulative) return reject('VOUCHER_CUMULATIVE')
  if (!equalBytes(voucher.receipt, receipt.hash)) return reject('VOUCHER_RECEIPT')
  // [REJECT] The signature, last because dearest, is the voucher key's for this chain and this escrow.
  const fields = { session: voucher.session, seq: voucher.seq, cumulative, receipt: voucher.receipt }
  if (recoverTyped(voucherDigest(domain, fields), voucher.signature, signer) !== signer)
    return reject('VOUCHER_SIGNATURE')
  return accepted({ ...fields, signature: voucher.signature })
}
