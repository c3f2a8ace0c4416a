/** The three conditions of a NodeKernel. Pure. */
import type { Condition } from '../crds/common.ts';
import { isActive } from '../crds/nodekernel.ts';
import type { NodeKernelSpec, Plan, RebootOrder, WantedLivePatch } from '../crds/nodekernel.ts';
import { phaseOf } from '../kernel/patches.ts';
import type { KernelPatchState } from '../kernel/patches.ts';
import type { RebootLook } from './reboot/keep.ts';
import { STEPS } from './steps.ts';
import type { Step } from './steps.ts';

/** A wanted live patch, where it stands in the kernel, and what is being done about it. */
export interface Outlook {
  readonly wanted: WantedLivePatch;
  readonly kernel: KernelPatchState;
  readonly step: Step;
  readonly attempts: number;
  /** The module in the kernel is the wanted one. */
  readonly ours: boolean;
}

export interface Judgement {
  readonly status: Condition['status'];
  readonly reason: string;
  readonly message: string;
}

/** The names of the wanted live patches that the kernel has and that were verified; one that a newer one has replaced is not there. */
export function activeNames(outlooks: readonly Outlook[]): ReadonlySet<string> {
  const active = outlooks.filter(({ wanted, kernel, step }) => wanted.desired === 'Loaded' && step.state === 'Active' && phaseOf(kernel) === 'Enabled');
  return new Set(active.map(({ wanted }) => wanted.name));
}

/** True: the node is open to no selected CVE, and every live patch is as wanted. A plan that is about another boot says nothing. */
export function judgeReady({ plan, reboot }: Pick<NodeKernelSpec, 'plan' | 'reboot'>, bootID: string, outlooks: readonly Outlook[]): Judgement {
  if (plan === undefined) return { status: 'Unknown', reason: 'NotPlanned', message: 'the operator has not decided for this node yet' };
  const trouble = findTrouble(outlooks);
  if (trouble !== undefined) return { status: trouble.state === 'Unknown' ? 'Unknown' : 'False', reason: trouble.reason, message: trouble.message };
  const moving = findMoving(outlooks);
  if (moving !== undefined) return { status: 'False', reason: moving.reason, message: moving.message };
  if (plan.bootID !== bootID) return { status: 'Unknown', reason: 'PlanOfOtherBoot', message: 'the operator has not decided for this node since it booted' };
  return judgePlan(plan, reboot, outlooks);
}

function judgePlan(plan: Plan, reboot: RebootOrder | undefined, outlooks: readonly Outlook[]): Judgement {
  const { action, mode, reason, message } = plan;
  switch (action) {
    case 'None':
      return { status: 'True', reason, message };
    case 'Unknown':
      return { status: 'Unknown', reason, message };
    case 'Blocked':
      return { status: 'False', reason, message };
    case 'LivePatch':
      return mode === 'Plan' ? planOnly(plan) : judgeLivePatches(plan, outlooks);
    case 'Kexec':
    case 'Reboot':
      return mode === 'Plan' ? planOnly(plan) : judgeReboot(plan, reboot);
    default:
      return action satisfies never;
  }
}

/** While it is under way its order says how far it is: to repeat that here would be a write for each step. */
function judgeReboot(plan: Plan, order: RebootOrder | undefined): Judgement {
  const { reason, message } = order ?? { reason: `${plan.action}Planned`, message: plan.message };
  if (isActive(order)) return { status: 'False', reason: 'RebootUnderWay', message: `the node is to boot into kernel ${order.release}: spec.reboot says how far that is` };
  return { status: 'False', reason, message };
}

function planOnly({ action, message, policy }: Plan): Judgement {
  return { status: 'False', reason: 'PlanOnly', message: `${action} would fix this node: ${message}. PatchPolicy ${policy} is in mode Plan, so nothing is done` };
}

/** Closed when each patch that asks for something is closed by a live patch, its own or another's, and that one is active. */
function judgeLivePatches(plan: Plan, outlooks: readonly Outlook[]): Judgement {
  const active = activeNames(outlooks);
  const open = plan.patches.find(({ action, livePatch = '' }) => action !== 'None' && !(action === 'LivePatch' && active.has(livePatch)));
  if (open !== undefined) return { status: open.action === 'Unknown' ? 'Unknown' : 'False', reason: open.reason, message: `${open.kernelPatch}: ${open.message}` };
  if (active.size === 0) return { status: 'False', reason: plan.reason, message: plan.message };
  return { status: 'True', reason: 'LivePatched', message: outlooks.filter(({ wanted }) => active.has(wanted.name)).map(({ step }) => step.message).join('; ') };
}

export function judgeProgressing(outlooks: readonly Outlook[], reboot: Pick<RebootLook, 'report' | 'inProgress'>): Judgement {
  const moving = findMoving(outlooks) ?? (reboot.inProgress ? reboot.report : undefined);
  if (moving === undefined) return { status: 'False', reason: 'Settled', message: 'nothing is being done on this node' };
  return { status: 'True', reason: moving.reason, message: moving.message };
}

export function judgeStalled(outlooks: readonly Outlook[], { report }: Pick<RebootLook, 'report'>): Judgement {
  const trouble = findTrouble(outlooks);
  if (trouble === undefined && report?.state === 'Refused') return { status: 'True', reason: report.reason, message: report.message };
  if (trouble === undefined) return { status: 'False', reason: 'NotStalled', message: 'nothing stands in the way' };
  return { status: 'True', reason: trouble.reason, message: `${trouble.message}${AGAIN[trouble.state] ?? ''}` };
}

/** When what stands in the way is looked at again; of a quarantine its message says it. */
const AGAIN: Readonly<Record<string, string>> = {
  Failed: '. It is tried again when its KernelPatch changes the live patch, or after a reboot',
  Refused: '. It is checked again every 30 s',
  Unknown: '. It is checked again every 30 s',
};

function findTrouble(outlooks: readonly Outlook[]) {
  const ofState = (state: string) => outlooks.find(({ step }) => step.state === state);
  return (ofState('Quarantined') ?? ofState('Failed') ?? ofState('Refused') ?? ofState('Unknown'))?.step;
}

function findMoving(outlooks: readonly Outlook[]) {
  return outlooks.find(({ step }) => STEPS[step.name].kind !== 'Final')?.step;
}
