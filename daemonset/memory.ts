/**
 * What the agent remembers of one wanted live patch between two looks at the kernel. Losing it is safe: where the patch stands is always
 * read from the kernel again, and the count of attempts comes back from the status that was reported. Pure.
 */
import { STALE_INTENT } from '../crds/nodekernel.ts';
import type { NodeKernelStatus, WantedLivePatch } from '../crds/nodekernel.ts';
import type { Failure } from '../kernel/errno.ts';
import type { Step, StepName } from './steps.ts';
import { STEPS } from './steps.ts';

export interface Refused {
  readonly reason: string;
  readonly message: string;
  readonly at: number;
}

export interface Failed extends Failure {
  readonly at: number;
}

/** Times are milliseconds of the monotonic clock. */
export interface Memory {
  /** The intent this is about: another one begins with nothing remembered. */
  readonly intent: string;
  readonly sha256: string;
  /** How often the kernel was asked for this intent. */
  readonly attempts: number;
  /** The step under way and since when. */
  readonly step: { readonly name: StepName; readonly reason: string; readonly since: number } | undefined;
  /** The last attempt's failure. */
  readonly failure: Failed | undefined;
  /** The kernel is being put back to where it was before the failed attempt. */
  readonly undoing: boolean;
  readonly refusal: Refused | undefined;
  /** What could not be checked before the last attempt, in words. */
  readonly unchecked: readonly string[];
  /** The build id of the file with the wanted digest, once it was seen. */
  readonly fileBuildID: string | undefined;
  /** It was seen complete since it was loaded: what is not patched now came later. */
  readonly verified: boolean;
  /** The file was active in an earlier boot. */
  readonly hadBefore: boolean;
}

/** Why a load waits: nobody says whether it is still wanted. */
export const UNCONFIRMED = 'Unconfirmed';

/** The transition has ended and all that is there is patched. */
export const ACTIVE = 'Active';
/** A module that it patches came later and is not patched. */
export const OBJECT_UNPATCHED = 'ObjectUnpatched';

/** What makes two intents the same. Who asks for it, and whether it replaces others, changes nothing about this patch. */
function intentOf(wanted: WantedLivePatch): string {
  const { name, desired, release, buildID, hostPath, sha256, reversible, liftQuarantine } = wanted;
  return JSON.stringify([name, desired, release, buildID, hostPath, sha256, reversible, liftQuarantine]);
}

function forgetAll(wanted: WantedLivePatch): Memory {
  return {
    intent: intentOf(wanted),
    sha256: wanted.sha256,
    attempts: 0,
    step: undefined,
    failure: undefined,
    undoing: false,
    refusal: undefined,
    unchecked: [],
    fileBuildID: undefined,
    verified: false,
    hadBefore: false,
  };
}

/** The memory of the same intent goes on; of a changed one only what is known of the same file. */
export function memoryFor(wanted: WantedLivePatch, earlier: Memory | undefined): Memory {
  const fresh = forgetAll(wanted);
  if (earlier === undefined || earlier.intent === fresh.intent) return earlier ?? fresh;
  return earlier.sha256 === wanted.sha256 ? { ...fresh, fileBuildID: earlier.fileBuildID, verified: earlier.verified, hadBefore: earlier.hadBefore } : fresh;
}

/**
 * What a restarted agent knows from its last report. Attempts and a final failure count only for the same generation: the report does not
 * say more of the intent than the digest. Another boot id means another kernel state, of which only counts what was active.
 */
export function recall(wanted: WantedLivePatch, status: NodeKernelStatus | undefined, generation: number, bootID: string): Memory {
  const fresh = forgetAll(wanted);
  const report = status?.livePatches.find(({ name, sha256 }) => name === wanted.name && sha256 === wanted.sha256);
  if (status === undefined || report === undefined || bootID === 'unknown') return fresh;
  if (status.bootID !== bootID) return { ...fresh, hadBefore: report.state === 'Active' };
  const verified = report.state === 'Active' || report.reason === OBJECT_UNPATCHED;
  if (status.observedGeneration !== generation) return { ...fresh, verified };
  const failure = report.state === 'Failed' && !verified ? { reason: report.reason, message: report.message, retry: false, at: 0 } : undefined;
  return { ...fresh, verified, attempts: report.attempts ?? 0, failure };
}

/** The step has begun, or goes on; what it says of the attempt is remembered with it. */
export function began(memory: Memory, step: Step, now: number): Memory {
  const since = memory.step?.name === step.name ? memory.step.since : now;
  const verified = memory.verified || step.reason === ACTIVE;
  const begun = { ...memory, verified, step: { name: step.name, reason: step.reason, since } };
  if (step.reason === 'TransitionInProgress' && memory.refusal?.reason !== step.reason) return refused(begun, step, now);
  if (step.failure === undefined || step.failure === memory.failure) return begun;
  return STEPS[step.name].kind === 'Final' ? failed(begun, step.failure, now) : failedWithEffects(begun, step.failure, now);
}

/** The kernel is about to be asked: one more attempt, with nothing held against it. */
export function attempted(memory: Memory, unchecked: readonly string[] = memory.unchecked): Memory {
  return { ...memory, unchecked, attempts: memory.attempts + 1, failure: undefined, refusal: undefined, undoing: false, verified: false };
}

export function failed(memory: Memory, failure: Failure, now: number): Memory {
  return { ...memory, failure: { ...failure, at: now }, undoing: false };
}

/** The attempt has failed with effects that have to be undone first. */
export function failedWithEffects(memory: Memory, failure: Failure, now: number): Memory {
  return { ...failed(memory, failure, now), undoing: true };
}

/** Everything is undone: the wait before the next attempt begins. */
export function undone(memory: Memory, now: number): Memory {
  return { ...memory, undoing: false, failure: memory.failure && { ...memory.failure, at: now } };
}

export function refused(memory: Memory, refusal: { readonly reason: string; readonly message: string }, now: number): Memory {
  return { ...memory, refusal: { reason: refusal.reason, message: refusal.message, at: now } };
}

export function identified(memory: Memory, fileBuildID: string): Memory {
  return { ...memory, fileBuildID, refusal: undefined };
}

/** The API server has told of the intent: a load that waits for that is looked at again at once. `anew`: it is another one than before. */
export function told(memory: Memory, anew: boolean): Memory {
  const reason = memory.refusal?.reason;
  return reason === UNCONFIRMED || (anew && reason === STALE_INTENT) ? { ...memory, refusal: undefined } : memory;
}
