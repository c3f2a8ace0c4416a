/** The tasks that hold a transition: those that have not come over to the side that it goes to. */
import { listOrUnknown, readText } from './facts.ts';
import type { Host } from './host.ts';
import { describePod, parseStack, readPod } from './process.ts';
import type { PodOf } from './process.ts';

export interface StalledTask {
  /** The thread, and the process it is of: the same for most. */
  readonly tid: number;
  readonly pid: number;
  readonly comm: string;
  /** What it sleeps in, innermost first; empty: it runs, or its stack can not be read. */
  readonly stack: readonly string[];
  readonly pod: PodOf | undefined;
}

/** The first ten tell who it is; there may be thousands. */
export const MAX_STALLED = 10;
/** What is worth a line of text: the function that sleeps, and how the task came there. */
const STACK_FRAMES = 6;
/** Looking at one costs 0.35 ms of processor time (measured): 3 s at most, while a transition stalls. */
const MAX_TASKS = 8192;

/**
 * The first tasks on the wrong side. /proc/PID/task/TID/patch_state is 1 for a task that runs the new functions, 0 for one that runs the old
 * ones and -1 when no transition is running (kernel/livepatch/transition.c). Tasks that end meanwhile are passed over.
 */
export async function findStalled(host: Host, enabling: boolean): Promise<readonly StalledTask[]> {
  const wrong = enabling ? '0' : '1';
  const stalled: StalledTask[] = [];
  let seen = 0;
  for (const pid of await numbersIn(host, '/proc')) {
    for (const tid of await numbersIn(host, `/proc/${pid}/task`)) {
      seen += 1;
      if ((await readText(host, `/proc/${pid}/task/${tid}/patch_state`)) === wrong) stalled.push(await readTask(host, pid, tid));
      if (stalled.length === MAX_STALLED || seen === MAX_TASKS) return stalled;
    }
  }
  return stalled;
}

/** As `cat (PID 812) in pod default/web, in kp_sleeper_wait`. */
export function describeTask({ tid, comm, stack, pod }: StalledTask): string {
  const [asleepIn] = stack;
  return `${comm} (PID ${tid})${describePod(pod)}${asleepIn === undefined ? '' : `, in ${asleepIn}`}`;
}

async function numbersIn(host: Host, directory: string): Promise<readonly number[]> {
  const entries = (await listOrUnknown(host, directory)) ?? [];
  return entries.filter(({ name }) => /^\d{1,10}$/.test(name)).map(({ name }) => Number(name)).sort((a, b) => a - b);
}

async function readTask(host: Host, pid: number, tid: number): Promise<StalledTask> {
  const directory = `/proc/${pid}/task/${tid}`;
  return {
    tid,
    pid,
    comm: (await readText(host, `${directory}/comm`)) ?? 'unknown',
    stack: parseStack((await readText(host, `${directory}/stack`)) ?? '', STACK_FRAMES),
    pod: await readPod(host, pid),
  };
}
