/** Every error the operator throws on purpose: a code to compare, never a text. */

/** Each code, and what whoever meets it does next. */
export const ERROR_CODES = {
  /** An environment variable is missing or wrong. Next: set it as the message says; the chart sets all of them. */
  ConfigInvalid: 'ConfigInvalid',
  /** Another process leads, or the Lease could not be renewed in time. Next: nothing, the process ends and starts again as a standby. */
  LeaseLost: 'LeaseLost',
  /** The operator's own Deployment is not there, so lease and agents would belong to nobody. Next: set DEPLOYMENT_NAME to its name. */
  DeploymentNotFound: 'DeploymentNotFound',
  /** 404: the object or its kind is not there. Next: observe again; a kind that is not served needs the chart's CRDs. */
  NotFound: 'NotFound',
  /** 409: the object has changed since it was read. Next: observe again. */
  Conflict: 'Conflict',
  /** 410: the resourceVersion is too old. Next: list anew. */
  Gone: 'Gone',
  /** 429: the API server asks for patience. Next: wait for retryAfterSeconds. */
  TooMany: 'TooMany',
  /** 401 or 403. Next: compare the operator's ClusterRole with the chart's. */
  Forbidden: 'Forbidden',
  /** 400 or 422: the API server does not take the request. Next: compare the installed CRDs with the operator's version. */
  Invalid: 'Invalid',
  /** Any other answer that is no success. Next: try again later, look into the API server's log if it stays. */
  ServerError: 'ServerError',
  /** No answer: refused, reset, timed out. Next: try again later. */
  Network: 'Network',
  /** Not a byte for too long on an open connection. Next: connect anew. */
  Silent: 'Silent',
  /** An answer that is not JSON or not what the API promises. Next: list anew. */
  BadAnswer: 'BadAnswer',
} as const;
export type ErrorCode = keyof typeof ERROR_CODES;

export class KernelPatchError extends Error {
  readonly code: ErrorCode;
  /** From the Retry-After header of a 429 or 503. */
  readonly retryAfterSeconds: number | undefined;
  /** The API server's own words, without the request that they answer. */
  readonly said: string | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAfterSeconds?: number | undefined; said?: string } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.name = 'KernelPatchError';
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.said = options.said;
  }
}

/** The code of an error of ours; Network for what Node's sockets throw, since everything else here is thrown by us. */
export function kindOf(error: unknown): ErrorCode {
  return error instanceof KernelPatchError ? error.code : ERROR_CODES.Network;
}
