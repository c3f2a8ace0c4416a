/** Time that passes only when everybody waits: a test of minutes ends in milliseconds, in the same order each time. */
import type { Clock } from '../../kernel/clock.ts';

interface Sleeper {
  readonly wakesAt: number;
  wake(): void;
}

export interface SimulatedClock extends Clock {
  /** Time stands still from now on, and nobody wakes any more. */
  stop(): void;
}

export function simulatedClock(start = Date.UTC(2026, 10, 24)): SimulatedClock {
  let elapsed = 0;
  let stopped = false;
  let pumping = false;
  const sleepers = new Set<Sleeper>();

  /** By the time an immediate runs, all that was not waiting for time has gone as far as it can. */
  function pump(): void {
    if (pumping || stopped || sleepers.size === 0) return;
    pumping = true;
    setImmediate(() => {
      pumping = false;
      if (stopped) return;
      const next = [...sleepers].reduce<Sleeper | undefined>((first, sleeper) => (first && first.wakesAt <= sleeper.wakesAt ? first : sleeper), undefined);
      if (next !== undefined) {
        elapsed = Math.max(elapsed, next.wakesAt);
        next.wake();
      }
      pump();
    });
  }

  return {
    now: () => new Date(start + elapsed),
    monotonic: () => elapsed,
    async sleep(milliseconds, signal) {
      if (signal?.aborted) return;
      await new Promise<void>((resolve) => {
        const sleeper: Sleeper = {
          wakesAt: elapsed + milliseconds,
          wake() {
            sleepers.delete(sleeper);
            resolve();
          },
        };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', () => sleeper.wake(), { once: true });
        pump();
      });
    },
    stop() {
      stopped = true;
    },
  };
}

const LOOK_MILLISECONDS = 500;

/** The condition holds within `seconds` of simulated time, or the test fails with `what`. */
export async function until(clock: Clock, what: string, condition: () => boolean, seconds = 600): Promise<void> {
  const deadline = clock.monotonic() + seconds * 1000;
  while (!condition()) {
    if (clock.monotonic() > deadline) throw new Error(`not within ${seconds} simulated seconds: ${what}`);
    await clock.sleep(LOOK_MILLISECONDS);
  }
}
