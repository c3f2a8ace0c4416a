/** Into which kernel a node is to boot, pure: never into one with fewer fixes than the node has now. */
import type { DistributionPackage } from '../crds/common.ts';
import type { KernelPatch, KernelState } from '../crds/kernelpatch.ts';
import type { NodeKernelStatus, RebootMethod, RebootOrder, WantedLivePatch } from '../crds/nodekernel.ts';
import { matchKernel } from './kernels.ts';
import type { KernelMatch } from './kernels.ts';
import { nameSome } from './names.ts';
import type { PatchPlan } from './plan.ts';

/** The reboot that would fix a node. */
export interface Target {
  /** The KernelPatch that asks for it. */
  readonly kernelPatch: string;
  readonly method: RebootMethod;
  readonly release: string;
  /** The build id that this kernel must have, when the KernelPatch gives one. */
  readonly buildID?: string;
  /** What the node installs first, when it does not have this kernel. */
  readonly install?: DistributionPackage;
  /** The KernelPatch's word by which a failed reboot is tried once more. */
  readonly retry?: string;
}

/** Decisions that ask for a reboot into a kernel that would open the node to something again, or that is open to the very same, are Blocked instead. */
export function settleTargets(plans: readonly PatchPlan[], status: NodeKernelStatus): readonly PatchPlan[] {
  const closed = plans.filter((plan) => isClosed(plan, status));
  return plans.map((plan) => {
    const target = targetOf(plan);
    if (target === undefined) return plan;
    const own = matchTarget(plan.kernelPatch, target);
    if (own.kind === 'Entry' && !isFix(own)) return { ...plan, action: 'Blocked', reason: 'TargetNotFixed', message: describeOpen(target, own.entry.state) };
    const lost = closed.filter(({ kernelPatch }) => !isFix(matchTarget(kernelPatch, target)));
    return lost.length === 0 ? plan : { ...plan, action: 'Blocked', reason: 'WouldRegress', message: describeLoss(target, lost) };
  });
}

/** Of the kernels that decisions ask for the one that closes most of them, the first of those; undefined when none asks. */
export function chooseTarget(plans: readonly PatchPlan[]): Target | undefined {
  const asked = plans.flatMap((plan) => targetOf(plan) ?? []);
  const closes = (target: Target) => plans.filter(({ kernelPatch, action, fixedIn }) => isReboot(action) && (fixedIn === target.release || isFix(matchTarget(kernelPatch, target)))).length;
  return asked.reduce<Target | undefined>((best, target) => (best === undefined || closes(target) > closes(best) ? target : best), undefined);
}

/**
 * The node is not in the order's kernel, and a KernelPatch wants it there, or may: that of the order as long as it does not say otherwise, any other that names this kernel. A fact that is missing for a while does not end an
 * order.
 */
export function isAskedFor({ kernelPatch: name, release, buildID }: RebootOrder, plans: readonly PatchPlan[], kernel: NodeKernelStatus['kernel'] | undefined): boolean {
  if (kernel?.release === release && (buildID === undefined || kernel.buildID === buildID)) return false;
  return plans.some(({ kernelPatch, action, fixedIn }) => action !== 'None' && action !== 'LivePatch' && (fixedIn ?? (kernelPatch.metadata.name === name ? release : '')) === release);
}

/** The node boots, and is drained before it. */
export function isReboot(action: PatchPlan['action']): action is 'Kexec' | 'Reboot' {
  return action === 'Kexec' || action === 'Reboot';
}

function targetOf({ kernelPatch, action, fixedIn, install }: PatchPlan): Target | undefined {
  if (!isReboot(action) || fixedIn === undefined) return undefined;
  const buildID = kernelPatch.spec.kernels.find(({ release, state }) => release === fixedIn && state === 'Fixed')?.buildID;
  const { retryReboot: retry } = kernelPatch.spec;
  return { kernelPatch: kernelPatch.metadata.name, method: action === 'Kexec' ? 'Kexec' : 'Firmware', release: fixedIn, ...(buildID !== undefined && { buildID }), ...(install && { install }), ...(retry !== undefined && { retry }) };
}

/** By its kernel, its own live patch, or the one that takes the place of that. */
function isClosed({ action, livePatch, replaces }: PatchPlan, { livePatches }: NodeKernelStatus): boolean {
  const isActive = (wanted: WantedLivePatch | undefined) => wanted?.desired === 'Loaded' && livePatches.some(({ name, origin, state }) => name === wanted.name && origin === 'KernelPatch' && state === 'Active');
  return action === 'None' || isActive(livePatch) || isActive(replaces);
}

function matchTarget({ spec }: KernelPatch, { release, buildID = 'unknown' }: Target): KernelMatch {
  return matchKernel(spec, { release, buildID });
}

/** A kernel that is not listed has no fix that is known of. */
function isFix(match: KernelMatch): boolean {
  return match.kind === 'Entry' && (match.entry.state === 'Fixed' || match.entry.state === 'NotAffected');
}

function describeOpen({ kernelPatch, release }: Target, state: KernelState): string {
  return `KernelPatch ${kernelPatch} names kernel ${release} as rebootInto, and by its list that is ${state} too: list it there as Fixed if it is, or name a newer kernel`;
}

function describeLoss({ release }: Target, lost: readonly PatchPlan[]): string {
  const patches = nameSome(lost.map(({ kernelPatch }) => kernelPatch.metadata.name));
  return `kernel ${release} is not known to have the fixes of KernelPatch ${patches}, which this node has now: list it there as Fixed if it has them, or name a newer kernel as rebootInto`;
}
