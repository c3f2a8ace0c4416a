/**
 * The table: what one wanted live patch needs next, from where it stands in the kernel. Pure; the clock is inside the view. Nothing but
 * the kernel's own state says how far a patch is, so an agent that was killed at any moment goes on where the kernel is.
 */
import type { WantedLivePatch } from '../crds/nodekernel.ts';
import type { Failure } from '../kernel/errno.ts';
import type { Quarantine } from '../kernel/journal.ts';
import type { KernelPatchState, LivePatch, Phase } from '../kernel/patches.ts';
import { findUnpatched, isPatched, phaseOf } from '../kernel/patches.ts';
import type { ForeignLivePatch } from '../kernel/preflight.ts';
import { guarded } from './guards.ts';
import type { Memory } from './memory.ts';
import { ACTIVE, OBJECT_UNPATCHED, UNCONFIRMED } from './memory.ts';
import { STEPS } from './steps.ts';
import type { Step, StepState } from './steps.ts';

/** Three attempts of a transition (75 s) and its reversal end within the 10 minutes after which the operator gives the node up. */
export const MAX_ATTEMPTS = 3;
/** The kernel's fake signal frees what holds a function for a moment after 15 s: the second pause is longer than that. */
export const RETRY_PAUSE_SECONDS = [5, 20] as const;
/** A refused file may arrive at any time; reading and hashing it costs some milliseconds. */
export const RECHECK_SECONDS = 30;

export interface Reopened {
  readonly livePatch: string;
  readonly cves: readonly string[];
}

export interface EntryView {
  readonly wanted: WantedLivePatch;
  readonly kernel: KernelPatchState;
  readonly memory: Memory;
  /** A live patch of another name whose transition is running. */
  readonly otherTransition: string | undefined;
  /** A cumulative live patch that is listed later and enabled: the kernel has replaced this one by it. */
  readonly replacedBy: string | undefined;
  /** A live patch whose CVEs loading this one would open again. */
  readonly reopens: Reopened | undefined;
  /** Other people's live patches that are enabled. */
  readonly foreign: readonly ForeignLivePatch[];
  /** The first in front of it in the list that has not come to an end. */
  readonly ahead: string | undefined;
  /** What holds a transition that lasts, in words. */
  readonly heldBy: string | undefined;
  /** Why the journal holds this file back. */
  readonly quarantine: Quarantine | undefined;
  /** Why the journal does not say yet that this file was loaded well. */
  readonly uncommitted: string | undefined;
  /** Milliseconds of the monotonic clock. */
  readonly now: number;
}

type Rule = (view: EntryView) => Step;
type Guard = (view: EntryView) => Step | undefined;

export function nextStep(view: EntryView): Step {
  const phase = phaseOf(view.kernel);
  const rule = (view.memory.undoing ? UNDO[view.wanted.desired][phase] : undefined) ?? RULES[view.wanted.desired][phase];
  const step = rule(view);
  if (view.ahead !== undefined && canWait(view, step)) return awaitTurn(view, step, view.ahead);
  return isOverdue(view, step) ? afterDeadline(view, step) : step;
}

/** A change that can wait: looking at a file is none, and a transition that runs is turned round at once. */
function canWait({ kernel }: EntryView, { name }: Step): boolean {
  return STEPS[name].kind === 'Effect' && name !== 'Inspect' && kernel.livePatch?.transition !== 'on';
}

/** There is nothing to undo where the table of undoing has no row. */
export function isUndone(view: EntryView): boolean {
  return UNDO[view.wanted.desired][phaseOf(view.kernel)] === undefined;
}

/** Ours: the build id is that of the wanted file. Foreign: it is another one. */
export function identityOf({ kernel, memory }: EntryView): 'Ours' | 'Foreign' | 'Unknown' {
  const loaded = kernel.module?.buildID ?? 'unknown';
  if (memory.fileBuildID !== undefined && loaded !== 'unknown') return loaded === memory.fileBuildID ? 'Ours' : 'Foreign';
  return 'Unknown';
}

