/** Keeps the agent told of its NodeKernel, through every error: list, watch, list again. */
import type { Logger } from 'pino';
import type { NodeKernel } from '../crds/nodekernel.ts';
import type { Clock } from '../kernel/clock.ts';
import { codeOf } from '../kernel/errors.ts';
import type { Api } from './api.ts';
import type { AgentMetrics } from './metrics.ts';

const FIRST_PAUSE_MILLISECONDS = 500;
const LAST_PAUSE_MILLISECONDS = 30_000;
/** A watch that ends sooner is no success, even without an error: without a pause it would be a storm. */
const HEALTHY_MILLISECONDS = 5000;

export interface FollowOptions {
  readonly api: Pick<Api, 'list' | 'watch'>;
  readonly clock: Clock;
  /** 0 to 1, so that the agents of a cluster do not come back in step. */
  readonly random: () => number;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
}

/** Calls `accept` with each state of the object (undefined: there is none) until the signal is aborted. Only a defect of ours throws. */
export async function follow({ api, clock, random, log, metrics }: FollowOptions, accept: (object: NodeKernel | undefined) => void, signal: AbortSignal): Promise<void> {
  let pause = 0;
  while (!signal.aborted) {
    const startedAt = clock.monotonic();
    try {
      const { object, resourceVersion } = await api.list(signal);
      accept(object);
      for await (const event of api.watch(resourceVersion, signal)) accept(event.type === 'Changed' ? event.object : undefined);
    } catch (error) {
      if (signal.aborted) return;
      if (codeOf(error) === undefined) throw error;
      metrics.countWatchRestart();
      log.warn({ err: error }, 'watch was interrupted');
    }
    const healthy = clock.monotonic() - startedAt >= HEALTHY_MILLISECONDS;
    pause = healthy ? FIRST_PAUSE_MILLISECONDS : Math.min(pause * 2 || FIRST_PAUSE_MILLISECONDS, LAST_PAUSE_MILLISECONDS);
    await clock.sleep(pause * (0.5 + random() / 2), signal);
  }
}
