/** Who may change live patches now, pure. A slot is taken before an intent is published that starts something (apply.ts). */
import { isActive } from '../crds/nodekernel.ts';
import type { DrainPreview, NodeKernel, WantedLivePatch } from '../crds/nodekernel.ts';
import type { PatchPolicySpec } from '../crds/patchpolicy.ts';
import { instant } from './instant.ts';
import type { NodePlan } from './plan.ts';
import { isExpired, isInFlight, isPublished, judge } from './progress.ts';
import type { Slot } from './progress.ts';
import { quarantiner } from './quarantine.ts';
import type { Quarantines } from './quarantine.ts';

/** 10 min: a load takes a second and a stalled transition is undone by the agent after 75 s by default, so a node that needs longer will not end by itself. */
export const SLOT_SECONDS = 600;
/** The agent tries a transition three times (daemonset/rules.ts, MAX_ATTEMPTS); what it does besides leaves 375 s of the 10 min. */
const ATTEMPTS = 3;
const BESIDE_TRANSITIONS_SECONDS = 375;

/** When the operator stops waiting for a node, in seconds from the start. */
export function slotSeconds(transitionSeconds: number): number {
  return Math.max(SLOT_SECONDS, ATTEMPTS * transitionSeconds + BESIDE_TRANSITIONS_SECONDS);
}

/** How a policy paces the changes of its nodes. */
export type Pacing = PatchPolicySpec['rollout'] & Pick<PatchPolicySpec['livePatch'], 'transitionSeconds'>;

/** One node of a policy as the rollout sees it. */
export interface Candidate {
  readonly plan: NodePlan;
  readonly nodeKernel: NodeKernel | undefined;
  /** The slot it holds, in whichever policy's status. */
  readonly slot: Slot | undefined;
  /** What a drain of it would do; undefined: not looked at. */
  readonly preview?: DrainPreview | undefined;
}

/** Why a KernelPatch is not started on further nodes. */
export interface Halt {
  readonly kernelPatch: string;
  readonly failed: readonly string[];
}

/** What may not be started, whatever slots are free. */
export interface Stops {
  readonly halts: ReadonlyMap<string, Halt>;
  readonly quarantines: Quarantines;
}

export interface Rollout extends Stops {
  /** The slots as they are to be, by node, in the order of the nodes' names. */
  readonly slots: ReadonlyMap<string, Slot>;
  /** Nodes whose intent may start something, once these slots are stored. */
  readonly granted: ReadonlySet<string>;
  /** When the next slot runs out; undefined when none does. */
  readonly nextDeadline: number | undefined;
}

/** How many nodes of `selected` a count ("3") or share ("25%", rounded up) is. */
export function limitOf(count: string, selected: number): number {
  return count.endsWith('%') ? Math.ceil((selected * Number(count.slice(0, -1))) / 100) : Number(count);
}

/** KernelPatches of which as many nodes failed as the budget has. */
export function haltsOf(candidates: readonly Candidate[], failureBudget: number, now: number): ReadonlyMap<string, Halt> {
  const failed = new Map<string, string[]>();
  for (const { plan, nodeKernel, slot } of candidates) {
    for (const wanted of plan.wanted) {
      if (wanted.desired !== 'Loaded' || judge(wanted, nodeKernel, slot, now).kind !== 'Failed') continue;
      failed.set(wanted.kernelPatch, [...(failed.get(wanted.kernelPatch) ?? []), plan.node]);
    }
  }
  return new Map([...failed].filter(([, nodes]) => nodes.length >= failureBudget).map(([kernelPatch, nodes]) => [kernelPatch, { kernelPatch, failed: nodes }]));
}

/** What of the wanted may be published when the node holds a slot: all but new loads of a halted KernelPatch or a quarantined file. Removing is never stopped. */
export function startable({ plan, nodeKernel }: Candidate, { halts, quarantines }: Stops): readonly WantedLivePatch[] {
  return plan.wanted.filter((wanted) => wanted.desired === 'Absent' || isPublished(wanted, nodeKernel) || !(halts.has(wanted.kernelPatch) || quarantiner(wanted, quarantines)));
}

/**
 * The slots of one policy. A node in flight keeps its slot, or gets one if it has none. A node with something to start gets one while there
 * are free ones, by name; one that holds it already has it renewed, so that every start is preceded by a write of the slots. All other
 * slots are released. Slots past their deadline count no more.
 */
export function decideRollout(candidates: readonly Candidate[], rollout: Pacing, quarantines: Quarantines, now: number): Rollout {
  const halts = haltsOf(candidates, rollout.failureBudget, now);
  const stops = { halts, quarantines };
  const fresh = (node: string): Slot => ({ node, since: instant(now), deadline: instant(now + slotSeconds(rollout.transitionSeconds) * 1000) });
  const kept = new Map<string, Slot>();
  const granted = new Set<string>();
  const queue: string[] = [];
  for (const candidate of candidates) {
    const { plan, nodeKernel, slot } = candidate;
    if (!nodeKernel) continue;
    const { node } = plan;
    if (isInFlight(nodeKernel, slot)) kept.set(node, slot ?? fresh(node));
    // A node that is being made ready for a boot gets its live patches in the next one.
    if (isActive(nodeKernel.spec.reboot) || startable(candidate, stops).every((wanted) => isPublished(wanted, nodeKernel))) continue;
    if (slot && !isExpired(slot, now)) {
      kept.set(node, fresh(node));
      granted.add(node);
    } else queue.push(node);
  }
  const used = [...kept.values()].filter((slot) => !isExpired(slot, now)).length;
  const free = Math.max(0, limitOf(rollout.maxInFlight, candidates.length) - used);
  for (const node of queue.slice(0, free)) {
    kept.set(node, fresh(node));
    granted.add(node);
  }
  const slots = [...kept.values()].sort((a, b) => (a.node < b.node ? -1 : 1));
  const deadlines = slots.filter((slot) => !isExpired(slot, now)).map(({ deadline }) => Date.parse(deadline));
  const nextDeadline = deadlines.length === 0 ? undefined : Math.min(...deadlines);
  return { slots: new Map(slots.map((slot) => [slot.node, slot])), granted, ...stops, nextDeadline };
}
