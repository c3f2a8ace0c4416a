/** When a change is written: what a node, the rollout or a person waits for at once; counts on the way and the plans of nodes whose turn has not come a little later. */
import { isDeepStrictEqual } from 'node:util';
import type { KernelPatchStatus } from '../crds/kernelpatch.ts';
import type { NodeKernelSpec } from '../crds/nodekernel.ts';
import type { PatchPolicyStatus } from '../crds/patchpolicy.ts';
import { conditionOf } from './conditions.ts';

/** 2 s: soon enough for `kubectl get -w`, and most rollouts over a few nodes end within it, so that each object is written once and not twice. */
const MINOR_AFTER_MS = 2000;

type AnyStatus = KernelPatchStatus | PatchPolicyStatus;

/** True when the agent has anything to do because of it; false when only the plan is told differently. */
export function isMajorIntent(before: NodeKernelSpec, after: NodeKernelSpec): boolean {
  const { reboot: was } = before;
  const { reboot: is } = after;
  return before.loadAtBoot !== after.loadAtBoot || was?.id !== is?.id || was?.phase !== is?.phase || !isDeepStrictEqual(before.livePatches, after.livePatches);
}

/** True when the status says that all is closed or no longer is, that it has come to a stand, or which nodes may start. */
export function isMajorStatus(before: AnyStatus | undefined, after: AnyStatus): boolean {
  const turned = (type: string) => (conditionOf(before, type)?.status === 'True') !== (conditionOf(after, type)?.status === 'True');
  return turned('Ready') || (turned('Stalled') && conditionOf(after, 'Stalled')?.status === 'True') || takesSlot(before, after);
}

function takesSlot(before: AnyStatus | undefined, after: AnyStatus): boolean {
  const held = new Set(slotsOf(before));
  return slotsOf(after).some((slot) => !held.has(slot));
}

function slotsOf(status: AnyStatus | undefined): readonly string[] {
  if (status === undefined || !('slots' in status)) return [];
  return [...(status.slots ?? []).map(({ node, since }) => `${node} ${since}`), ...(status.rebootSlots ?? []).map(({ node, order }) => `${node} ${order}`)];
}

export interface Pace {
  /** In how many milliseconds the change of this object is to be written; 0 is now. */
  waitMs(key: string, major: boolean, now: number): number;
  /** Forgets changes of all objects but these, since they were written or undone. */
  keepOnly(keys: ReadonlySet<string>): void;
}

export function makePace(): Pace {
  const firstSeen = new Map<string, number>();
  return {
    waitMs(key, major, now) {
      const since = firstSeen.get(key) ?? now;
      firstSeen.set(key, since);
      return major ? 0 : Math.max(0, since + MINOR_AFTER_MS - now);
    },
    keepOnly(keys) {
      for (const key of firstSeen.keys()) if (!keys.has(key)) firstSeen.delete(key);
    },
  };
}
