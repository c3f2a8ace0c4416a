/** A work queue as client-go's: a key that is added many times runs once, and never twice at the same time. */
import { KernelPatchError } from '../errors.ts';
import { backoffMs } from './backoff.ts';
import type { Backoff } from './backoff.ts';

export interface Queue<K extends string> {
  /** The key will run soon; once more if it is running now. */
  add(key: K): void;
  /** The key will run in at most this time. An earlier appointment of the same key stays. */
  addAfter(key: K, delayMs: number): void;
  /** Resolves when nothing is running any more; nothing runs after it. */
  stop(): Promise<void>;
}

export interface QueueOptions<K extends string> {
  /** Brings one key up to date. May return in how many milliseconds it wants to run again. Throwing means: again after a backoff. */
  readonly run: (key: K) => Promise<number | undefined>;
  readonly onError: (key: K, error: unknown, retryInMs: number) => void;
  readonly backoff: Backoff;
  readonly random: () => number;
}

interface Appointment {
  readonly at: number;
  readonly timer: NodeJS.Timeout;
}

export function makeQueue<K extends string>(options: QueueOptions<K>): Queue<K> {
  const ready = new Set<K>();
  const running = new Map<K, Promise<void>>();
  const failures = new Map<K, number>();
  const appointments = new Map<K, Appointment>();
  /** Until when the API server asked us not to come back, whatever changes meanwhile. */
  const heldUntil = new Map<K, number>();
  let stopped = false;

  function retryInMs(key: K, error: unknown): number {
    const count = (failures.get(key) ?? 0) + 1;
    failures.set(key, count);
    const askedMs = error instanceof KernelPatchError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
    if (askedMs > 0) heldUntil.set(key, performance.now() + askedMs);
    return Math.max(askedMs, backoffMs(options.backoff, count, options.random));
  }

  async function work(key: K): Promise<void> {
    try {
      const again = await options.run(key);
      failures.delete(key);
      if (again !== undefined) addAfter(key, again);
    } catch (error) {
      const delayMs = retryInMs(key, error);
      options.onError(key, error, delayMs);
      addAfter(key, delayMs);
    }
    running.delete(key);
    if (ready.has(key)) start(key);
  }

  function start(key: K): void {
    if (stopped || running.has(key)) return;
    ready.delete(key);
    cancel(key);
    running.set(key, work(key));
  }

  function cancel(key: K): void {
    clearTimeout(appointments.get(key)?.timer);
    appointments.delete(key);
  }

  function add(key: K): void {
    const heldMs = (heldUntil.get(key) ?? 0) - performance.now();
    if (heldMs > 0) {
      addAfter(key, heldMs);
      return;
    }
    heldUntil.delete(key);
    ready.add(key);
    start(key);
  }

  function addAfter(key: K, delayMs: number): void {
    if (stopped) return;
    const at = performance.now() + delayMs;
    const earlier = appointments.get(key);
    if (earlier && earlier.at <= at) return;
    cancel(key);
    // A timer of Node's counts 31 bits of milliseconds; a longer one would fire at once.
    const timer = setTimeout(() => {
      appointments.delete(key);
      add(key);
    }, Math.min(delayMs, 2 ** 31 - 1));
    appointments.set(key, { at, timer });
  }

  return {
    add,
    addAfter,
    async stop() {
      stopped = true;
      for (const key of appointments.keys()) cancel(key);
      await Promise.all(running.values());
    },
  };
}
