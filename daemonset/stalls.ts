/** Watches the transition that is running, whoever began it, and names what holds it once it lasts. */
import type { Clock } from '../kernel/clock.ts';
import type { Host } from '../kernel/host.ts';
import type { KernelPatchState } from '../kernel/patches.ts';
import { describeTask, findStalled } from '../kernel/stalls.ts';
import type { StalledTask } from '../kernel/stalls.ts';

/** 15 s: until then the kernel waits without a signal (kernel/livepatch/transition.c, SIGNALS_TIMEOUT), and what ends by itself has ended. */
export const STALL_SECONDS = 15;
/** Named in a message; the report lists all that were found. */
const NAMED = 3;

/** A transition that lasts. The kernel runs one at a time. */
export interface Stall {
  readonly livePatch: string;
  readonly tasks: readonly StalledTask[];
}

export interface StallWatch {
  /** The transition that has lasted for STALL_SECONDS and what held it at the last look, which is at most as old; undefined: none does. */
  look(patches: ReadonlyMap<string, KernelPatchState>): Promise<Stall | undefined>;
}

export function makeStallWatch(host: Host, clock: Clock): StallWatch {
  let running: { readonly livePatch: string; readonly enabling: boolean; readonly since: number } | undefined;
  let found: { readonly stall: Stall; readonly at: number } | undefined;

  return {
    async look(patches) {
      const now = clock.monotonic();
      const moving = [...patches.values()].find(({ livePatch }) => livePatch?.transition === 'on');
      const enabling = moving?.livePatch?.enabled === 'on';
      if (moving === undefined || running?.livePatch !== moving.name || running.enabling !== enabling) {
        running = moving && { livePatch: moving.name, enabling, since: now };
        found = undefined;
      }
      if (running === undefined || now - running.since < STALL_SECONDS * 1000) return undefined;
      if (found === undefined || now - found.at >= STALL_SECONDS * 1000) found = { stall: { livePatch: running.livePatch, tasks: await findStalled(host, enabling) }, at: now };
      return found.stall;
    },
  };
}

/** As `held by cat (PID 812) in pod default/web, in kp_sleeper_wait`; undefined when nobody was found. */
export function describeStall({ tasks }: Stall): string | undefined {
  if (tasks.length === 0) return undefined;
  const more = tasks.length > NAMED ? ` and ${tasks.length - NAMED} more` : '';
  return `held by ${tasks.slice(0, NAMED).map(describeTask).join('; ')}${more}`;
}
