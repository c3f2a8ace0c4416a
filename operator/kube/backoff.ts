/** Capped doubling with jitter, for the queue and the informers. */

export interface Backoff {
  readonly firstMs: number;
  readonly capMs: number;
}

/** Wait after the n-th failure in a row (n from 1): doubled each time up to the cap, then between half and all of it, so that many clients do not come back together. */
export function backoffMs({ firstMs, capMs }: Backoff, failures: number, random: () => number): number {
  const full = Math.min(capMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return full / 2 + (full / 2) * random();
}