/** The policy's word goes before the table's where a transition is waited for. */
function deadlineOf({ wanted }: EntryView, { name }: Step): number | undefined {
  const waits = name === 'AwaitTransition' || name === 'AwaitUnload' || name === 'AwaitOther';
  return (waits ? wanted.transitionSeconds : undefined) ?? STEPS[name].deadlineSeconds;
}

function isOverdue(view: EntryView, step: Step): boolean {
  const { memory, now } = view;
  const deadlineSeconds = deadlineOf(view, step);
  return deadlineSeconds !== undefined && memory.step?.name === step.name && now - memory.step.since >= deadlineSeconds * 1000;
}

function afterDeadline(view: EntryView, step: Step): Step {
  const { name, desired } = view.wanted;
  const seconds = deadlineOf(view, step);
  const { heldBy } = view;
  if (step.name === 'AwaitTransition' && desired === 'Loaded') {
    return disable(view, {
      reason: 'TransitionTimeout',
      message: `the transition of ${name} did not end within ${seconds} s and was reversed: ${heldBy ?? 'a task sleeps in a function that the patch changes; /proc/PID/patch_state on the node is 0 for it'}`,
      retry: true,
    });
  }
  if (step.name === 'AwaitUnload' && desired === 'Absent' && !view.memory.undoing) {
    return enable(view, {
      reason: 'UnloadTimeout',
      message: `${name} could not be disabled within ${seconds} s and was enabled again: ${heldBy ?? 'a task sleeps in one of its functions; /proc/PID/patch_state on the node is 1 for it'}`,
      retry: true,
    });
  }
  if (step.name === 'AwaitOther') {
    return refuse('TransitionInProgress', `${step.message}: end the task that holds it up, or reverse that patch`);
  }
  const stuck = view.memory.failure === undefined ? '' : `; before that: ${view.memory.failure.message}`;
  return fail({ reason: 'KernelStuck', message: `${name}: ${step.message}, for more than ${seconds} s${stuck}. Reboot the node to get out of this`, retry: false });
}

// Steps.

const inProgress = ({ wanted, memory }: EntryView): StepState => (wanted.desired === 'Loaded' && !memory.undoing ? 'Loading' : 'Unloading');

function load(view: EntryView): Step {
  const { refusal, attempts } = view.memory;
  if (refusal !== undefined && refusal.reason !== UNCONFIRMED) return { name: 'Load', state: 'Refused', reason: refusal.reason, message: refusal.message };
  return { name: 'Load', state: attempts === 0 ? 'Pending' : 'Loading', reason: 'Loading', message: `${view.wanted.hostPath} is given to the kernel` };
}

function disable(view: EntryView, failure?: Failure): Step {
  const message = `${view.wanted.name} is being disabled`;
  return { name: 'Disable', state: 'Unloading', reason: 'Disabling', message, ...(failure && { failure }) };
}

function enable(view: EntryView, failure?: Failure): Step {
  const message = `the disabling of ${view.wanted.name} is being reversed`;
  return { name: 'Enable', state: 'Transitioning', reason: 'Enabling', message, ...(failure && { failure }) };
}

const holder = ({ heldBy }: EntryView): string => (heldBy === undefined ? '' : `; ${heldBy}`);

/** It is reported as what it will be doing, since it is not done. What waits to be checked again stays refused for the reason it was. */
function awaitTurn({ wanted }: EntryView, { state, reason, message }: Step, ahead: string): Step {
  if (state === 'Refused') return { name: 'AwaitTurn', state, reason, message };
  return { name: 'AwaitTurn', state, reason: 'AwaitingTurn', message: `${wanted.name} waits until ${ahead}, which is listed before it, has come to an end` };
}

