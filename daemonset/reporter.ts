/** Decides when a status is worth a write, and tries again when a write fails. */
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { NodeKernelStatus } from '../crds/nodekernel.ts';
import type { Clock } from '../kernel/clock.ts';
import { codeOf } from '../kernel/errors.ts';
import type { AgentMetrics } from './metrics.ts';

/** What is being done: nothing, or what of it is furthest from its end. */
export type Progress = 'None' | 'LivePatches' | 'Reboot';

/**
 * An intermediate state is worth a write to the API server only when it stays. 2 s: a load whose transition ends with the kernel's second try, a second after the first, is over by then.
 * 15 s: a node that stages a kernel or goes down does so because its order says so, which is there to be seen, and needs some seconds for either.
 */
const TOLD_AFTER_MILLISECONDS: Readonly<Record<Progress, number>> = { None: 0, LivePatches: 2000, Reboot: 15_000 };
const FIRST_RETRY_MILLISECONDS = 1000;
/** The API server's outage ends for all nodes at once: late enough not to press it, soon enough for the operator's 10 minutes. */
const LAST_RETRY_MILLISECONDS = 30_000;

export interface Reporter {
  /** The last status that the API server took. */
  readonly written: NodeKernelStatus | undefined;
  /** What the API server has: at the start, and when the object is another one. */
  assume(status: NodeKernelStatus | undefined): void;
  /**
   * The API server has this status, unless it is an intermediate one that has not lasted or the write failed. With `quiet`, that the intent has another generation is no news by itself. Returns when to offer it
   * again, in milliseconds.
   */
  offer(status: NodeKernelStatus, progress: Progress, quiet: boolean): Promise<number>;
}

export interface ReporterOptions {
  readonly clock: Clock;
  /** Throws KernelPatchError. */
  readonly writeStatus: (status: NodeKernelStatus) => Promise<void>;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
}

export function createReporter({ clock, writeStatus, log, metrics }: ReporterOptions): Reporter {
  let written: NodeKernelStatus | undefined;
  let progressSince: number | undefined;
  let retry = { pause: 0, at: 0 };

  async function write(status: NodeKernelStatus): Promise<number> {
    try {
      await writeStatus(status);
      written = status;
      retry = { pause: 0, at: 0 };
      metrics.countWrite('ok');
      return Infinity;
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      const pause = Math.min(retry.pause * 2 || FIRST_RETRY_MILLISECONDS, LAST_RETRY_MILLISECONDS);
      retry = { pause, at: clock.monotonic() + pause };
      log.warn({ err: error, retryInMilliseconds: pause }, 'status was not written');
      metrics.countWrite('failed');
      return pause;
    }
  }

  return {
    get written() {
      return written;
    },
    assume(status) {
      written = status;
    },
    async offer(status, progress, quiet) {
      const now = clock.monotonic();
      progressSince = progress === 'None' ? undefined : (progressSince ?? now);
      if (isDeepStrictEqual(status, written) || (quiet && saysTheSame(status, written))) return Infinity;
      if (progressSince !== undefined && now - progressSince < TOLD_AFTER_MILLISECONDS[progress]) return Infinity;
      return now < retry.at ? retry.at - now : write(status);
    },
  };
}

/** But for the generation that it is about. */
function saysTheSame(status: NodeKernelStatus, written: NodeKernelStatus | undefined): boolean {
  return written !== undefined && isDeepStrictEqual(withoutGenerations(status), withoutGenerations(written));
}

function withoutGenerations(status: NodeKernelStatus): object {
  return { ...status, observedGeneration: 0, conditions: status.conditions?.map((condition) => ({ ...condition, observedGeneration: 0 })) };
}
