/** How far a node is with one live patch, read from its NodeKernel and the slot it holds. */
import { isDeepStrictEqual } from 'node:util';
import type { LivePatchReport, NodeKernel, WantedLivePatch } from '../crds/nodekernel.ts';
import type { PatchPolicyStatus } from '../crds/patchpolicy.ts';

export type Slot = NonNullable<PatchPolicyStatus['slots']>[number];

/** Unpublished: not in the node's intent as it is wanted. Done: active, or gone when it is to be absent. Refused, Failed: as the agent says (Quarantined is Failed), or the operator gave up waiting. */
export interface Progress {
  readonly kind: 'Unpublished' | 'InFlight' | 'Done' | 'Refused' | 'Failed';
  readonly reason: string;
  readonly message: string;
}

/** A slot past its deadline is kept in the list, so that the failure stays known until the node ends, and counts no more. */
export function isExpired(slot: Slot, now: number): boolean {
  return Date.parse(slot.deadline) <= now;
}

/** True when the node has been asked for it: what differs at most are fields that make its agent do nothing. */
export function isPublished(wanted: WantedLivePatch, nodeKernel: NodeKernel | undefined): boolean {
  return (nodeKernel?.spec.livePatches ?? []).some((published) => isDeepStrictEqual(withoutNotes(published), withoutNotes(wanted)));
}

function withoutNotes(wanted: WantedLivePatch): WantedLivePatch {
  return { ...wanted, cves: [], transitionSeconds: 0 };
}

/** True when the report is about the intent as it is now. */
export function isCurrent({ metadata, status }: NodeKernel): boolean {
  return status !== undefined && status.observedGeneration === metadata.generation;
}

/** What the agent says about it; somebody else's module of the same name is not it. */
export function reportOf(wanted: WantedLivePatch, nodeKernel: NodeKernel): LivePatchReport | undefined {
  return nodeKernel.status?.livePatches.find(
    ({ name, origin, sha256 }) => name === wanted.name && origin === 'KernelPatch' && (wanted.desired === 'Absent' || sha256 === wanted.sha256),
  );
}

/** True when the kernel has it. A wanted one whose turn has not come is not among the reports, and may be active all the same. */
function isActive({ name }: WantedLivePatch, { status }: NodeKernel): boolean {
  return status?.active.split(',').includes(name) ?? false;
}

/**
 * How far the node is with what is wanted. An active live patch is done whatever was published. An outcome of a load stays valid when the
 * intent's generation grows for another reason; that a live patch is gone is believed of a current report only.
 */
export function judge(wanted: WantedLivePatch, nodeKernel: NodeKernel | undefined, slot: Slot | undefined, now: number): Progress {
  const unpublished: Progress = { kind: 'Unpublished', reason: 'Pending', message: `live patch ${wanted.name} is not started` };
  if (!nodeKernel) return unpublished;
  const report = reportOf(wanted, nodeKernel);
  if (wanted.desired === 'Loaded' && report?.state === 'Active') return { kind: 'Done', reason: 'LivePatchActive', message: `live patch ${wanted.name} is active` };
  if (!isPublished(wanted, nodeKernel)) return unpublished;
  return outcome(wanted, report, nodeKernel) ?? lateness(nodeKernel, slot, now) ?? underWay(wanted, report);
}

function outcome(wanted: WantedLivePatch, report: LivePatchReport | undefined, nodeKernel: NodeKernel): Progress | undefined {
  if (wanted.desired === 'Absent') {
    if (!isCurrent(nodeKernel)) return undefined;
    if (!report && !isActive(wanted, nodeKernel)) return { kind: 'Done', reason: 'LivePatchRemoved', message: `live patch ${wanted.name} is gone` };
  }
  if (report?.state === 'Refused') return { kind: 'Refused', reason: report.reason, message: report.message };
  if (report?.state === 'Failed' || report?.state === 'Quarantined') return { kind: 'Failed', reason: report.reason, message: report.message };
  return undefined;
}

function lateness({ metadata, status }: NodeKernel, slot: Slot | undefined, now: number): Progress | undefined {
  if (!slot || !isExpired(slot, now)) return undefined;
  if (status?.observedGeneration === metadata.generation) {
    return { kind: 'Failed', reason: 'DeadlineExceeded', message: `the node was to be done by ${slot.deadline} and is ${status?.state ?? 'silent'}` };
  }
  return { kind: 'Failed', reason: 'AgentSilent', message: `the agent has not answered to what was wanted at ${slot.since}: see the pod of DaemonSet kernelpatch-agent on node ${metadata.name}` };
}

function underWay(wanted: WantedLivePatch, report: LivePatchReport | undefined): Progress {
  const verb = wanted.desired === 'Loaded' ? 'loaded' : 'removed';
  return { kind: 'InFlight', reason: report?.state ?? 'Pending', message: `live patch ${wanted.name} is being ${verb}` };
}

function isBusy(report: LivePatchReport | undefined): boolean {
  return report?.state === 'Loading' || report?.state === 'Transitioning' || report?.state === 'Unloading';
}

/**
 * True while the node changes its live patches, or may at any moment. With a slot: until a current report shows an end for every entry.
 * Without one: when the report shows work, as after a boot, when the agent loads again what was loaded.
 */
export function isInFlight(nodeKernel: NodeKernel, slot: Slot | undefined): boolean {
  const current = isCurrent(nodeKernel);
  const published = nodeKernel.spec.livePatches ?? [];
  const ended = current && published.every((wanted) => endOf(wanted, nodeKernel));
  if (slot) return !ended;
  return (current && !ended) || published.some((wanted) => isBusy(reportOf(wanted, nodeKernel)));
}

function endOf(wanted: WantedLivePatch, nodeKernel: NodeKernel): boolean {
  const report = reportOf(wanted, nodeKernel);
  if (report?.state === 'Refused' || report?.state === 'Failed' || report?.state === 'Quarantined') return true;
  return wanted.desired === 'Loaded' ? report?.state === 'Active' : report === undefined && !isActive(wanted, nodeKernel);
}