const remove: Rule = (view) => ({ name: 'RemoveModule', state: inProgress(view), reason: 'RemovingModule', message: `the disabled module ${view.wanted.name} is being removed` });
const awaitModule: Rule = (view) => ({ name: 'AwaitModule', state: inProgress(view), reason: 'ModuleMoving', message: `insmod or rmmod of ${view.wanted.name} is still running` });
const awaitReadable: Rule = (view) => ({ name: 'AwaitReadable', state: 'Unknown', reason: 'SysfsUnreadable', message: `live patch ${view.wanted.name} is there, and its enabled and transition files can not be read` });
const awaitTransition: Rule = (view) => ({ name: 'AwaitTransition', state: 'Transitioning', reason: 'Transitioning', message: `the kernel is moving tasks over to ${view.wanted.name}${holder(view)}` });
const awaitUnload: Rule = (view) => ({ name: 'AwaitUnload', state: 'Unloading', reason: 'Disabling', message: `the kernel is moving tasks back from ${view.wanted.name}${holder(view)}` });
const absent: Rule = (view) => ({ name: 'Done', state: 'Absent', reason: 'Absent', message: `${view.wanted.name} is not loaded` });

function fail(failure: Failure): Step {
  return { name: 'Fail', state: 'Failed', reason: failure.reason, message: failure.message, failure };
}

function refuse(reason: string, message: string): Step {
  return { name: 'Refuse', state: 'Refused', reason, message };
}

/** Done only when the kernel shows that it took effect: the transition has ended and every object that is there is patched. */
const verify: Rule = (view) => {
  const { wanted: { name }, memory, kernel: { livePatch } } = view;
  const unpatched = livePatch && findUnpatched(livePatch);
  if (unpatched === undefined) return { name: 'Done', state: 'Active', reason: ACTIVE, message: describeActive(view, livePatch) };
  if (memory.verified) {
    return { name: 'Fail', state: 'Failed', reason: OBJECT_UNPATCHED, message: `${name} is active, but the module ${unpatched} came later and the kernel shows it as not patched: unload ${unpatched} and load it again, or boot the node` };
  }
  return disable(view, { reason: 'EffectMissing', message: `the kernel took ${name} and shows ${unpatched} as not patched, so it was unloaded`, retry: true });
};

function describeActive({ wanted: { name, kernelPatch, replace }, foreign, uncommitted }: EntryView, livePatch: LivePatch | undefined): string {
  const objects = livePatch?.objects ?? [];
  const count = objects.filter(isPatched).flatMap(({ functions }) => functions).length;
  const later = objects.filter((object) => !isPatched(object)).map((object) => object.name);
  const labels = new Set(objects.flatMap(({ functions }) => functions));
  const rivals = foreign.filter(({ functions }) => functions.some((label) => labels.has(label)));
  const misnamed = livePatch !== undefined && livePatch.replace !== 'unknown' && (livePatch.replace === 'on') !== replace;
  return [
    `${name} is active: ${count} function${count === 1 ? '' : 's'} patched`,
    ...(later.length === 0 ? [] : [`; those of ${later.join(', ')} follow when that module is loaded`]),
    ...(rivals.length === 0 ? [] : [`. ${describeForeign(rivals)} patches the same functions, and of two the kernel runs the one that was loaded last`]),
    ...(misnamed ? [`. The kernel shows replace: ${livePatch.replace === 'on'}: correct it in KernelPatch ${kernelPatch}`] : []),
    ...(uncommitted === undefined ? [] : [`. A boot before the journal can be written will quarantine it: ${uncommitted}`]),
  ].join('');
}

function describeForeign(foreign: readonly ForeignLivePatch[]): string {
  return foreign.map(({ name, owner }) => `${name} (loaded by ${owner})`).join(' and ');
}

// Guards: what comes before the step, or undefined to go on.

/** Only a patch known to be the wanted one is touched. */
const notOurs: Guard = (view) => {
  const { memory, now, kernel, wanted } = view;
  const stale = memory.refusal !== undefined && now - memory.refusal.at >= RECHECK_SECONDS * 1000;
  if (memory.fileBuildID === undefined && (memory.refusal === undefined || stale)) {
    return { name: 'Inspect', state: inProgress(view), reason: 'Inspecting', message: `${wanted.hostPath} is compared with the loaded module` };
  }
  const identity = identityOf(view);
  if (identity === 'Ours') return undefined;
  if (identity === 'Foreign') {
    return refuse(
      'NameTaken',
      `another module named ${wanted.name} is loaded (build id ${kernel.module?.buildID}, that of ${wanted.hostPath} is ${memory.fileBuildID}) and is left alone: unload it, or give the live patch another name`,
    );
  }
  const why = memory.refusal === undefined ? 'its build id can not be read' : memory.refusal.message;
  return refuse('IdentityUnknown', `a module named ${wanted.name} is loaded and is left alone, since it can not be compared with the wanted file: ${why}`);
};

