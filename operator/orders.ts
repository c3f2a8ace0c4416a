/** What is known of a node's reboot order, and what is to be found out for it, pure. */
import type { NodeKernel } from '../crds/nodekernel.ts';
import type { DrainTask } from './drains.ts';
import type { View } from './observe.ts';
import { wantedDrain } from './reboot.ts';
import type { DrainState, RebootView } from './reboot.ts';
import type { Reboots } from './reboots.ts';
import type { Candidate } from './rollout.ts';
import { isAskedFor } from './target.ts';

/** What is decided on; undefined: the node has no NodeKernel yet, so it has no order either. */
export function rebootView(view: View, { plan, nodeKernel }: Candidate): RebootView | undefined {
  const node = view.nodes.get(plan.node);
  if (node === undefined || nodeKernel === undefined) return undefined;
  const { target, policy, patches } = plan;
  const order = nodeKernel.spec.reboot;
  return {
    node,
    nodeKernel,
    target,
    asked: order !== undefined && isAskedFor(order, patches, nodeKernel.status?.kernel),
    retry: view.kernelPatches.find(({ metadata }) => metadata.name === order?.kernelPatch)?.spec.retryReboot,
    policy: policy.spec,
    slotted: (policy.status?.rebootSlots ?? []).some((slot) => slot.order === order?.id),
    drain: drainOf(view, nodeKernel),
    now: view.now,
  };
}

/** What was found out for exactly this order in this phase. */
function drainOf({ drains }: View, nodeKernel: NodeKernel): DrainState | undefined {
  const { task, state } = drains.get(nodeKernel.metadata.name) ?? {};
  return task?.id === nodeKernel.spec.reboot?.id && task?.kind === wantedDrain(nodeKernel) ? state : undefined;
}

/** For an order that is stored as it is decided: what is done to pods has been written down before. */
export function taskOf({ plan, nodeKernel }: Candidate, { orders }: Reboots): DrainTask | undefined {
  const kind = nodeKernel && wantedDrain(nodeKernel);
  const [stored, decided] = [nodeKernel?.spec.reboot, orders.get(plan.node)];
  if (kind === undefined || stored === undefined || stored.id !== decided?.id || stored.phase !== decided.phase) return undefined;
  return { node: plan.node, id: stored.id, kind, since: Date.parse(stored.since), options: plan.policy.spec.drain };
}
