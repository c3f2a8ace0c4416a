/** How one node stands towards one KernelPatch, pure: the plan, and how far it is. */
import type { NodeVerdict } from '../crds/kernelpatch.ts';
import { nameSome } from './names.ts';
import type { PatchPlan } from './plan.ts';
import { judge } from './progress.ts';
import { quarantiner } from './quarantine.ts';
import { isActive } from '../crds/nodekernel.ts';
import type { NodeKernel, RebootOrder, RebootPhase } from '../crds/nodekernel.ts';
import type { Reboots, Wait } from './reboots.ts';
import type { Candidate, Halt, Rollout } from './rollout.ts';
import { isReboot } from './target.ts';

export interface Verdict {
  readonly node: string;
  readonly kernelPatch: string;
  readonly verdict: NodeVerdict;
  readonly reason: string;
  readonly message: string;
  /** True when it will change without a person: under way, waiting for a slot that will be free, or for an agent that has just been started. */
  readonly moves: boolean;
}

/** Who may change anything now. */
export type Turns = Rollout & { readonly reboots: Reboots };

type Outcome = Pick<Verdict, 'verdict' | 'reason' | 'message'>;

/** A worse verdict first: what failed, what needs a person, what is not known, what is under way, what waits its turn, what is done. */
export const WORST_FIRST: readonly NodeVerdict[] = ['Failed', 'Blocked', 'Unknown', 'InProgress', 'Waiting', 'Closed'];

/** 3 minutes: pulling 50 MB and starting took 15 to 60 s on emulated nodes. Until then a silent agent is no reason to call a person. */
const FIRST_REPORT_MS = 180_000;

/** When the agent's first report is due, in milliseconds since 1970: agents are started together with the NodeKernel. */
export function firstReportDue({ nodeKernel }: Pick<Candidate, 'nodeKernel'>, now: number): number {
  const created = nodeKernel?.metadata.creationTimestamp;
  return (created === undefined ? now : Date.parse(created)) + FIRST_REPORT_MS;
}

/** The slots in `rollout` are those that will be stored, so a node that is about to start is InProgress. */
export function judgeNode(candidate: Candidate, rollout: Turns, now: number): readonly Verdict[] {
  const { plan } = candidate;
  const slot = rollout.slots.get(plan.node);
  return plan.patches.map((patch) => {
    const outcome = judgePatch(patch, { ...candidate, slot }, rollout, now);
    const moves = outcome.verdict === 'InProgress' || outcome.reason === 'WaitingForSlot' || outcome.reason === 'WaitingForLivePatches' || (outcome.reason === 'NotReported' && now < firstReportDue(candidate, now));
    return { node: plan.node, kernelPatch: patch.kernelPatch.metadata.name, ...outcome, moves };
  });
}

function judgePatch(patch: PatchPlan, candidate: Candidate, rollout: Turns, now: number): Outcome {
  const { livePatch, replaces } = patch;
  const reboot = judgeReboot(patch, candidate, rollout.reboots);
  if (reboot !== undefined) return reboot;
  if (!livePatch) return outcomeOf(patch);
  if (replaces && judge(replaces, candidate.nodeKernel, undefined, now).kind === 'Done') {
    return { verdict: 'Closed', reason: 'LivePatchActive', message: `live patch ${replaces.name} is active until ${livePatch.name} takes its place` };
  }
  const progress = judge(livePatch, candidate.nodeKernel, candidate.slot, now);
  const said = { reason: progress.reason, message: progress.message };
  switch (progress.kind) {
    case 'Done':
      return livePatch.desired === 'Loaded' ? { verdict: 'Closed', ...said } : outcomeOf(patch);
    case 'Refused':
      return { verdict: 'Blocked', ...said };
    case 'Failed':
      return { verdict: 'Failed', ...said };
    case 'InFlight':
      return { verdict: 'InProgress', ...said };
    case 'Unpublished':
      return judgeUnpublished(patch, candidate, rollout);
    default:
      return progress.kind satisfies never;
  }
}

/** What the plan alone says, once there is no live patch to load or remove. */
function outcomeOf({ action, reason, message }: PatchPlan): Outcome {
  switch (action) {
    case 'None':
      return { verdict: 'Closed', reason, message };
    case 'Unknown':
      return { verdict: 'Unknown', reason, message };
    case 'Blocked':
      return { verdict: 'Blocked', reason, message };
    case 'Kexec':
    case 'Reboot':
    case 'LivePatch':
      return { verdict: 'Waiting', reason, message };
    default:
      return action satisfies never;
  }
}