const givenUp: Guard = (view) => {
  const { failure, attempts } = view.memory;
  if (failure !== undefined && (!failure.retry || attempts >= MAX_ATTEMPTS)) return fail(failure);
  return undefined;
};

/** Loading again and again would fight whoever removes it. A restarted agent that does not know of a failure ends here, too. */
const displaced: Guard = ({ memory: { attempts, failure }, wanted, foreign }) => {
  if (failure !== undefined || attempts < MAX_ATTEMPTS) return undefined;
  const there = foreign.length === 0 ? '' : `. There is ${describeForeign(foreign)}`;
  return fail({ reason: 'Displaced', message: `the kernel was asked ${attempts} times for ${wanted.name} and does not have it: its transition does not end, or somebody unloads or replaces it${there}`, retry: false });
};

const pausing: Guard = (view) => {
  const { failure } = view.memory;
  if (failure === undefined || view.now >= retryAt(view)) return undefined;
  return { name: 'AwaitRetry', state: inProgress(view), reason: 'Retrying', message: `attempt ${view.memory.attempts} of ${MAX_ATTEMPTS}: ${failure.message}` };
};

function retryAt({ memory }: EntryView): number {
  const pause = RETRY_PAUSE_SECONDS[Math.min(Math.max(memory.attempts, 1), RETRY_PAUSE_SECONDS.length) - 1] ?? 0;
  return (memory.failure?.at ?? 0) + pause * 1000;
}

/** The kernel does one transition at a time. Once refused for it, it stays refused until the other one has ended. */
const notAlone: Guard = (view) => {
  if (view.otherTransition === undefined) return undefined;
  const { refusal } = view.memory;
  if (refusal?.reason === 'TransitionInProgress') return refuse(refusal.reason, refusal.message);
  const message = `the transition of live patch ${view.otherTransition} is running, and the kernel does one at a time${holder(view)}`;
  return { name: 'AwaitOther', state: inProgress(view), reason: 'AwaitingTransition', message };
};

const refusedLately: Guard = ({ memory, now }) => {
  const { refusal } = memory;
  if (refusal === undefined || refusal.reason === 'TransitionInProgress' || now - refusal.at >= RECHECK_SECONDS * 1000) return undefined;
  return refuse(refusal.reason, refusal.message);
};

const unconfirmed: Guard = ({ memory: { refusal }, now }) => {
  if (refusal?.reason !== UNCONFIRMED || now - refusal.at >= RECHECK_SECONDS * 1000) return undefined;
  return { name: 'AwaitConfirmation', state: 'Pending', reason: refusal.reason, message: refusal.message };
};

const irreversible: Guard = ({ wanted }) =>
  wanted.reversible ? undefined : refuse('NotReversible', `${wanted.name} is withdrawn and not reversible: it stays until this node boots again`);

const replaced: Guard = ({ replacedBy, wanted }) =>
  replacedBy === undefined
    ? undefined
    : { name: 'Done', state: 'Active', reason: 'Replaced', message: `${replacedBy} is active, is cumulative, and is listed after ${wanted.name}: the kernel has replaced ${wanted.name} by it` };

const quarantined: Guard = ({ quarantine, wanted, kernel }) => {
  if (quarantine === undefined) return undefined;
  const there = phaseOf(kernel) === 'Gone' ? '' : '. It is still in the kernel: withdraw the KernelPatch to disable it, or boot the node';
  const lift = `To try it once more on such nodes, set spec.liftQuarantine of KernelPatch ${wanted.kernelPatch} to a new word`;
  return { name: 'Quarantine', state: 'Quarantined', reason: quarantine.reason, message: `${quarantine.message}. The file with sha256 ${wanted.sha256} is not loaded here again${there}. ${lift}` };
};

