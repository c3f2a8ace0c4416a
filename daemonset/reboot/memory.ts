/**
 * What the agent remembers of a reboot order between two looks. Losing it is safe: the journal has what must be known, and an image that another agent has given to the kernel is given once more. Pure.
 */
import type { RebootOrder } from '../../crds/nodekernel.ts';
import type { Failure } from '../../kernel/errno.ts';
import type { Failed, Refused } from '../memory.ts';
import type { RebootStep, RebootStepName } from './steps.ts';

/** Times are milliseconds of the monotonic clock. */
export interface RebootMemory {
  /** The order this is about: another one begins with nothing remembered. */
  readonly intent: string;
  /** The step under way and since when. */
  readonly step: { readonly name: RebootStepName; readonly reason: string; readonly since: number } | undefined;
  /** This agent has had the package manager begun. */
  readonly begun: boolean;
  /** All was made ready by this agent. */
  readonly staged: boolean;
  /** It was tried to make the proven kernel the boot loader's default; `refusal` says why it is not. */
  readonly defaultTried: boolean;
  /** systemd has taken the order to go down from this agent. */
  readonly told: boolean;
  /** How often the kernel was asked to take the image. */
  readonly attempts: number;
  /** Of the last attempt. */
  readonly failure: Failed | undefined;
  /** What stands in the way, found without an attempt. */
  readonly refusal: Refused | undefined;
}

/** A live patch is in transition for too long. */
export const TRANSITION_IN_PROGRESS = 'TransitionInProgress';

/** What makes two orders the same. Its phase is how far the same one is to go. */
function intentOf(order: RebootOrder | undefined): string {
  return order === undefined ? '' : JSON.stringify([order.id, order.method, order.release, order.buildID, order.bootID, order.install]);
}

function forgetAll(intent: string): RebootMemory {
  return { intent, step: undefined, begun: false, staged: false, defaultTried: false, told: false, attempts: 0, failure: undefined, refusal: undefined };
}

/** The memory of the same order goes on; of another one nothing is known. */
export function memoryFor(order: RebootOrder | undefined, earlier: RebootMemory | undefined): RebootMemory {
  const intent = intentOf(order);
  return earlier?.intent === intent ? earlier : forgetAll(intent);
}

/** The step has begun, or goes on. */
export function began(memory: RebootMemory, step: RebootStep, now: number): RebootMemory {
  const since = memory.step?.name === step.name ? memory.step.since : now;
  const begun = { ...memory, step: { name: step.name, reason: step.reason, since } };
  return step.name === 'Refuse' && step.reason === TRANSITION_IN_PROGRESS && memory.refusal?.reason !== step.reason ? refused(begun, step, now) : begun;
}

/** Nothing of the order is left: put in place again, it begins anew. */
export function takenBack({ intent, step }: RebootMemory): RebootMemory {
  return { ...forgetAll(intent), step };
}

/** The node stays up: what was told to it counts no more. */
export function staysUp(memory: RebootMemory): RebootMemory {
  return { ...memory, told: false };
}

export function begunInstall(memory: RebootMemory): RebootMemory {
  return { ...memory, begun: true, failure: undefined, refusal: undefined };
}

export function ready(memory: RebootMemory): RebootMemory {
  return { ...memory, staged: true, failure: undefined, refusal: undefined };
}

export function attempted(memory: RebootMemory): RebootMemory {
  return { ...memory, attempts: memory.attempts + 1, staged: false, failure: undefined, refusal: undefined };
}

export function triedDefault(memory: RebootMemory, failure: Failure | undefined, now: number): RebootMemory {
  const tried = { ...memory, defaultTried: true };
  return failure === undefined ? tried : refused(tried, failure, now);
}

export function told(memory: RebootMemory): RebootMemory {
  return { ...memory, told: true, failure: undefined, refusal: undefined };
}

export function refused(memory: RebootMemory, { reason, message }: { readonly reason: string; readonly message: string }, now: number): RebootMemory {
  return { ...memory, refusal: { reason, message, at: now } };
}

export function failed(memory: RebootMemory, failure: Failure, now: number): RebootMemory {
  return { ...memory, failure: { ...failure, at: now } };
}