function judgeUnpublished(patch: PatchPlan, { plan }: Candidate, rollout: Turns): Outcome {
  const { livePatch } = patch;
  const wanted = plan.wanted.find(({ name }) => name === livePatch?.name);
  const verb = livePatch?.desired === 'Absent' ? 'removed' : 'loaded';
  const { name: policy } = plan.policy.metadata;
  if (plan.policy.spec.mode === 'Plan') {
    return { verdict: 'Waiting', reason: 'PlanMode', message: `live patch ${livePatch?.name} would be ${verb}; PatchPolicy ${policy} has mode Plan: set spec.mode: Apply there` };
  }
  if (!wanted) return outcomeOf(patch);
  const quarantinedOn = wanted.desired === 'Loaded' ? quarantiner(wanted, rollout.quarantines) : undefined;
  if (quarantinedOn !== undefined) {
    return { verdict: 'Blocked', reason: 'QuarantinedElsewhere', message: `node ${quarantinedOn} went down or oopsed with the file of live patch ${wanted.name}, so it is started on no other node: withdraw KernelPatch ${wanted.kernelPatch}, or set a new word as spec.liftQuarantine there to try it once more` };
  }
  const halt = wanted.desired === 'Loaded' ? rollout.halts.get(wanted.kernelPatch) : undefined;
  if (halt) return halted(halt, policy);
  if (rollout.granted.has(plan.node)) return { verdict: 'InProgress', reason: 'Pending', message: `live patch ${wanted.name} is being ${verb}` };
  return { verdict: 'Waiting', reason: 'WaitingForSlot', message: `waits for one of the ${plan.policy.spec.rollout.maxInFlight} slots of PatchPolicy ${policy}` };
}

function halted({ kernelPatch, failed }: Halt, policy: string): Outcome {
  return { verdict: 'Waiting', reason: 'RolloutHalted', message: `KernelPatch ${kernelPatch} failed on ${nameSome(failed)}, as many as PatchPolicy ${policy} has failureBudget: correct or withdraw it, or raise the budget` };
}

const OF_PHASE: Readonly<Record<RebootPhase, NodeVerdict>> = {
  Staging: 'InProgress',
  Draining: 'InProgress',
  Rebooting: 'InProgress',
  Parked: 'Waiting',
  Refused: 'Blocked',
  Failed: 'Failed',
};

/**
 * How far the reboot is that closes the patch; undefined: none is to. Until it is over, the order tells of its own KernelPatch whatever the plan says: of a node that is down nothing else is known, and one that has the kernel is not in
 * service before. It is over once that is stored: its slot is free then, too, and both are told in one write.
 */
function judgeReboot({ action, message, kernelPatch }: PatchPlan, { plan, nodeKernel }: Candidate, { orders, waits }: Reboots): Outcome | undefined {
  const order = orders.get(plan.node) ?? activeOrder(nodeKernel);
  const asked = isReboot(action);
  const isOwn = order?.kernelPatch === kernelPatch.metadata.name && (order.phase === 'Failed' || isActive(order));
  if (order !== undefined && (asked || isOwn)) return { verdict: OF_PHASE[order.phase], ...sayOrder(order, plan.node) };
  if (!asked) return undefined;
  const { name: policy } = plan.policy.metadata;
  if (plan.policy.spec.mode === 'Plan') return { verdict: 'Waiting', reason: 'PlanMode', message: `${message}; PatchPolicy ${policy} has mode Plan: set spec.mode: Apply there` };
  return { verdict: 'Waiting', ...describeWait(waits.get(plan.node) ?? { kind: 'Slot' }, plan, message) };
}

function activeOrder(nodeKernel: NodeKernel | undefined): RebootOrder | undefined {
  const order = nodeKernel?.spec.reboot;
  return isActive(order) ? order : undefined;
}

/** While it is under way the NodeKernel alone says how far: to repeat that here would be two writes for each step. */
function sayOrder({ phase, release, reason, message }: RebootOrder, node: string): Omit<Outcome, 'verdict'> {
  if (OF_PHASE[phase] === 'InProgress') return { reason: 'RebootUnderWay', message: `boots into kernel ${release}: spec.reboot of NodeKernel ${node} says how far that is` };
  return { reason, message };
}

function describeWait(wait: Wait, { node, policy: { metadata, spec } }: Candidate['plan'], message: string): Omit<Outcome, 'verdict'> {
  switch (wait.kind) {
    case 'Halted': {
      const { failed, kernelPatches } = wait.halt;
      const why = `the reboot failed on ${nameSome(failed)}, as many as PatchPolicy ${metadata.name} has failureBudget`;
      return { reason: 'RolloutHalted', message: `${why}: see why there, then set a new word as spec.retryReboot of KernelPatch ${nameSome(kernelPatches)} to try it once more, or raise the budget` };
    }
    case 'Ready':
      return { reason: 'NodeNotReady', message: `${message}; waits until node ${node} is Ready: see its kubelet` };
    case 'LivePatches':
      return { reason: 'WaitingForLivePatches', message: `${message}; waits until the live patches of the node do not change any more` };
    case 'Slot':
      return { reason: 'WaitingForSlot', message: `${message}; waits until fewer than ${spec.rollout.maxUnavailable} nodes of PatchPolicy ${metadata.name} (maxUnavailable) are drained and booting` };
    default:
      return wait satisfies never;
  }
}
