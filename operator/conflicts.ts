/** Live patches of several KernelPatches on one node: which of them can be there together. */
import type { WantedLivePatch } from '../crds/nodekernel.ts';
import type { PatchPlan } from './plan.ts';

/** The same decisions, but for those whose live patch can not be loaded beside the others: taken over by a newer one, or Blocked. Oldest KernelPatch first, as given. */
export function settleConflicts(patches: readonly PatchPlan[]): readonly PatchPlan[] {
  return settleReplacements(settleNames(patches));
}

/** The kernel has one module of a name. Different files under one name, or one to be loaded and removed at once: neither is loaded. */
function settleNames(patches: readonly PatchPlan[]): readonly PatchPlan[] {
  const byName = Map.groupBy(patches.filter(({ livePatch }) => livePatch), ({ livePatch }) => livePatch?.name);
  return patches.map((patch) => {
    const { livePatch } = patch;
    if (livePatch?.desired !== 'Loaded') return patch;
    const rival = byName.get(livePatch.name)?.find((other) => other.livePatch && !sameModule(other.livePatch, livePatch));
    if (!rival) return patch;
    const names = [patch, rival].map(({ kernelPatch }) => kernelPatch.metadata.name).sort();
    return block(patch, 'LivePatchNameConflict', `KernelPatches ${names.join(' and ')} both name their module ${livePatch.name} and mean different files or the opposite: give one another module name`);
  });
}

function sameModule(a: WantedLivePatch, b: WantedLivePatch): boolean {
  return a.sha256 === b.sha256 && a.desired === b.desired;
}

/**
 * Loading a live patch with replace disables all that are there. Of several the newest is taken. It closes an older one's CVEs when it
 * lists them all, as a cumulative live patch does; an older one that it does not cover is Blocked, since the two would replace each other for ever.
 */
function settleReplacements(patches: readonly PatchPlan[]): readonly PatchPlan[] {
  const newest = patches.findLast(({ livePatch }) => livePatch?.desired === 'Loaded' && livePatch.replace);
  if (!newest?.livePatch) return patches;
  const winner = newest.livePatch;
  const closes = new Set(newest.kernelPatch.spec.cves.map(({ id }) => id));
  return patches.map((patch) => {
    const { livePatch, kernelPatch } = patch;
    if (livePatch?.desired !== 'Loaded' || !livePatch.replace || livePatch.name === winner.name) return patch;
    const missing = kernelPatch.spec.cves.filter(({ id }) => !closes.has(id)).map(({ id }) => id);
    const newer = newest.kernelPatch.metadata.name;
    if (missing.length === 0) return { ...patch, livePatch: winner, reason: 'ReplacedByNewer', message: `live patch ${winner.name} of KernelPatch ${newer} replaces ${livePatch.name} and closes its CVEs too` };
    return block(patch, 'LivePatchReplaceConflict', `live patch ${winner.name} of the newer KernelPatch ${newer} replaces ${livePatch.name} and does not list ${missing.join(', ')}: list them there if it closes them, or set replace: false`);
  });
}

/** Blocked, and without a live patch to load. */
function block({ kernelPatch }: PatchPlan, reason: string, message: string): PatchPlan {
  return { kernelPatch, action: 'Blocked', reason, message };
}
