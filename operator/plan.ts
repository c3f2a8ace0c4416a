/**
 * What is to be done on one node, pure: its kernel, each KernelPatch its policy selects, what the policy allows. The plan says how the node
 * is fixed, not how far it is (verdict.ts), so it does not change while it is carried out.
 */
import type { KernelEntry, KernelPatch, LivePatchSpec } from '../crds/kernelpatch.ts';
import { KERNEL_FIXED, fetchedPath } from '../crds/nodekernel.ts';
import type { Action, DrainPreview, NodeKernel, NodeKernelStatus, Plan, WantedLivePatch } from '../crds/nodekernel.ts';
import type { PatchPolicy } from '../crds/patchpolicy.ts';
import type { Assignment } from './assign.ts';
import { settleConflicts } from './conflicts.ts';
import { matchKernel } from './kernels.ts';
import { describeRelapse } from './nextboot.ts';
import type { KexecFailures } from './hardware.ts';
import type { NodeView } from './observe.ts';
import { chooseTarget, settleTargets } from './target.ts';
import type { Target } from './target.ts';
import { chooseWay } from './ways.ts';
import type { Decision, Ground } from './ways.ts';

/** The decision for one KernelPatch on one node. */
export interface PatchPlan extends Decision {
  readonly kernelPatch: KernelPatch;
  /** The live patch to load, or to remove when the KernelPatch is withdrawn. */
  readonly livePatch?: WantedLivePatch;
  /** Its own live patch, in whose place `livePatch` is taken. */
  readonly replaces?: WantedLivePatch;
  /** The kernel that has the fix, when the KernelPatch names one for the running kernel. */
  readonly fixedIn?: string;
}

export interface NodePlan {
  readonly node: string;
  readonly policy: PatchPolicy;
  /** Of the boot that is decided about; unknown: neither kubelet nor agent have told. */
  readonly bootID: string;
  /** Most pressing first. */
  readonly patches: readonly PatchPlan[];
  /** What spec.livePatches becomes when the rollout lets it, in this order. Empty in mode Plan. */
  readonly wanted: readonly WantedLivePatch[];
  /** What the node is to boot into; undefined: nothing. In mode Plan there is none. */
  readonly target: Target | undefined;
}

/** Most pressing first: what needs a person, what needs an outage, what happens by itself, what is done. */
const PRESSING: readonly Action[] = ['Blocked', 'Unknown', 'Reboot', 'Kexec', 'LivePatch', 'None'];

/** The lists of a NodeKernel hold 64 entries, and its messages 1024 characters (crds/nodekernel.ts). */
const MAX_ENTRIES = 64;
const MAX_MESSAGE = 1024;

export function planNode(node: NodeView, nodeKernel: NodeKernel | undefined, { policy, kernelPatches }: Pick<Assignment, 'policy' | 'kernelPatches'>, kexecFailures: KexecFailures): NodePlan {
  const report = currentReport(node, nodeKernel);
  const patches = report.kind === 'Report' ? decideTogether(kernelPatches, { node: node.name, report: report.status, policy, order: nodeKernel?.spec.reboot, kexecFailures }) : kernelPatches.map((kernelPatch) => ({ kernelPatch, ...report.decision }));
  return {
    node: node.name,
    policy,
    bootID: node.bootID || (nodeKernel?.status?.bootID ?? 'unknown'),
    patches: [...patches].sort((a, b) => PRESSING.indexOf(a.action) - PRESSING.indexOf(b.action)),
    wanted: report.kind === 'Report' ? wantedOf(patches, policy) : stillWanted(nodeKernel, kernelPatches, policy),
    target: policy.spec.mode === 'Apply' ? chooseTarget(patches) : undefined,
  };
}

type Report = { readonly kind: 'Report'; readonly status: NodeKernelStatus } | { readonly kind: 'None'; readonly decision: Decision };

