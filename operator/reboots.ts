/** Which nodes of a policy may reboot now, pure. A slot is taken before an order is published that begins (apply.ts). */
import type { KernelPatchSpec } from '../crds/kernelpatch.ts';
import { isActive } from '../crds/nodekernel.ts';
import type { RebootOrder } from '../crds/nodekernel.ts';
import type { PatchPolicySpec, PatchPolicyStatus } from '../crds/patchpolicy.ts';
import { beginOrder, counts, isHeldAgainst, mayBegin, nextOrder } from './reboot.ts';
import type { RebootView } from './reboot.ts';
import { instant } from './instant.ts';
import { limitOf } from './rollout.ts';
import type { Target } from './target.ts';

export type RebootSlot = NonNullable<PatchPolicyStatus['rebootSlots']>[number];

export type RebootFailure = NonNullable<PatchPolicyStatus['rebootFailures']>[number];

/** Why no further node boots into a kernel. */
export interface RebootHalt {
  readonly failed: readonly string[];
  /** Those that asked for it. */
  readonly kernelPatches: readonly string[];
}

/** What a node without an order waits for. Ready: to be in service. LivePatches: that those it has do not change. Slot: that fewer nodes are out of service. */
export type Wait = { readonly kind: 'Halted'; readonly halt: RebootHalt } | { readonly kind: 'Ready' | 'LivePatches' | 'Slot' };

export interface Reboots {
  /** The orders as they are to be, by node. One that begins is published once these slots are stored. */
  readonly orders: ReadonlyMap<string, RebootOrder>;
  /** The slots as they are to be, in the order of the nodes' names. */
  readonly slots: readonly RebootSlot[];
  /** Those that count, the ones of deleted nodes first. */
  readonly failures: readonly RebootFailure[];
  /** Of the nodes that are to boot and have no order, by node. */
  readonly waits: ReadonlyMap<string, Wait>;
  /** When the next phase runs out, or soon after one has ended; undefined: neither. */
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
  /** The failures that were told last. */
  readonly told: readonly RebootFailure[];
  /** True of the uid of a Node that is there with its NodeKernel, whichever policy it is of: what failed there is read from that. */
  readonly isKnown: (uid: string) => boolean;
  /** All that there are, by name. */
  readonly kernelPatches: ReadonlyMap<string, KernelPatchSpec>;
}

/** The list rebootFailures holds 1000 (crds/patchpolicy.ts), and a failureBudget is no higher. */
const MAX_FAILURES = 1000;
/** 50 ms: what a phase that has ended lets others do is decided once its end is stored, which no watch tells of our own writes. */
const SOON_MS = 50;

/**
 * Orders that stand go on, whatever the budgets: a node in progress always finishes. A node that is to boot begins while fewer than maxUnavailable are out of service. One counts as long as its order is
 * stored as active, so that a write that fails puts no further node out of service. An order that has just begun and has lost its slot goes, if there is none for it.
 */
export function decideReboots(views: readonly RebootView[], pacing: RebootPacing, now: number): Reboots {
  const { rollout, selected, busy, stored } = pacing;
  const orders = new Map(views.flatMap((view) => toEntry(view, nextOrder(view))));
  const failures = [...failuresOfDeleted(pacing), ...failuresOf(views, orders)];
  const haltOf = makeHalts(failures, rollout.failureBudget);
  const out = views.filter((view) => isActive(view.nodeKernel.spec.reboot) || isActive(orders.get(view.node.name)));
  const limit = limitOf(rollout.maxUnavailable, selected);
  const free = Math.max(0, limit - out.length);
  const extra = out.filter(({ node, slotted }) => !slotted && orders.get(node.name)?.phase === 'Staging').slice(0, Math.max(0, out.length - limit));
  for (const { node } of extra) orders.delete(node.name);
  const held = new Set(stored.map(({ node }) => node));
  const begins = inTurn(views.filter((view) => mayBegin(view) && !busy.has(view.node.name) && !haltOf(view.target)), held).slice(0, free);
  for (const view of begins) if (view.target) orders.set(view.node.name, beginOrder(view, view.target));
  return {
    orders,
    slots: slotsOf([...out, ...begins], orders, stored, now),
    failures: failures.slice(-MAX_FAILURES),
    waits: new Map(views.filter(({ node, target }) => target !== undefined && !orders.has(node.name)).map((view) => [view.node.name, waitOf(view, busy, haltOf(view.target))])),
    nextDeadline: firstDeadline(views, orders, now),
  };
}

