/** The ways to fix one node for one KernelPatch, from the least disruptive on, and the first of them that works. */
import { DISRUPTIONS } from '../crds/common.ts';
import type { Disruption, DistributionPackage } from '../crds/common.ts';
import type { KernelEntry, KernelPatch, KernelPatchSpec } from '../crds/kernelpatch.ts';
import type { Action, NodeKernelStatus, RebootOrder } from '../crds/nodekernel.ts';
import type { PatchPolicy, PatchPolicySpec } from '../crds/patchpolicy.ts';
import { kexecFailureOf } from './hardware.ts';
import type { KexecFailures } from './hardware.ts';
import { describeRelapse, judgeNextBoot } from './nextboot.ts';
import { kexecRefusalOf } from './refusal.ts';

export interface Decision {
  readonly action: Action;
  readonly reason: string;
  readonly message: string;
  /** What would fix it, when it is Blocked for want of consent. */
  readonly needs?: Exclude<Disruption, 'None'>;
  /** What the node installs before it boots, when it does not have the fixed kernel. */
  readonly install?: DistributionPackage;
}

/** Works: this fixes the node. Cannot: it does not. Unknown: a fact is missing that would tell. */
type Way =
  | { readonly kind: 'Works' | 'Unknown'; readonly action: Exclude<Disruption, 'None'>; readonly reason: string; readonly message: string }
  | { readonly kind: 'Cannot'; readonly reason: string; readonly message: string };
type Possible = Way & { kind: 'Works' | 'Unknown' };

interface Consent {
  readonly policy: string;
  readonly maxDisruption: Disruption;
  readonly onKexecFailure: PatchPolicySpec['reboot']['onKexecFailure'];
}

/** What a decision about a node stands on. */
export interface Ground {
  readonly node: string;
  readonly report: NodeKernelStatus;
  readonly policy: PatchPolicy;
  /** The reboot order that the node has, or had last. */
  readonly order: RebootOrder | undefined;
  readonly kexecFailures: KexecFailures;
}

/**
 * What fixes a node with an Affected kernel. The first way that works is taken if the policy allows it, and Blocked is said otherwise:
 * all later ways are more disruptive. A missing fact ends the search, since the way it is about might be the least disruptive one; where the policy
 * would not allow it anyway, the node is Blocked whatever the fact is.
 */
export function chooseWay(entry: KernelEntry, kernelPatch: KernelPatch, ground: Ground): Decision {
  const consent = consentOf(ground.policy);
  const ways = [livePatchWay(entry, kernelPatch.spec, ground.report), kexecWay(entry, kernelPatch, ground), rebootWay(entry, ground)] as const;
  const way = ways.find((each): each is Possible => each.kind !== 'Cannot');
  if (way === undefined) return stuck(entry, ways, consent);
  if (!allowed(way.action, consent)) return forbidden(way, ways[1], consent);
  if (way.action === 'Reboot' && consent.onKexecFailure === 'Block') return noFallback(way, ways[1], consent);
  const install = way.action === 'LivePatch' ? undefined : installOf(entry, ground);
  const decision = (way.action === 'Kexec' ? fallBack(ways[2], consent, ground) : undefined) ?? asDecided(way);
  return { ...decision, ...(install && { install }) };
}

function consentOf({ metadata, spec }: PatchPolicy): Consent {
  return { policy: metadata.name, maxDisruption: spec.maxDisruption, onKexecFailure: spec.reboot.onKexecFailure };
}

function asDecided(way: Possible): Decision {
  return { action: way.kind === 'Works' ? way.action : 'Unknown', reason: way.reason, message: way.message };
}

/** Nothing works. A fixed kernel that only has to be installed, or made the default, is the nearest way out; why there is no live patch is the other one. */
function stuck(entry: KernelEntry, ways: readonly [Way, Way, Way], consent: Consent): Decision {
  const [livePatch, , reboot] = ways;
  const { reason } = entry.rebootInto === undefined ? livePatch : reboot;
  const consentToo = reason === 'BootLoaderStartsOtherKernel' && !allowed('Reboot', consent) ? [`${limitOf(consent)}: set spec.maxDisruption: Reboot there too`] : [];
  return { action: 'Blocked', reason, message: [...new Set(ways.map(({ message }) => message)), ...consentToo].join('; ') };
}

function allowed(action: Disruption, { maxDisruption }: Consent): boolean {
  return DISRUPTIONS.indexOf(action) <= DISRUPTIONS.indexOf(maxDisruption);
}