/** The agent's report if it is about the boot that the kubelet runs in. Before that nothing is decided: a report of an earlier boot may name live patches that are gone. */
function currentReport(node: NodeView, nodeKernel: NodeKernel | undefined): Report {
  const status = nodeKernel?.status;
  const kubelet = node.kernelVersion === '' ? '' : ` (the kubelet says it runs kernel ${node.kernelVersion})`;
  if (!status) {
    return { kind: 'None', decision: { action: 'Unknown', reason: 'NotReported', message: `the agent on node ${node.name} has not reported yet${kubelet}: see the pod of DaemonSet kernelpatch-agent there if this stays` } };
  }
  if (node.bootID !== '' && status.bootID !== node.bootID) {
    return { kind: 'None', decision: { action: 'Unknown', reason: 'ReportOfOtherBoot', message: `the agent on node ${node.name} has not reported since the node booted${kubelet}: see the pod of DaemonSet kernelpatch-agent there if this stays` } };
  }
  return { kind: 'Report', status };
}

function decideTogether(kernelPatches: readonly KernelPatch[], ground: Ground): readonly PatchPlan[] {
  const decided = kernelPatches.map((kernelPatch) => decidePatch(kernelPatch, ground));
  return settleTargets(settleConflicts(decided, ground.report), ground.report);
}

function decidePatch(kernelPatch: KernelPatch, ground: Ground): PatchPlan {
  const { report } = ground;
  const match = matchKernel(kernelPatch.spec, report.kernel);
  if (match.kind === 'None') return { kernelPatch, action: 'Unknown', reason: match.reason, message: match.message };
  const { entry } = match;
  switch (entry.state) {
    case 'Fixed':
      return { kernelPatch, action: 'None', reason: KERNEL_FIXED, message: describeFixed(kernelPatch, report) };
    case 'NotAffected':
      return { kernelPatch, action: 'None', reason: 'KernelNotAffected', message: `kernel ${report.kernel.release} is not affected` };
    case 'UnderInvestigation':
      return { kernelPatch, action: 'Unknown', reason: 'UnderInvestigation', message: `whether kernel ${report.kernel.release} is affected is under investigation` };
    case 'Affected':
      return decideAffected(kernelPatch, entry, ground);
    default:
      return entry.state satisfies never;
  }
}

function describeFixed({ spec }: KernelPatch, report: NodeKernelStatus): string {
  const { release } = report.kernel;
  const relapse = describeRelapse(release, spec, report);
  return `kernel ${release} has the fix${relapse ? `; ${relapse}` : ''}`;
}

function decideAffected(kernelPatch: KernelPatch, entry: KernelEntry, ground: Ground): PatchPlan {
  const { withdrawn } = kernelPatch.spec;
  const decision = chooseWay(entry, kernelPatch, ground);
  const { action, reason, message, needs, install } = decision;
  const plan = { kernelPatch, action, reason, message, ...(needs !== undefined && { needs }), ...(install && { install }), ...(entry.rebootInto !== undefined && { fixedIn: entry.rebootInto }) };
  const wanted = (livePatch: LivePatchSpec, desired: 'Loaded' | 'Absent') => ({ ...wantedLivePatch(kernelPatch, entry, livePatch, desired), transitionSeconds: ground.policy.spec.livePatch.transitionSeconds });
  if (!entry.livePatch) return plan;
  if (decision.action === 'LivePatch') return { ...plan, livePatch: wanted(entry.livePatch, 'Loaded') };
  if (!withdrawn) return plan;
  if (entry.livePatch.reversible) return { ...plan, livePatch: wanted(entry.livePatch, 'Absent') };
  return { ...plan, message: `${plan.message}; it is not reversible, where it is loaded it stays until the next boot` };
}

function wantedLivePatch(kernelPatch: KernelPatch, { release = '', buildID }: KernelEntry, livePatch: LivePatchSpec, desired: 'Loaded' | 'Absent'): WantedLivePatch {
  return {
    name: livePatch.name,
    kernelPatch: kernelPatch.metadata.name,
    desired,
    release,
    ...(buildID !== undefined && { buildID }),
    ...placeOf(livePatch),
    sha256: livePatch.sha256,
    replace: livePatch.replace,
    reversible: livePatch.reversible,
    cves: cvesOf(kernelPatch),
    ...(kernelPatch.spec.liftQuarantine !== undefined && { liftQuarantine: kernelPatch.spec.liftQuarantine }),
  };
}

