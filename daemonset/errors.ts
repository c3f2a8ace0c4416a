/** Codes of KernelPatchError that the agent adds to those of kernel/errors.ts. */

/** JournalUnwritable: a load was not tried since it could not be journalled; look at the disk of the node. */
export type JournalErrorCode = 'JournalUnwritable';

/**
 * ApiUnreachable: no answer (connection, TLS, timeout); look at the network between node and API server. ApiForbidden: 401 or 403; the
 * agent's ServiceAccount, its role or the admission policy is wrong. ApiNotFound: the object or the CRD is not there. ApiGone: the resource
 * version is too old; list again. ApiInvalid: the API server refused what was sent (400, 422); agent and CRDs are of two versions.
 * ApiBusy: 429 or 5xx; wait. ApiGarbled: the answer is not what was asked for, or too large.
 */
export type ApiErrorCode = 'ApiUnreachable' | 'ApiForbidden' | 'ApiNotFound' | 'ApiGone' | 'ApiInvalid' | 'ApiBusy' | 'ApiGarbled';

/** The code for an HTTP status other than 2xx. */
export function codeOfStatus(status: number): ApiErrorCode {
  switch (status) {
    case 401:
    case 403:
      return 'ApiForbidden';
    case 404:
      return 'ApiNotFound';
    case 410:
      return 'ApiGone';
    case 400:
    case 409:
    case 415:
    case 422:
      return 'ApiInvalid';
    default:
      return status === 429 || status >= 500 ? 'ApiBusy' : 'ApiGarbled';
  }
}
