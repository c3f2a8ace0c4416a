/** Into which kernel a node is to boot, pure: never into one with fewer fixes than the node has now. */
import type { KernelPatch } from '../crds/kernelpatch.ts';
import type { NodeKernelStatus, RebootMethod } from '../crds/nodekernel.ts';
import { matchKernel } from './kernels.ts';
import type { PatchPlan } from './plan.ts';
import { nameSome } from './verdict.ts';

/** The reboot that would fix a node. */
export interface Target {
  /** The KernelPatch that asks for it. */
  readonly kernelPatch: string;
  readonly method: RebootMethod;
  readonly release: string;
  /** The build id that this kernel must have, when the KernelPatch gives one. */
  readonly buildID?: string;
}

/** Decisions that ask for a reboot into a kernel that would open the node to something again are Blocked instead. */
export function settleTargets(plans: readonly PatchPlan[], status: NodeKernelStatus): readonly PatchPlan[] {
  const closed = plans.filter((plan) => isClosed(plan, status));
  return plans.map((plan) => {
    const target = targetOf(plan);
    const lost = target === undefined ? [] : closed.filter(({ kernelPatch }) => !hasFix(kernelPatch, target));
    return target === undefined || lost.length === 0 ? plan : { ...plan, action: 'Blocked', reason: 'WouldRegress', message: describeLoss(target, lost) };
  });
}

/** Of the kernels that decisions ask for the one that closes most of them, the first of those; undefined when none asks. */
export function chooseTarget(plans: readonly PatchPlan[]): Target | undefined {
  const asked = plans.flatMap((plan) => targetOf(plan) ?? []);
  const closes = (target: Target) => plans.filter(({ kernelPatch, action }) => isReboot(action) && hasFix(kernelPatch, target)).length;
  return asked.reduce<Target | undefined>((best, target) => (best === undefined || closes(target) > closes(best) ? target : best), undefined);
}

function isReboot(action: PatchPlan['action']): action is 'Kexec' | 'Reboot' {
  return action === 'Kexec' || action === 'Reboot';
}

function targetOf({ kernelPatch, action, fixedIn }: PatchPlan): Target | undefined {
  if (!isReboot(action) || fixedIn === undefined) return undefined;
  const buildID = kernelPatch.spec.kernels.find(({ release, state }) => release === fixedIn && state === 'Fixed')?.buildID;
  return { kernelPatch: kernelPatch.metadata.name, method: action === 'Kexec' ? 'Kexec' : 'Firmware', release: fixedIn, ...(buildID !== undefined && { buildID }) };
}

function isClosed({ action, livePatch }: PatchPlan, { livePatches }: NodeKernelStatus): boolean {
  if (action === 'None') return true;
  return livePatch?.desired === 'Loaded' && livePatches.some(({ name, origin, state }) => name === livePatch.name && origin === 'KernelPatch' && state === 'Active');
}

/** A kernel that the KernelPatch does not list has no fix that is known of. */
function hasFix({ spec }: KernelPatch, { release, buildID = 'unknown' }: Target): boolean {
  const match = matchKernel(spec, { release, buildID });
  return match.kind === 'Entry' && (match.entry.state === 'Fixed' || match.entry.state === 'NotAffected');
}

function describeLoss({ release }: Target, lost: readonly PatchPlan[]): string {
  const patches = nameSome(lost.map(({ kernelPatch }) => kernelPatch.metadata.name));
  return `kernel ${release} is not known to have the fixes of KernelPatch ${patches}, which this node has now: list it there as Fixed if it has them, or name a newer kernel as rebootInto`;
}
