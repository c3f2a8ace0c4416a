/** NodeKernel.spec as it is to be, pure. */
import type { DrainPreview, NodeKernel, NodeKernelSpec } from '../crds/nodekernel.ts';
import { startUnder } from './lapse.ts';
import { actionOf, describePlan } from './plan.ts';
import { isPublished } from './progress.ts';
import { startable } from './rollout.ts';
import type { Candidate } from './rollout.ts';
import { isReboot } from './target.ts';
import type { Turns } from './verdict.ts';

/**
 * The intent for a node. With a slot: everything that may be started. Without one: only what is already there exactly so, in the order it is
 * wanted; what is no longer wanted leaves the list, and the agent leaves it alone. What the next boot loads changes nothing in the kernel, so it needs no slot.
 * `held` are the KernelPatches that hold the node's taint.
 */
export function decideIntent(candidate: Candidate, rollout: Turns, held: ReadonlySet<string> = new Set()): NodeKernelSpec {
  const { plan, nodeKernel } = candidate;
  const slot = rollout.granted.has(plan.node) ? rollout.slots.get(plan.node) : undefined;
  const livePatches = slot ? startable(candidate, rollout) : plan.wanted.filter((wanted) => isPublished(wanted, nodeKernel));
  const start = slot ? startUnder(slot, plan.bootID) : nodeKernel?.spec.start;
  const reboot = rollout.reboots.orders.get(plan.node);
  return { plan: describePlan(plan, { held, drain: drainOf(candidate) }), loadAtBoot: plan.policy.spec.livePatch.atBoot, livePatches: [...livePatches], ...(start && livePatches.length > 0 && { start }), ...(reboot && { reboot }) };
}

/** What was seen last of a drain of the node, by this leader or one before, while the plan needs one. */
function drainOf({ plan, nodeKernel, preview }: Candidate): DrainPreview | undefined {
  return isReboot(actionOf(plan.patches)) ? (preview ?? nodeKernel?.spec.plan?.drain) : undefined;
}

/** True when publishing the spec can make the agent change the kernel, or begins a reboot. */
export function startsSomething(spec: NodeKernelSpec, nodeKernel: NodeKernel | undefined): boolean {
  if (spec.reboot !== undefined && spec.reboot.id !== nodeKernel?.spec.reboot?.id) return true;
  return (spec.livePatches ?? []).some((wanted) => !isPublished(wanted, nodeKernel));
}
