/** One view in, everything that is to be written out. Pure: no cache, no clock, no API. */
import { isDeepStrictEqual } from 'node:util';
import type { KernelPatch, KernelPatchSpec, KernelPatchStatus } from '../crds/kernelpatch.ts';
import type { NodeKernel, NodeKernelSpec } from '../crds/nodekernel.ts';
import type { PatchPolicy, PatchPolicyStatus } from '../crds/patchpolicy.ts';
import { assign } from './assign.ts';
import type { Assignment } from './assign.ts';
import { decideIntent, startsSomething } from './intent.ts';
import { MANAGED_BY, isOurs } from './labels.ts';
import { lapsesAt, withoutLapsed } from './lapse.ts';
import type { NodeView, View } from './observe.ts';
import { rebootView, taskOf } from './orders.ts';
import { planNode } from './plan.ts';
import { askFor } from './preview.ts';
import type { DrainAsk } from './preview.ts';
import type { DrainTask } from './drains.ts';
import { kexecFailuresOf } from './hardware.ts';
import type { KexecFailures } from './hardware.ts';
import { decideReboots } from './reboots.ts';
import type { RebootPacing } from './reboots.ts';
import { decideUncordons } from './uncordon.ts';
import type { Uncordon } from './uncordon.ts';
import type { Slot } from './progress.ts';
import { quarantinesOf } from './quarantine.ts';
import type { Quarantines } from './quarantine.ts';
import { decideRollout } from './rollout.ts';
import type { Candidate } from './rollout.ts';
import { kernelPatchStatus, policyStatus } from './status.ts';
import { decideTaints, holdersOf } from './taint.ts';
import type { TaintChange } from './taint.ts';
import { firstReportDue, judgeNode } from './verdict.ts';
import type { Verdict } from './verdict.ts';

export interface StatusChange<O, S> {
  readonly object: O;
  readonly status: S;
}

export type IntentChange =
  | { readonly kind: 'Create'; readonly node: NodeView; readonly labels: Readonly<Record<string, string>>; readonly spec: NodeKernelSpec }
  | {
      readonly kind: 'Publish';
      readonly nodeKernel: NodeKernel;
      readonly spec: NodeKernelSpec;
      /** Set when the agent may change the kernel because of it: the policy whose slots must have been stored before. */
      readonly underSlotOf: string | undefined;
    };

/** Only what differs from what is stored. */
export interface Decisions {
  readonly policies: readonly StatusChange<PatchPolicy, PatchPolicyStatus>[];
  readonly intents: readonly IntentChange[];
  readonly deletions: readonly NodeKernel[];
  readonly taints: readonly TaintChange[];
  readonly kernelPatches: readonly StatusChange<KernelPatch, KernelPatchStatus>[];
  /** All of them, for the metrics. */
  readonly verdicts: readonly Verdict[];
  /** Whose drains are to be looked at ahead. */
  readonly previews: readonly DrainAsk[];
  /** What is to be found out, or carried on, for the orders that stand. */
  readonly drains: readonly DrainTask[];
  readonly uncordons: readonly Uncordon[];
  /** When time alone changes a decision, in milliseconds since 1970. */
  readonly nextDeadline: number | undefined;
}

export function decide(view: View): Decisions {
  const slotOf = slotsByNode(view.policies);
  const others: Others = {
    quarantines: quarantinesOf(view.nodeKernels.values()),
    kexecFailures: kexecFailuresOf(view.nodeKernels.values()),
    known: new Set([...view.nodes.values()].flatMap((node) => (nodeKernelOf(view, node) ? node.uid : []))),
    kernelPatches: new Map(view.kernelPatches.map(({ metadata, spec }) => [metadata.name, spec])),
  };
  const parts = assign(view).map((assignment) => decidePolicy(view, assignment, slotOf, others));
  const verdicts = parts.flatMap((part) => part.verdicts);
  const byPatch = Map.groupBy(verdicts, ({ kernelPatch }) => kernelPatch);
  return {
    policies: parts.map(({ status }) => status).filter(differs),
    intents: parts.flatMap(({ intents }) => intents),
    deletions: unwanted(view, new Set(parts.flatMap(({ nodes }) => nodes))),
    taints: decideTaints(view, new Map(parts.flatMap(({ holders }) => [...holders]))),
    kernelPatches: view.kernelPatches
      .map((object) => ({ object, status: kernelPatchStatus(object, byPatch.get(object.metadata.name) ?? [], view.now) }))
      .filter(differs),
    verdicts,
    previews: parts.flatMap(({ previews }) => previews),
    drains: parts.flatMap(({ drains }) => drains),
    uncordons: decideUncordons(view.nodes.values(), new Map(parts.flatMap(({ reboots }) => [...reboots.orders]))),
    nextDeadline: earliest(parts.map((part) => part.nextDeadline), view.now),
  };
}

/** The first instant that is still ahead. */
function earliest(instants: readonly (number | undefined)[], now: number): number | undefined {
  const ahead = instants.filter((instant) => instant !== undefined && instant > now) as number[];
  return ahead.length === 0 ? undefined : Math.min(...ahead);
}

