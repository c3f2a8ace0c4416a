/** The status of KernelPatches and PatchPolicies, pure: counts, the nodes that need attention, and conditions. */
import type { KernelPatch, KernelPatchStatus, NodeVerdict } from '../crds/kernelpatch.ts';
import type { PatchPolicyStatus } from '../crds/patchpolicy.ts';
import type { Assignment } from './assign.ts';
import { setConditions } from './conditions.ts';
import type { Judgement } from './conditions.ts';
import { nameSome } from './names.ts';
import { clip } from './plan.ts';
import { WORST_FIRST } from './verdict.ts';
import type { Turns, Verdict } from './verdict.ts';

/** The list `attention` holds 20 nodes (crds/kernelpatch.ts). */
const MAX_ATTENTION = 20;

function worstFirst(a: Verdict, b: Verdict): number {
  return WORST_FIRST.indexOf(a.verdict) - WORST_FIRST.indexOf(b.verdict) || (a.node < b.node ? -1 : 1);
}

export function kernelPatchStatus(kernelPatch: KernelPatch, verdicts: readonly Verdict[], now: number): KernelPatchStatus {
  const { generation } = kernelPatch.metadata;
  const count = (verdict: NodeVerdict) => verdicts.filter((each) => each.verdict === verdict).length;
  const closed = count('Closed');
  const open = verdicts.filter(({ verdict }) => verdict !== 'Closed').sort(worstFirst);
  return {
    ...(generation !== undefined && { observedGeneration: generation }),
    nodes: {
      selected: verdicts.length,
      closed,
      open: open.length,
      inProgress: count('InProgress'),
      waiting: count('Waiting'),
      blocked: count('Blocked'),
      failed: count('Failed'),
      unknown: count('Unknown'),
    },
    closed: `${closed}/${verdicts.length}`,
    attention: open.slice(0, MAX_ATTENTION).map(({ node, verdict, reason, message }) => ({ node, verdict, reason, message: clip(message) })),
    conditions: setConditions(kernelPatch.status?.conditions, judgeOpen(open, verdicts.length, nobody(kernelPatch)), { generation, now }),
  };
}

function nobody(kernelPatch: KernelPatch): Judgement {
  const message = `no node of a PatchPolicy is selected for KernelPatch ${kernelPatch.metadata.name}: create a PatchPolicy whose nodeSelector and patchSelector fit`;
  return { type: 'Ready', status: 'Unknown', reason: 'NoNodes', message };
}

/** Status of the policy, with the slots of the rollout. `verdicts` are those of all its nodes. */
export function policyStatus(assignment: Assignment, rollout: Turns, verdicts: readonly Verdict[], now: number): PatchPolicyStatus {
  const { policy, nodes } = assignment;
  const { generation } = policy.metadata;
  const open = verdicts.filter(({ verdict }) => verdict !== 'Closed').sort(worstFirst);
  const openNodes = new Set(open.map(({ node }) => node)).size;
  const closed = nodes.length - openNodes;
  const judgements = [...judgeOpen(open, nodes.length, nothing(assignment)), ...overlap(assignment)];
  return {
    ...(generation !== undefined && { observedGeneration: generation }),
    nodes: { selected: nodes.length, closed, open: openNodes },
    closed: `${closed}/${nodes.length}`,
    slots: [...rollout.slots.values()],
    ...(rollout.reboots.slots.length > 0 && { rebootSlots: [...rollout.reboots.slots] }),
    ...(rollout.reboots.failures.length > 0 && { rebootFailures: [...rollout.reboots.failures] }),
    conditions: setConditions(policy.status?.conditions, judgements, { generation, now }),
  };
}

function nothing({ policy, lost }: Assignment): Judgement {
  const why = lost.length > 0 ? 'all nodes it selects belong to older policies' : 'no node has labels that spec.nodeSelector selects';
  return { type: 'Ready', status: 'Unknown', reason: 'NoNodes', message: `PatchPolicy ${policy.metadata.name} has no node: ${why}` };
}

function overlap({ lost }: Assignment): readonly Judgement[] {
  const to = [...new Set(lost.map((each) => each.to))];
  const nodes = nameSome(lost.map(({ node }) => node));
  return lost.length === 0 ? [] : [{ type: 'Overlapping', status: 'True', reason: 'NodesBelongToOlderPolicy', message: `${lost.length} selected: ${nodes} belong to the older PatchPolicy ${nameSome(to)}` }];
}

/** Ready, Progressing and Stalled of what is open, worst first. `none` is Ready when there is no node at all. */
function judgeOpen(open: readonly Verdict[], selected: number, none: Judgement): readonly Judgement[] {
  const ready = selected === 0 ? none : judgeReady(open, selected);
  const moving = open.filter(({ moves }) => moves);
  const progressing = moving.length > 0;
  const stalled = open.length > 0 && !progressing;
  const { reason, message } = ready;
  return [
    ready,
    { type: 'Progressing', status: progressing ? 'True' : 'False', reason: progressing ? 'RollingOut' : reason, message: progressing ? `${nodesOf(moving)} under way or waiting for a slot` : message },
    { type: 'Stalled', status: stalled ? 'True' : 'False', reason: stalled ? reason : 'NotStalled', message: stalled ? message : 'nothing waits for a person' },
  ];
}

function judgeReady(open: readonly Verdict[], selected: number): Judgement {
  const [worst] = open;
  if (!worst) return { type: 'Ready', status: 'True', reason: 'AllClosed', message: `all ${selected} nodes are closed` };
  const alike = open.filter(({ verdict }) => verdict === worst.verdict);
  const reason = alike.every((each) => each.reason === worst.reason) ? worst.reason : `Nodes${worst.verdict}`;
  const openNodes = new Set(open.map(({ node }) => node)).size;
  return { type: 'Ready', status: 'False', reason, message: clip(`${openNodes} of ${selected} nodes open; ${nodesOf(alike)} ${worst.verdict}, ${worst.node}: ${worst.message}`, 4096) };
}

function nodesOf(verdicts: readonly Verdict[]): string {
  const nodes = new Set(verdicts.map(({ node }) => node)).size;
  return nodes === 1 ? '1 node' : `${nodes} nodes`;
}
