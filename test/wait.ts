/** Waiting for a condition with a deadline; what was seen last is in the error. */
import { setTimeout as delay } from 'node:timers/promises';

export interface WaitOptions {
  readonly seconds: number;
  /** Milliseconds between two looks. */
  readonly every?: number;
}

/** Thrown by a look that knows that waiting longer is of no use. */
export class GiveUp extends Error {}

/**
 * The first value of `look` that is not undefined. A throwing look counts as not yet (but for GiveUp), and its error is shown when time is up.
 * Throws after `seconds` with `what` and `seen()`.
 */
export async function waitFor<T>(what: string, options: WaitOptions, look: () => Promise<T | undefined> | T | undefined, seen?: () => unknown): Promise<T> {
  const end = performance.now() + options.seconds * 1000;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await look();
      if (value !== undefined) return value;
      lastError = undefined;
    } catch (error) {
      if (error instanceof GiveUp) throw error;
      lastError = error;
    }
    if (performance.now() >= end) {
      const last = lastError instanceof Error ? lastError.message : lastError;
      throw new Error(`waited ${options.seconds} s for ${what}; seen: ${JSON.stringify((await seen?.()) ?? last ?? 'nothing')}`, { cause: lastError });
    }
    await delay(options.every ?? 100);
  }
}