/** The API server takes a source with exactly one of the two. */
function placeOf({ source: { hostPath, image, path }, sha256 }: LivePatchSpec): Pick<WantedLivePatch, 'hostPath' | 'image' | 'path'> {
  return image === undefined || path === undefined ? { hostPath: hostPath ?? '' } : { hostPath: fetchedPath(sha256), image, path };
}

function cvesOf({ spec }: KernelPatch): string[] {
  return spec.cves.map(({ id }) => id).sort();
}

/**
 * One entry for each module: the one that replaces all others, so that a withdrawn one is active until the older one that takes its place is, then what is
 * to go, then those that stand beside the first, since loading it after them would remove them. An unload disturbs a node as a load does, so a
 * policy that allows None gets neither.
 */
function wantedOf(patches: readonly PatchPlan[], policy: PatchPolicy): readonly WantedLivePatch[] {
  if (!allowsLivePatches(policy)) return [];
  const byName = new Map<string, WantedLivePatch>();
  for (const { livePatch } of patches) if (livePatch && !byName.has(livePatch.name)) byName.set(livePatch.name, livePatch);
  return [...byName.values()].sort((a, b) => turnOf(a) - turnOf(b)).slice(0, MAX_ENTRIES);
}

/**
 * Of what was published before the node booted, all that nobody has taken back since. Taking it out until the agent reports would make the
 * agent forget what it is to load, and what the boot has loaded.
 */
function stillWanted(nodeKernel: NodeKernel | undefined, kernelPatches: readonly KernelPatch[], policy: PatchPolicy): readonly WantedLivePatch[] {
  if (!allowsLivePatches(policy)) return [];
  const valid = new Set(kernelPatches.filter(({ spec }) => !spec.withdrawn).map(({ metadata }) => metadata.name));
  return (nodeKernel?.spec.livePatches ?? []).filter(({ desired, kernelPatch }) => desired === 'Absent' || valid.has(kernelPatch));
}

function allowsLivePatches({ spec }: PatchPolicy): boolean {
  return spec.mode === 'Apply' && spec.maxDisruption !== 'None';
}

function turnOf({ desired, replace }: WantedLivePatch): number {
  if (desired === 'Absent') return 1;
  return replace ? 0 : 2;
}

/** The node's action: that of the most pressing decision. */
export function actionOf([first]: readonly PatchPlan[]): Action {
  return first?.action ?? 'None';
}

export interface PlanNotes {
  /** The KernelPatches that hold the node's taint. */
  readonly held?: ReadonlySet<string>;
  /** What a drain would do, where one would be needed. */
  readonly drain?: DrainPreview | undefined;
}

/** The plan as the NodeKernel shows it: the most pressing decision is the node's. */
export function describePlan({ node, policy, bootID, patches }: NodePlan, { held, drain }: PlanNotes = {}): Plan {
  const first = patches[0] ?? { action: 'None', reason: 'NoKernelPatch', message: `PatchPolicy ${policy.metadata.name} selects no KernelPatch for node ${node}` };
  return {
    policy: policy.metadata.name,
    mode: policy.spec.mode,
    bootID,
    action: first.action,
    reason: first.reason,
    message: clip(first.message),
    ...(drain && { drain }),
    patches: patches.slice(0, MAX_ENTRIES).map((patch) => describePatch(patch, held?.has(patch.kernelPatch.metadata.name) ?? false)),
  };
}

function describePatch({ kernelPatch, action, reason, message, livePatch, fixedIn, needs }: PatchPlan, holdsTaint: boolean): Plan['patches'][number] {
  return {
    kernelPatch: kernelPatch.metadata.name,
    action,
    reason,
    message: clip(message),
    cves: cvesOf(kernelPatch),
    ...(action === 'LivePatch' && livePatch && { livePatch: livePatch.name }),
    ...(fixedIn !== undefined && { fixedIn }),
    ...(needs !== undefined && { needs }),
    ...(holdsTaint && { holdsTaint }),
  };
}

export function clip(message: string, length = MAX_MESSAGE): string {
  return message.length <= length ? message : `${message.slice(0, length - 3)}...`;
}
