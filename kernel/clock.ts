/** Time as the agent sees it. main.ts gives the real one, tests a simulated one. */
export interface Clock {
  /** Wall time for what people read. It jumps: never measure a wait with it. */
  now(): Date;
  /** Milliseconds since some start, never going back: for deadlines. */
  monotonic(): number;
  /** Ends after `milliseconds`, or at once when the signal is aborted. Never rejects. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

/** RFC 3339 in UTC with whole seconds, as Kubernetes writes its own times. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d{3}Z$/, 'Z');
}
