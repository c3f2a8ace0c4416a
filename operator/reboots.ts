/** Which nodes of a policy may reboot now, pure. A slot is taken before an order is published that begins (apply.ts). */
import type { RebootOrder } from '../crds/nodekernel.ts';
import type { PatchPolicySpec, PatchPolicyStatus } from '../crds/patchpolicy.ts';
import { beginOrder, isActive, mayBegin, nextOrder } from './reboot.ts';
import type { RebootView } from './reboot.ts';
import { instant } from './instant.ts';
import { limitOf } from './rollout.ts';
import type { Halt } from './rollout.ts';

export type RebootSlot = NonNullable<PatchPolicyStatus['rebootSlots']>[number];

export interface Reboots {
  /** The orders as they are to be, by node. */
  readonly orders: ReadonlyMap<string, RebootOrder>;
  /** Nodes whose order begins, once these slots are stored. */
  readonly begun: ReadonlySet<string>;
  /** The slots as they are to be, in the order of the nodes' names. */
  readonly slots: readonly RebootSlot[];
  readonly halts: ReadonlyMap<string, Halt>;
  /** When the next phase runs out; undefined when none does. */
  readonly nextDeadline: number | undefined;
}

/** What bounds the reboots of a policy. */
export interface RebootPacing {
  readonly rollout: PatchPolicySpec['rollout'];
  /** How many nodes belong to the policy. */
  readonly selected: number;
  /** Nodes that change their live patches now. */
  readonly busy: ReadonlyMap<string, unknown>;
  /** The slots as they are. */
  readonly stored: readonly RebootSlot[];
}

/**
 * Orders that stand go on, whatever the budgets: a node in progress always finishes. A node that is to boot begins while fewer than maxUnavailable are out of service, those first that
 * hold a slot already, since another leader may have promised it to them; then by name.
 */
export function decideReboots(views: readonly RebootView[], { rollout, selected, busy, stored }: RebootPacing, now: number): Reboots {
  const orders = new Map<string, RebootOrder>();
  for (const view of views) {
    const order = nextOrder(view);
    if (order !== undefined) orders.set(view.node.name, order);
  }
  const halts = haltsOf(orders, rollout.failureBudget);
  const active = [...orders.values()].filter(isActive).length;
  const free = Math.max(0, limitOf(rollout.maxUnavailable, selected) - active);
  const held = new Set(stored.map(({ node }) => node));
  const queue = views.filter((view) => !isActive(orders.get(view.node.name)) && !busy.has(view.node.name) && mayBegin(view) && !halts.has(view.target?.kernelPatch ?? ''));
  const chosen = [...queue.filter(({ node }) => held.has(node.name)), ...queue.filter(({ node }) => !held.has(node.name))].slice(0, free);
  for (const view of chosen) if (view.target) orders.set(view.node.name, beginOrder(view, view.target));
  return { orders, begun: new Set(chosen.map(({ node }) => node.name)), slots: slotsOf(orders, stored, now), halts, nextDeadline: firstDeadline(orders, now) };
}

function haltsOf(orders: ReadonlyMap<string, RebootOrder>, failureBudget: number): ReadonlyMap<string, Halt> {
  const failed = Map.groupBy([...orders].filter(([, { phase }]) => phase === 'Failed'), ([, { kernelPatch }]) => kernelPatch);
  return new Map(
    [...failed].filter(([, each]) => each.length >= failureBudget).map(([kernelPatch, each]) => [kernelPatch, { kernelPatch, failed: each.map(([node]) => node) }]),
  );
}

function slotsOf(orders: ReadonlyMap<string, RebootOrder>, stored: readonly RebootSlot[], now: number): readonly RebootSlot[] {
  const since = new Map(stored.map((slot) => [`${slot.node} ${slot.order}`, slot.since]));
  return [...orders]
    .filter(([, order]) => isActive(order))
    .map(([node, { id }]) => ({ node, order: id, since: since.get(`${node} ${id}`) ?? instant(now) }))
    .sort((a, b) => (a.node < b.node ? -1 : 1));
}

function firstDeadline(orders: ReadonlyMap<string, RebootOrder>, now: number): number | undefined {
  const ahead = [...orders.values()].flatMap(({ deadline }) => (deadline === undefined ? [] : Date.parse(deadline))).filter((deadline) => deadline > now);
  return ahead.length === 0 ? undefined : Math.min(...ahead);
}