function toEntry({ node }: RebootView, order: RebootOrder | undefined): readonly (readonly [string, RebootOrder])[] {
  return order === undefined ? [] : [[node.name, order]];
}

type HaltOf = (target: Target | undefined) => RebootHalt | undefined;

/** As many nodes failed of one KernelPatch, or into one kernel, as the budget has. */
function makeHalts(failures: readonly RebootFailure[], failureBudget: number): HaltOf {
  return (target) => {
    const alike = failures.filter(({ kernelPatch, release }) => kernelPatch === target?.kernelPatch || release === target?.release);
    if (alike.length < failureBudget) return undefined;
    return { failed: alike.map(({ node }) => node), kernelPatches: [...new Set(alike.map(({ kernelPatch }) => kernelPatch))] };
  };
}

function failuresOf(views: readonly RebootView[], orders: ReadonlyMap<string, RebootOrder>): readonly RebootFailure[] {
  return views.flatMap((view) => {
    const { name: node, uid } = view.node;
    const order = orders.get(node);
    if (order === undefined || !counts(order, view)) return [];
    const { id, kernelPatch, release, retry } = order;
    return [{ node, uid, order: id, kernelPatch, release, ...(retry !== undefined && { retry }) }];
  });
}

/** A node that does not come back may be deleted, and another one made in its place: what it failed with counts as long as it would if the node were there. */
function failuresOfDeleted({ told, isKnown, kernelPatches }: RebootPacing): readonly RebootFailure[] {
  return told.filter(({ uid, kernelPatch, release, retry }) => {
    const { kernels = [], retryReboot } = kernelPatches.get(kernelPatch) ?? {};
    return !isKnown(uid) && kernels.some(({ rebootInto }) => rebootInto === release) && isHeldAgainst(retry, retryReboot);
  });
}

/**
 * Those first that hold a slot already, since another leader may have promised it to them; then those that failed, which are to show whether another try is better; then those that were not tried yet; then those that were put off,
 * the longest first, so that nodes that can not be drained do not keep others from their turn. Each by name.
 */
function inTurn(views: readonly RebootView[], held: ReadonlySet<string>): readonly RebootView[] {
  const turnOf = ({ node, nodeKernel: { spec: { reboot } } }: RebootView): string => {
    if (held.has(node.name)) return '0';
    if (reboot === undefined) return '2';
    return reboot.phase === 'Failed' ? '1' : `3 ${reboot.since}`;
  };
  return views.map((view) => ({ view, turn: turnOf(view) })).sort((a, b) => compare(a.turn, b.turn) || compare(a.view.node.name, b.view.node.name)).map(({ view }) => view);
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function waitOf({ node }: RebootView, busy: ReadonlyMap<string, unknown>, halt: RebootHalt | undefined): Wait {
  if (halt !== undefined) return { kind: 'Halted', halt };
  if (!node.ready) return { kind: 'Ready' };
  return { kind: busy.has(node.name) ? 'LivePatches' : 'Slot' };
}

/** `out` are the nodes that hold one. */
function slotsOf(out: readonly RebootView[], orders: ReadonlyMap<string, RebootOrder>, stored: readonly RebootSlot[], now: number): readonly RebootSlot[] {
  return out
    .flatMap((view) => {
      const { name: node } = view.node;
      const decided = orders.get(node);
      const order = isActive(decided) ? decided : view.nodeKernel.spec.reboot;
      return order === undefined ? [] : (stored.find((slot) => slot.node === node && slot.order === order.id) ?? { node, order: order.id, since: instant(now) });
    })
    .sort((a, b) => compare(a.node, b.node));
}

function firstDeadline(views: readonly RebootView[], orders: ReadonlyMap<string, RebootOrder>, now: number): number | undefined {
  const ends = [...orders.values()].flatMap(({ phase, deadline, notAfter }) => [...(deadline === undefined ? [] : [Date.parse(deadline)]), ...(phase === 'Draining' ? [Date.parse(notAfter)] : [])]);
  const isSoon = views.some(({ node, nodeKernel: { spec: { reboot: before } }, slotted }) => {
    const after = orders.get(node.name);
    return before?.id !== after?.id || before?.phase !== after?.phase || (isActive(after) && !slotted);
  });
  const ahead = [...ends.filter((end) => end > now), ...(isSoon ? [now + SOON_MS] : [])];
  return ahead.length === 0 ? undefined : Math.min(...ahead);
}