const regressing: Guard = ({ wanted, reopens }) =>
  reopens === undefined
    ? undefined
    : refuse('WouldReopen', `${wanted.name} replaces ${reopens.livePatch} and does not close ${reopens.cves.join(', ')}, which that closes: list them in KernelPatch ${wanted.kernelPatch} if it does, or withdraw the KernelPatch of ${reopens.livePatch} first`);

/** Other people's live patches are never disabled. */
const sparing: Guard = ({ wanted, foreign }) =>
  !wanted.replace || foreign.length === 0
    ? undefined
    : refuse('WouldReplaceForeign', `${wanted.name} is cumulative, and loading it would disable ${describeForeign(foreign)}: have that unloaded, or give KernelPatch ${wanted.kernelPatch} a live patch that is built without replace, and set replace: false`);

// The table.

const clearLeftover = guarded([replaced, notOurs, givenUp, pausing], remove);
const removeLeftover = guarded([notOurs, givenUp, pausing], remove);

const RULES: Readonly<Record<WantedLivePatch['desired'], Readonly<Record<Phase, Rule>>>> = {
  Loaded: {
    Gone: guarded([quarantined, replaced, regressing, givenUp, displaced, sparing, pausing, unconfirmed, refusedLately, notAlone], load),
    Coming: guarded([givenUp], awaitModule),
    Enabling: guarded([notOurs, givenUp], awaitTransition),
    Enabled: guarded([notOurs, quarantined], verify),
    Disabling: guarded([notOurs, givenUp], (view) => (view.quarantine === undefined ? enable(view) : awaitUnload(view))),
    Disabled: clearLeftover,
    Leftover: clearLeftover,
    Unreadable: awaitReadable,
  },
  Absent: {
    Gone: absent,
    Coming: guarded([givenUp], awaitModule),
    Enabling: guarded([notOurs, irreversible, givenUp], (view) => disable(view)),
    Enabled: guarded([notOurs, irreversible, givenUp, pausing, notAlone], (view) => disable(view)),
    Disabling: guarded([notOurs, givenUp], awaitUnload),
    Disabled: removeLeftover,
    Leftover: removeLeftover,
    Unreadable: awaitReadable,
  },
};

/** After a failed attempt, back to where the kernel was before it. */
const UNDO: Readonly<Record<WantedLivePatch['desired'], Readonly<Partial<Record<Phase, Rule>>>>> = {
  Loaded: {
    Coming: awaitModule,
    Enabling: (view) => disable(view),
    Enabled: (view) => disable(view),
    Disabling: awaitUnload,
    Disabled: remove,
    Leftover: remove,
    Unreadable: awaitReadable,
  },
  Absent: { Enabling: awaitTransition, Disabling: (view) => enable(view), Unreadable: awaitReadable },
};

/** A transition ends within 20 ms on an idle node (measured). After that a look is at most a tenth of the wait, or a second, late. */
const SHORTEST_POLL_MILLISECONDS = 20;
const LONGEST_POLL_MILLISECONDS = 1000;

/** When to look again if nothing else happens, in milliseconds; undefined: there is no reason to. */
export function lookAgainIn(view: EntryView, step: Step): number | undefined {
  const { memory, now } = view;
  if (step.name === 'AwaitRetry') return Math.max(retryAt(view) - now, 0);
  if ((step.name === 'Refuse' || step.name === 'AwaitConfirmation') && memory.refusal !== undefined && now < memory.refusal.at + RECHECK_SECONDS * 1000) {
    return memory.refusal.at + RECHECK_SECONDS * 1000 - now;
  }
  if (STEPS[step.name].kind === 'Final') return undefined;
  const elapsed = memory.step?.name === step.name ? now - memory.step.since : 0;
  return Math.min(Math.max(elapsed / 10, SHORTEST_POLL_MILLISECONDS), LONGEST_POLL_MILLISECONDS);
}