function limitOf({ policy, maxDisruption }: Consent): string {
  return `PatchPolicy ${policy} allows at most ${maxDisruption}`;
}

function forbidden(way: Possible, kexec: Way, consent: Consent): Decision {
  const ask = `${way.message}; ${limitOf(consent)}: set spec.maxDisruption: ${way.action} there`;
  if (way.action === 'Reboot' && consent.maxDisruption === 'Kexec' && kexec.kind === 'Cannot') {
    return { action: 'Blocked', reason: kexec.reason, message: `${kexec.message}; ${ask}`, needs: way.action };
  }
  return { action: 'Blocked', reason: 'DisruptionNotAllowed', message: ask, needs: way.action };
}

function noFallback(way: Possible, kexec: Way, { policy }: Consent): Decision {
  return { action: 'Blocked', reason: kexec.reason, message: `${kexec.message}; PatchPolicy ${policy} has reboot.onKexecFailure: Block: set Firmware there, or boot the node by hand`, needs: way.action };
}

/** The node has refused the kexec in this boot, and may boot by its firmware instead. */
function fallBack(reboot: Way, consent: Consent, { report, order }: Ground): Decision | undefined {
  const mayBoot = reboot.kind === 'Works' && consent.onKexecFailure === 'Firmware' && allowed('Reboot', consent);
  const refused = mayBoot ? kexecRefusalOf(order, report.bootID) : undefined;
  return refused === undefined ? undefined : { action: 'Reboot', reason: 'KexecRefused', message: `the node has refused a kexec (${refused}); ${reboot.message}` };
}

/**
 * Lockdown does not rule a live patch out: it lets modules in that are signed by a key the kernel trusts, and only the kernel can judge the
 * signature (kernel_lockdown(7)). So it is tried, and the kernel's refusal is reported.
 */
function livePatchWay({ livePatch, release = '' }: KernelEntry, { withdrawn }: KernelPatchSpec, { kernel }: NodeKernelStatus): Way {
  if (!livePatch) return { kind: 'Cannot', reason: 'NoLivePatch', message: `there is no live patch for kernel ${kernel.release}` };
  if (withdrawn) return { kind: 'Cannot', reason: 'Withdrawn', message: `live patch ${livePatch.name} is withdrawn` };
  switch (kernel.livePatching) {
    case 'Available':
      return { kind: 'Works', action: 'LivePatch', reason: 'LivePatchAvailable', message: `live patch ${livePatch.name} fixes kernel ${release}` };
    case 'Unavailable':
      return { kind: 'Cannot', reason: 'LivePatchingUnavailable', message: `kernel ${release} can not load live patches (no /sys/kernel/livepatch)` };
    case 'Unknown':
      return { kind: 'Unknown', action: 'LivePatch', reason: 'LivePatchingUnknown', message: `whether kernel ${release} can load live patches could not be read on the node` };
    default:
      return kernel.livePatching satisfies never;
  }
}

/** What is to be installed before the node can boot into the fixed kernel, where that may be; undefined: it has the kernel, or nobody may install it. While it is being installed nothing that is seen of it counts. */
function installOf({ rebootInto: target, package: brings }: KernelEntry, { report, policy, order }: Ground): DistributionPackage | undefined {
  if (target === undefined || brings === undefined || policy.spec.reboot.install === 'None') return undefined;
  const isInstalling = order?.phase === 'Staging' && order.release === target && report.reboot?.id === order.id && report.reboot.state === 'Installing';
  return isInstalling || !report.installedKernels.includes(target) ? brings : undefined;
}

/** A boot into the fixed kernel, which must be installed with an image that is whole and an initrd, or be one that the node may install (`install`). */
function installedWay(entry: KernelEntry, ground: Ground, boot: (target: string, install: DistributionPackage | undefined) => Way): Way {
  const { report } = ground;
  const target = entry.rebootInto;
  if (target === undefined) return { kind: 'Cannot', reason: 'NoTargetKernel', message: 'no rebootInto names a fixed kernel' };
  const install = installOf(entry, ground);
  if (install !== undefined) return boot(target, install);
  if (!report.installedKernels.includes(target)) return { kind: 'Cannot', reason: 'TargetKernelNotInstalled', message: `the fixed kernel ${target} is not installed: ${describeMissing(entry, ground)}` };
  const fault = report.unbootableKernels?.find(({ release }) => release === target);
  return fault ? { kind: 'Cannot', reason: `Target${fault.reason}`, message: `the fixed kernel ${target} would not boot: ${fault.message}` } : boot(target, undefined);
}