function differs({ object, status }: StatusChange<{ readonly status?: object }, object>): boolean {
  return !isDeepStrictEqual(object.status, status);
}

/** Slots of all policies: a node that moves to another policy while in flight takes its slot along. */
function slotsByNode(policies: readonly PatchPolicy[]): ReadonlyMap<string, Slot> {
  return new Map(policies.flatMap(({ status }) => status?.slots ?? []).map((slot) => [slot.node, slot]));
}

/** What other nodes have come to. */
interface Others {
  readonly quarantines: Quarantines;
  readonly kexecFailures: KexecFailures;
  /** The uids of the Nodes that are there with their NodeKernels. */
  readonly known: ReadonlySet<string>;
  /** All of them, by name. */
  readonly kernelPatches: ReadonlyMap<string, KernelPatchSpec>;
}

function decidePolicy(view: View, assignment: Assignment, slotOf: ReadonlyMap<string, Slot>, { quarantines, kexecFailures, known, kernelPatches }: Others) {
  const { policy, nodes } = assignment;
  const candidates = nodes.map((node): Candidate => {
    const nodeKernel = nodeKernelOf(view, node);
    return { plan: planNode(node, nodeKernel, assignment, kexecFailures), nodeKernel: nodeKernel && withoutLapsed(nodeKernel, view.now), slot: slotOf.get(node.name), preview: view.previews.get(node.name)?.drain };
  });
  const rollout = decideRollout(candidates, { ...policy.spec.rollout, ...policy.spec.livePatch }, quarantines, view.now);
  const { rebootSlots = [], rebootFailures = [] } = policy.status ?? {};
  const pacing: RebootPacing = { rollout: policy.spec.rollout, selected: nodes.length, busy: rollout.slots, stored: rebootSlots, told: rebootFailures, isKnown: (uid) => known.has(uid), kernelPatches };
  const reboots = decideReboots(candidates.flatMap((candidate) => rebootView(view, candidate) ?? []), pacing, view.now);
  const turns = { ...rollout, reboots };
  const judged = candidates.map((candidate) => ({ candidate, verdicts: judgeNode(candidate, turns, view.now) }));
  const verdicts = judged.flatMap((each) => each.verdicts);
  const holders = new Map(judged.map((each) => [each.candidate.plan.node, holdersOf(each.candidate, each.verdicts)]));
  return {
    nodes: nodes.map(({ name }) => name),
    verdicts,
    holders,
    reboots,
    previews: candidates.flatMap(({ plan }) => askFor(plan) ?? []),
    drains: candidates.flatMap((candidate) => taskOf(candidate, reboots) ?? []),
    nextDeadline: earliest([rollout.nextDeadline, reboots.nextDeadline, ...candidates.map((candidate) => dueOf(candidate, view.now))], view.now),
    status: { object: policy, status: policyStatus(assignment, turns, verdicts, view.now) },
    intents: candidates.flatMap((candidate) => changeOf(view, candidate, decideIntent(candidate, turns, holders.get(candidate.plan.node)))),
  };
}

/** When the node's agent is overdue, or what it has refused lapses. */
function dueOf(candidate: Candidate, now: number): number | undefined {
  const { nodeKernel } = candidate;
  return nodeKernel?.status === undefined ? firstReportDue(candidate, now) : lapsesAt(nodeKernel, now);
}

function changeOf(view: View, { plan, nodeKernel }: Candidate, spec: NodeKernelSpec): readonly IntentChange[] {
  const stored = view.nodeKernels.get(plan.node);
  if (nodeKernel && stored) {
    if (isDeepStrictEqual(stored.spec, spec)) return [];
    return [{ kind: 'Publish', nodeKernel: stored, spec, underSlotOf: startsSomething(spec, nodeKernel) ? plan.policy.metadata.name : undefined }];
  }
  const node = view.nodes.get(plan.node);
  // One of an earlier node of that name is deleted first.
  return node && !view.nodeKernels.has(plan.node) ? [{ kind: 'Create', node, labels: MANAGED_BY, spec }] : [];
}

function nodeKernelOf({ nodeKernels }: View, node: NodeView): NodeKernel | undefined {
  const nodeKernel = nodeKernels.get(node.name);
  return nodeKernel && isOf(nodeKernel, node) ? nodeKernel : undefined;
}

/** A Node that was deleted and made anew under its old name is another node. */
function isOf({ metadata }: NodeKernel, node: NodeView): boolean {
  return (metadata.ownerReferences ?? []).every(({ kind, uid }) => kind !== 'Node' || uid === node.uid);
}

/** NodeKernels we made that no policy selects, or that belong to an earlier node of that name. */
function unwanted(view: View, wanted: ReadonlySet<string>): readonly NodeKernel[] {
  return [...view.nodeKernels.values()].filter((nodeKernel) => {
    const node = view.nodes.get(nodeKernel.metadata.name);
    const kept = node && wanted.has(node.name) && isOf(nodeKernel, node);
    return isOurs(nodeKernel.metadata) && !kept;
  });
}
