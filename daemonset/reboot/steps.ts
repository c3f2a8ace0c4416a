/** The steps of a reboot as data: how long each may last, what is true afterwards, and which step takes it back. rules.ts says which one is next. */
import type { RebootState } from '../../crds/nodekernel.ts';
import type { StepRow } from '../steps.ts';

export type RebootStepName = 'Install' | 'AwaitInstall' | 'EndInstall' | 'Stage' | 'Unstage' | 'GoDown' | 'StayUp' | 'AwaitTransition' | 'AwaitRetry' | 'AwaitDown' | 'Ready' | 'Refuse' | 'Rest' | 'SetDefault' | 'Arrive';

/** As long as the longest transition that a policy can allow is reversed in by default; what lasts longer is named, and the operator decides. */
const TRANSITION_SECONDS = 300;
/** systemd gives each service 90 s to stop, and some stop behind others. */
const DOWN_SECONDS = 300;

export const REBOOT_STEPS: Readonly<Record<RebootStepName, StepRow<RebootStepName>>> = {
  Install: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'the package manager of the node is at work, or nothing has changed', inverse: undefined },
  AwaitInstall: { kind: 'Wait', deadlineSeconds: undefined, outcome: 'the package manager has ended; how long that may take is judged by the operator', inverse: undefined },
  EndInstall: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'the kernel is there, or it is known why not', inverse: undefined },
  Stage: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'all is ready to go down, or nothing has changed', inverse: 'Unstage' },
  Unstage: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'the kernel has no image of ours', inverse: 'Stage' },
  GoDown: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'systemd takes the node down, or has refused to', inverse: undefined },
  StayUp: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'the node counts as staying up', inverse: 'GoDown' },
  AwaitTransition: { kind: 'Wait', deadlineSeconds: TRANSITION_SECONDS, outcome: 'no live patch is in transition', inverse: 'Unstage' },
  AwaitRetry: { kind: 'Wait', deadlineSeconds: undefined, outcome: 'the pause before the next attempt is over', inverse: 'Unstage' },
  AwaitDown: { kind: 'Wait', deadlineSeconds: DOWN_SECONDS, outcome: 'this boot has ended', inverse: 'StayUp' },
  Ready: { kind: 'Final', deadlineSeconds: undefined, outcome: 'the node waits for phase Rebooting', inverse: 'Unstage' },
  Refuse: { kind: 'Final', deadlineSeconds: undefined, outcome: 'the node is up and as it was', inverse: 'Unstage' },
  Rest: { kind: 'Final', deadlineSeconds: undefined, outcome: 'nothing of an order is left', inverse: 'Stage' },
  SetDefault: { kind: 'Effect', deadlineSeconds: undefined, outcome: 'the boot loader starts the proven kernel by default, or it is known why not', inverse: undefined },
  Arrive: { kind: 'Final', deadlineSeconds: undefined, outcome: 'what the order has led to is reported', inverse: undefined },
};

export interface RebootStep {
  readonly name: RebootStepName;
  /** What is reported meanwhile. */
  readonly state: RebootState;
  readonly reason: string;
  readonly message: string;
}