function describeMissing({ package: brings }: KernelEntry, { policy: { metadata, spec } }: Ground): string {
  if (brings === undefined && spec.reboot.install === 'Package') return 'install it on the node, or name its package in the KernelPatch';
  return brings === undefined ? 'install it on the node' : `install package ${brings.name} on the node, or set spec.reboot.install: Package in PatchPolicy ${metadata.name}`;
}

function kexecWay(entry: KernelEntry, kernelPatch: KernelPatch, ground: Ground): Way {
  const { report } = ground;
  const { spec } = kernelPatch;
  return installedWay(entry, ground, (target, install) => {
    const failed = kexecFailureOf(ground.node, report, ground.kexecFailures);
    if (failed && !isOtherTry(kernelPatch, ground.order)) {
      const where = failed.node === ground.node ? 'this node' : `node ${failed.node}, the same kind of machine,`;
      return { kind: 'Cannot', reason: 'KexecFailedOnHardware', message: `a kexec into ${failed.release} on ${where} came back by the firmware: set a new word as spec.retryReboot of KernelPatch ${kernelPatch.metadata.name} to try it once more` };
    }
    switch (report.kernel.kexec) {
      case 'Available':
        if (install !== undefined) return { kind: 'Works', action: 'Kexec', reason: 'KexecAvailable', message: `a kexec into kernel ${target} fixes it, once the node has installed package ${install.name}` };
        return { kind: 'Works', action: 'Kexec', reason: 'KexecAvailable', message: [`a kexec into the installed kernel ${target} fixes it`, ...warnOf(target, spec, ground)].join('; ') };
      case 'Unavailable':
        return { kind: 'Cannot', reason: 'KexecUnavailable', message: `kexec into ${target} is not possible (kexec_load_disabled or lockdown)` };
      case 'Unknown':
        return { kind: 'Unknown', action: 'Kexec', reason: 'KexecUnknown', message: `whether kexec is possible could not be read on the node` };
      default:
        return report.kernel.kexec satisfies never;
    }
  });
}

/** The KernelPatch asks for one more, and the node has not failed under that word. */
function isOtherTry({ metadata, spec: { retryReboot } }: KernelPatch, order: RebootOrder | undefined): boolean {
  const isUsed = order?.phase === 'Failed' && order.kernelPatch === metadata.name && order.retry === retryReboot;
  return retryReboot !== undefined && !isUsed;
}

/** The fix does not outlive a boot that is no kexec, or may not. */
function warnOf(target: string, spec: KernelPatchSpec, { report, policy }: Ground): readonly string[] {
  const next = judgeNextBoot(target, report);
  if (next.kind === 'Other' && policy.spec.reboot.setDefault && report.nextBoot?.unsettable === undefined) return [];
  const warning = next.kind === 'Unknown' ? next.message : describeRelapse(target, spec, report);
  return warning === undefined ? [] : [warning];
}

/**
 * The firmware starts what the boot loader's default is, so a reboot helps only where that is the fixed kernel, or may be made so. What it is after an installation is seen then, before the node is cordoned.
 */
function rebootWay(entry: KernelEntry, ground: Ground): Way {
  const { report, policy } = ground;
  const { setDefault } = policy.spec.reboot;
  return installedWay(entry, ground, (target, install) => {
    if (install !== undefined) return { kind: 'Works', action: 'Reboot', reason: 'RebootNeeded', message: `a reboot into kernel ${target} fixes it, once the node has installed package ${install.name} and if its boot loader then starts it` };
    const next = judgeNextBoot(target, report);
    switch (next.kind) {
      case 'Target':
        return { kind: 'Works', action: 'Reboot', reason: 'RebootNeeded', message: `a reboot into the installed kernel ${target}, which the boot loader starts next, fixes it` };
      case 'Other':
        if (setDefault) return { kind: 'Works', action: 'Reboot', reason: 'RebootNeeded', message: `a reboot into the installed kernel ${target}, which the boot loader is told to start, fixes it` };
        return { kind: 'Cannot', reason: 'BootLoaderStartsOtherKernel', message: `${next.message}, or set spec.reboot.setDefault: true in PatchPolicy ${policy.metadata.name}` };
      case 'Unknown':
        return { kind: 'Unknown', action: 'Reboot', reason: 'NextBootUnknown', message: next.message };
      default:
        return next satisfies never;
    }
  });
}
