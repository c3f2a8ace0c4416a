/** Why a live patch is not trusted. Each way to forge or to miss something has its own reason; the first one that applies is given. */

export type TrustRefusalReason =
  | 'ArtifactMalformed'
  | 'ArtifactWithoutFile'
  | 'ClaimedBuildIDMismatch'
  | 'ClaimedCVEsMismatch'
  | 'ClaimedFunctionsMismatch'
  | 'ClaimedKernelMismatch'
  | 'ClaimedNameMismatch'
  | 'ClaimedReplaceMismatch'
  | 'ClaimedReversibleMismatch'
  | 'ClaimsMalformed'
  | 'ClaimsOfOtherFile'
  | 'ClaimsUnknown'
  | 'NoTrustedKey'
  | 'SignatureKeyless'
  | 'SignatureMalformed'
  | 'SignatureMissing'
  | 'SignatureUntrusted';

export interface TrustRefusal {
  readonly reason: TrustRefusalReason;
  readonly message: string;
}

/** Either what was asked for, or why it is refused. */
export type Judged<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: TrustRefusal };

export function trusted<T>(value: T): Judged<T> {
  return { ok: true, value };
}

export function distrusted(reason: TrustRefusalReason, message: string): { readonly ok: false; readonly refusal: TrustRefusal } {
  return { ok: false, refusal: { reason, message } };
}
