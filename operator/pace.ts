/** When a change is written: what a node, the rollout or a person waits for at once; counts on the way and the plans of nodes whose turn has not come a little later. */
import { isDeepStrictEqual } from 'node:util';
import type { KernelPatchStatus } from '../crds/kernelpatch.ts';
import { isActive } from '../crds/nodekernel.ts';
import type { NodeKernelSpec } from '../crds/nodekernel.ts';
import type { PatchPolicyStatus } from '../crds/patchpolicy.ts';
import { conditionOf } from './conditions.ts';

/** Now: somebody waits for it. Soon, Later: it only tells. */
export type Urgency = 'Now' | 'Soon' | 'Later';

/**
 * 2 s: soon enough for `kubectl get -w`, and most rollouts over a few nodes end within it, so that each object is written once and not twice. 20 s, of a node whose reboot is under way: what its drain waits for is told when it waits, and
 * most of what is between two phases, or between kubelet's first word of a boot and the agent's, is over by then.
 */
const AFTER_MS: Readonly<Record<Urgency, number>> = { Now: 0, Soon: 2000, Later: 20_000 };

type AnyStatus = KernelPatchStatus | PatchPolicyStatus;

/** Now when the agent has anything to do because of it; later when only the plan is told differently. */
export function urgencyOfIntent(before: NodeKernelSpec, after: NodeKernelSpec): Urgency {
  const { reboot: was } = before;
  const { reboot: is } = after;
  const asks = !isDeepStrictEqual(before.livePatches, after.livePatches) || !isDeepStrictEqual(before.start, after.start);
  if (asks || before.loadAtBoot !== after.loadAtBoot || was?.id !== is?.id || was?.phase !== is?.phase) return 'Now';
  return isActive(is) ? 'Later' : 'Soon';
}

/** Now when the status says that all is closed or no longer is, that it has come to a stand, which nodes may start, or which failed. */
export function urgencyOfStatus(before: AnyStatus | undefined, after: AnyStatus): Urgency {
  const turned = (type: string) => (conditionOf(before, type)?.status === 'True') !== (conditionOf(after, type)?.status === 'True');
  return turned('Ready') || (turned('Stalled') && conditionOf(after, 'Stalled')?.status === 'True') || takesSlot(before, after) || tellsFailure(before, after) ? 'Now' : 'Soon';
}

function takesSlot(before: AnyStatus | undefined, after: AnyStatus): boolean {
  const held = new Set(slotsOf(before));
  return slotsOf(after).some((slot) => !held.has(slot));
}

function slotsOf(status: AnyStatus | undefined): readonly string[] {
  if (status === undefined || !('slots' in status)) return [];
  return [...(status.slots ?? []).map(({ node, since }) => `${node} ${since}`), ...(status.rebootSlots ?? []).map(({ node, order }) => `${node} ${order}`)];
}

/** It has to outlive its node. */
function tellsFailure(before: AnyStatus | undefined, after: AnyStatus): boolean {
  const told = new Set(failuresOf(before));
  return failuresOf(after).some((order) => !told.has(order));
}

function failuresOf(status: AnyStatus | undefined): readonly string[] {
  return status !== undefined && 'slots' in status ? (status.rebootFailures ?? []).map(({ order }) => order) : [];
}

export interface Pace {
  /** In how many milliseconds the change of this object is to be written; 0 is now. */
  waitMs(key: string, urgency: Urgency, now: number): number;
  /** Forgets changes of all objects but these, since they were written or undone. */
  keepOnly(keys: ReadonlySet<string>): void;
}

export function makePace(): Pace {
  const firstSeen = new Map<string, number>();
  return {
    waitMs(key, urgency, now) {
      const since = firstSeen.get(key) ?? now;
      firstSeen.set(key, since);
      return urgency === 'Now' ? 0 : Math.max(0, since + AFTER_MS[urgency] - now);
    },
    keepOnly(keys) {
      for (const key of firstSeen.keys()) if (!keys.has(key)) firstSeen.delete(key);
    },
  };
}
