/** A pause that can be cut short. */
import type { Clock } from '../kernel/clock.ts';

export interface Wakeable {
  /** Ends the pause under way, or the next one if there is none: what happened before a pause is not missed. */
  up(): void;
  sleep(milliseconds: number): Promise<void>;
}

export function wakeable(clock: Clock): Wakeable {
  let pause = new AbortController();
  return {
    up() {
      pause.abort();
    },
    async sleep(milliseconds) {
      await clock.sleep(milliseconds, pause.signal);
      if (pause.signal.aborted) pause = new AbortController();
    },
  };
}
