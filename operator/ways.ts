/** The ways to fix one node for one KernelPatch, from the least disruptive on, and the first of them that works. */
import { DISRUPTIONS } from '../crds/common.ts';
import type { Disruption } from '../crds/common.ts';
import type { KernelEntry } from '../crds/kernelpatch.ts';
import type { Action, NodeKernelStatus } from '../crds/nodekernel.ts';

export interface Decision {
  readonly action: Action;
  readonly reason: string;
  readonly message: string;
  /** What would fix it, when it is Blocked for want of consent. */
  readonly needs?: Exclude<Disruption, 'None'>;
}

/** Works: this fixes the node. Cannot: it does not. Unknown: a fact is missing that would tell. */
type Way =
  | { readonly kind: 'Works'; readonly action: Exclude<Disruption, 'None'>; readonly reason: string; readonly message: string }
  | { readonly kind: 'Cannot'; readonly reason: string; readonly message: string }
  | { readonly kind: 'Unknown'; readonly reason: string; readonly message: string };

export interface Consent {
  readonly policy: string;
  readonly maxDisruption: Disruption;
}

/**
 * What fixes a node with an Affected kernel. The first way that works is taken if the policy allows it, and Blocked is said otherwise:
 * all later ways are more disruptive. A missing fact ends the search, since the way it is about might be the least disruptive one.
 */
export function chooseWay(entry: KernelEntry, withdrawn: boolean, report: NodeKernelStatus, consent: Consent): Decision {
  const ways = [livePatchWay(entry, withdrawn, report), kexecWay(entry, report), rebootWay(entry, report)];
  const way = ways.find(({ kind }) => kind !== 'Cannot');
  if (way?.kind === 'Works') return allowed(way.action, consent) ? way : forbidden(way, ways, consent);
  if (way?.kind === 'Unknown') return { action: 'Unknown', reason: way.reason, message: way.message };
  // Nothing works. A fixed kernel that only has to be installed is the nearest way out; why there is no live patch is the other one.
  const [livePatch, , reboot] = ways;
  const nearest = entry.rebootInto === undefined ? livePatch : reboot;
  return { action: 'Blocked', reason: nearest?.reason ?? '', message: [livePatch, reboot].map((each) => each?.message).join('; ') };
}

function allowed(action: Disruption, { maxDisruption }: Consent): boolean {
  return DISRUPTIONS.indexOf(action) <= DISRUPTIONS.indexOf(maxDisruption);
}

function forbidden(way: Way & { kind: 'Works' }, ways: readonly Way[], consent: Consent): Decision {
  const ask = `${way.message}; PatchPolicy ${consent.policy} allows at most ${consent.maxDisruption}: set spec.maxDisruption: ${way.action} there`;
  const kexec = ways[1];
  if (way.action === 'Reboot' && consent.maxDisruption === 'Kexec' && kexec?.kind === 'Cannot') {
    return { action: 'Blocked', reason: kexec.reason, message: `${kexec.message}; ${ask}`, needs: way.action };
  }
  return { action: 'Blocked', reason: 'DisruptionNotAllowed', message: ask, needs: way.action };
}

/**
 * Lockdown does not rule a live patch out: it lets modules in that are signed by a key the kernel trusts, and only the kernel can judge the
 * signature (kernel_lockdown(7)). So it is tried, and the kernel's refusal is reported.
 */
function livePatchWay({ livePatch, release = '' }: KernelEntry, withdrawn: boolean, { kernel }: NodeKernelStatus): Way {
  if (!livePatch) return { kind: 'Cannot', reason: 'NoLivePatch', message: `there is no live patch for kernel ${kernel.release}` };
  if (withdrawn) return { kind: 'Cannot', reason: 'Withdrawn', message: `live patch ${livePatch.name} is withdrawn` };
  switch (kernel.livePatching) {
    case 'Available':
      return { kind: 'Works', action: 'LivePatch', reason: 'LivePatchAvailable', message: `live patch ${livePatch.name} fixes kernel ${release}` };
    case 'Unavailable':
      return { kind: 'Cannot', reason: 'LivePatchingUnavailable', message: `kernel ${release} can not load live patches (no /sys/kernel/livepatch)` };
    case 'Unknown':
      return { kind: 'Unknown', reason: 'LivePatchingUnknown', message: `whether kernel ${release} can load live patches could not be read on the node` };
    default:
      return kernel.livePatching satisfies never;
  }
}

function installedWay(entry: KernelEntry, report: NodeKernelStatus, works: (target: string) => Way): Way {
  const target = entry.rebootInto;
  if (target === undefined) return { kind: 'Cannot', reason: 'NoTargetKernel', message: 'no rebootInto names a fixed kernel' };
  if (report.installedKernels.includes(target)) return works(target);
  return { kind: 'Cannot', reason: 'TargetKernelNotInstalled', message: `the fixed kernel ${target} is not installed: install it on the node` };
}

function kexecWay(entry: KernelEntry, report: NodeKernelStatus): Way {
  return installedWay(entry, report, (target) => {
    switch (report.kernel.kexec) {
      case 'Available':
        return { kind: 'Works', action: 'Kexec', reason: 'KexecAvailable', message: `a kexec into the installed kernel ${target} fixes it` };
      case 'Unavailable':
        return { kind: 'Cannot', reason: 'KexecUnavailable', message: `kexec into ${target} is not possible (kexec_load_disabled or lockdown)` };
      case 'Unknown':
        return { kind: 'Unknown', reason: 'KexecUnknown', message: `whether kexec is possible could not be read on the node` };
      default:
        return report.kernel.kexec satisfies never;
    }
  });
}

function rebootWay(entry: KernelEntry, report: NodeKernelStatus): Way {
  return installedWay(entry, report, (target) => ({ kind: 'Works', action: 'Reboot', reason: 'RebootNeeded', message: `a reboot into the installed kernel ${target} fixes it` }));
}
