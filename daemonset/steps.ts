/** The steps as data: how long each may last, what is true afterwards, and which step takes it back. rules.ts says which one is next. */
import type { LivePatchState } from '../crds/nodekernel.ts';
import type { Failure } from '../kernel/errno.ts';

export type StepName =
  | 'Inspect' | 'Load' | 'Disable' | 'Enable' | 'RemoveModule'
  | 'AwaitModule' | 'AwaitTransition' | 'AwaitUnload' | 'AwaitOther' | 'AwaitReadable' | 'AwaitRetry' | 'AwaitTurn' | 'AwaitConfirmation'
  | 'Done' | 'Refuse' | 'Fail' | 'Quarantine';

export interface StepRow<Name extends string = StepName> {
  /** Effect: changes or reads the machine. Wait: the kernel, or time, is at work. Final: nothing is left to do for this intent. */
  readonly kind: 'Effect' | 'Wait' | 'Final';
  /** How long the step may last or be repeated without bringing the patch anywhere else; undefined: for ever. */
  readonly deadlineSeconds: number | undefined;
  /** What is true once it has succeeded. */
  readonly outcome: string;
  /** The step that takes it back while it is under way. */
  readonly inverse: Name | undefined;
}

/**
 * 75 s: the kernel sends its fake signal after 15 s (kernel/livepatch/transition.c, SIGNALS_TIMEOUT), and kpatch gives the tasks 60 s from
 * then (POST_SIGNAL_WAIT) before it undoes the patch.
 */
const TRANSITION_SECONDS = 75;
/** Writing `enabled` is at work within a second (measured: 0.5 s); ten refusals in a row are no race any more. */
const SYSFS_SECONDS = 10;
/** As long as insmod itself may take. */
const MODULE_SECONDS = 60;

export const STEPS: Readonly<Record<StepName, StepRow>> = {
  Inspect: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'the build id of the wanted file is known, or why it can not be', inverse: undefined },
  Load: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'the kernel has begun the transition, or nothing has changed', inverse: 'Disable' },
  Disable: { kind: 'Effect', deadlineSeconds: SYSFS_SECONDS, outcome: 'the kernel is taking the patch back', inverse: 'Enable' },
  Enable: { kind: 'Effect', deadlineSeconds: SYSFS_SECONDS, outcome: 'the kernel is going back to the patch', inverse: 'Disable' },
  RemoveModule: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'the module is gone', inverse: 'Load' },
  AwaitModule: { kind: 'Wait', deadlineSeconds: MODULE_SECONDS, outcome: 'insmod or rmmod has ended', inverse: undefined },
  AwaitTransition: { kind: 'Wait', deadlineSeconds: TRANSITION_SECONDS, outcome: 'every task runs the new functions', inverse: 'Disable' },
  AwaitUnload: { kind: 'Wait', deadlineSeconds: TRANSITION_SECONDS, outcome: 'no task runs the new functions', inverse: 'Enable' },
  AwaitOther: { kind: 'Wait', deadlineSeconds: TRANSITION_SECONDS, outcome: 'no other live patch is in transition', inverse: undefined },
  AwaitReadable: { kind: 'Wait', deadlineSeconds: undefined, outcome: 'the sysfs files of the patch can be read', inverse: undefined },
  AwaitRetry: { kind: 'Wait', deadlineSeconds: undefined, outcome: 'the pause before the next attempt is over', inverse: undefined },
  AwaitTurn: { kind: 'Wait', deadlineSeconds: undefined, outcome: 'the live patches in front of it in the list have come to an end', inverse: undefined },
  AwaitConfirmation: { kind: 'Wait', deadlineSeconds: undefined, outcome: 'the API server has said whether the load is still wanted', inverse: undefined },
  Done: { kind: 'Final', deadlineSeconds: undefined, outcome: 'the kernel is as wanted', inverse: undefined },
  Refuse: { kind: 'Final', deadlineSeconds: undefined, outcome: 'the kernel was not touched', inverse: undefined },
  Fail: { kind: 'Final', deadlineSeconds: undefined, outcome: 'the attempts are used up', inverse: undefined },
  Quarantine: { kind: 'Final', deadlineSeconds: undefined, outcome: 'the file is not loaded on this node until its quarantine is lifted', inverse: undefined },
};

/** Of a wanted live patch. Pending and Absent ones are not listed in the report. */
export type StepState = Exclude<LivePatchState, 'Installed'> | 'Pending' | 'Absent';

export interface Step {
  readonly name: StepName;
  /** What is reported meanwhile. */
  readonly state: StepState;
  readonly reason: string;
  readonly message: string;
  /** The attempt has failed: remember it with this step. */
  readonly failure?: Failure;
}
