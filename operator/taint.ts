/** The taint that keeps new pods off a node that has booted, until it is as patched as before. Pure. */
import type { NodeKernelSpec } from '../crds/nodekernel.ts';
import type { NodeView, View } from './observe.ts';
import type { Candidate } from './rollout.ts';
import type { Verdict } from './verdict.ts';

/** A taint as a Node has it in spec.taints. */
export interface Taint {
  readonly key: string;
  readonly effect: string;
}

const UNPATCHED: Taint = { key: 'kernelpatch.dev/unpatched', effect: 'NoSchedule' };

export interface TaintChange {
  readonly node: NodeView;
  /** The KernelPatches that hold the taint; empty: it goes. */
  readonly holders: ReadonlySet<string>;
}

export function isTainted(taints: readonly Taint[]): boolean {
  return taints.some(isOurs);
}

/** All other taints stay as they are, in their order. */
export function withTaint(taints: readonly Taint[], wanted: boolean): readonly Taint[] {
  const others = taints.filter((taint) => !isOurs(taint));
  return wanted ? [...others, UNPATCHED] : others;
}

function isOurs({ key, effect }: Taint): boolean {
  return key === UNPATCHED.key && effect === UNPATCHED.effect;
}

/**
 * The KernelPatches that hold a node's taint: those whose live patch the node was asked to have when it booted, until they are closed. A boot
 * is seen by the boot id of the stored plan, so one that happened while no operator ran is seen as well, and a patch that comes later in the same
 * boot holds nothing. They are stored with the plan (holdsTaint), so a new leader knows them. One that is withdrawn or no longer selected lets go, since
 * the node can not become as before.
 */
export function holdersOf({ plan, nodeKernel }: Pick<Candidate, 'plan' | 'nodeKernel'>, verdicts: readonly Verdict[]): ReadonlySet<string> {
  const { mode, livePatch } = plan.policy.spec;
  if (mode === 'Plan' || !livePatch.taintUntilPatched) return new Set();
  const before = patchedBefore(nodeKernel?.spec ?? {}, plan.bootID);
  const withdrawn = new Set(plan.patches.filter(({ kernelPatch }) => kernelPatch.spec.withdrawn).map(({ kernelPatch }) => kernelPatch.metadata.name));
  const open = verdicts.filter(({ kernelPatch, verdict }) => verdict !== 'Closed' && !withdrawn.has(kernelPatch)).map(({ kernelPatch }) => kernelPatch);
  return new Set(open.filter((kernelPatch) => before.has(kernelPatch)));
}

function patchedBefore({ plan, livePatches = [] }: NodeKernelSpec, bootID: string): ReadonlySet<string> {
  const held = plan?.patches.filter(({ holdsTaint }) => holdsTaint).map(({ kernelPatch }) => kernelPatch) ?? [];
  const asked = isOtherBoot(plan?.bootID, bootID) ? livePatches.filter(({ desired }) => desired === 'Loaded').map(({ kernelPatch }) => kernelPatch) : [];
  return new Set([...held, ...asked]);
}

function isOtherBoot(before = 'unknown', now: string): boolean {
  return before !== 'unknown' && now !== 'unknown' && before !== now;
}

/** What differs between the nodes and the holders of their taints, by node; a node without any, of whatever policy or none, has no such taint. */
export function decideTaints(view: Pick<View, 'nodes'>, holders: ReadonlyMap<string, ReadonlySet<string>>): readonly TaintChange[] {
  return [...view.nodes.values()].flatMap((node) => {
    const own = holders.get(node.name) ?? new Set<string>();
    return own.size > 0 === node.tainted ? [] : [{ node, holders: own }];
  });
}
