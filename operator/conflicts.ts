/** Live patches of several KernelPatches on one node, and of others there: which of them can be there together. Pure. */
import type { KernelPatch, LivePatchSpec } from '../crds/kernelpatch.ts';
import type { LivePatchReport, NodeKernelStatus, WantedLivePatch } from '../crds/nodekernel.ts';
import { nameSome } from './names.ts';
import type { PatchPlan } from './plan.ts';

type Reports = readonly LivePatchReport[];

/**
 * The same decisions, but for those whose live patch can not be loaded beside the others: taken over by a newer one, or Blocked. Oldest KernelPatch
 * first, as given. `status` is what the node has now.
 */
export function settleConflicts(patches: readonly PatchPlan[], { livePatches }: Pick<NodeKernelStatus, 'livePatches'>): readonly PatchPlan[] {
  const beside = settleForeign(settleNames(patches), livePatches);
  return settleReplacements(settleIrreversible(beside, livePatches), livePatches);
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
 * A cumulative live patch would disable those of others, so it is not begun. What has been begun stays: others may load beside it, and the agent says
 * what has become of it. One that has the name of a wanted module may be just that, loaded before the node was of a policy: only the agent can compare it.
 */
function settleForeign(patches: readonly PatchPlan[], reports: Reports): readonly PatchPlan[] {
  const wanted = new Set(patches.map(({ livePatch }) => livePatch?.name));
  const foreign = reports.filter(({ name, origin, state }) => origin === 'Foreign' && !wanted.has(name) && (state === 'Active' || state === 'Unknown')).map(({ name }) => name);
  if (foreign.length === 0) return patches;
  return patches.map((patch) => {
    const { livePatch } = patch;
    if (!livePatch || !isCumulative(patch) || isBegun(livePatch, reports)) return patch;
    return block(patch, 'WouldReplaceForeign', `live patch ${livePatch.name} is cumulative, and loading it would disable ${nameSome(foreign)}, which somebody else loaded: have that unloaded on the node, or give a live patch that is built without replace, and set replace: false`);
  });
}

/** A withdrawn live patch that can not be disabled stays until the next boot, so no older one takes its place. */
function settleIrreversible(patches: readonly PatchPlan[], reports: Reports): readonly PatchPlan[] {
  const last = patches.findLastIndex(({ kernelPatch }) => irreversibleOf(kernelPatch).some((each) => isActive(each, reports)));
  const stays = patches[last]?.kernelPatch.metadata.name;
  return patches.map((patch, index) => {
    const { livePatch } = patch;
    if (index >= last || !livePatch || !isCumulative(patch) || isActive(livePatch, reports)) return patch;
    return block(patch, 'NotReversible', `the live patch of the newer KernelPatch ${stays} is withdrawn and not reversible: it stays until the node boots, and ${livePatch.name}, which would replace it, is not loaded before`);
  });
}

function irreversibleOf({ spec }: KernelPatch): readonly LivePatchSpec[] {
  return spec.withdrawn ? spec.kernels.flatMap(({ livePatch }) => (livePatch?.reversible === false ? [livePatch] : [])) : [];
}

/**
 * Loading a live patch with replace disables all that are there. Of several the newest is taken that closes what the one there closes. It closes an
 * older one's CVEs when it lists them all, as a cumulative live patch does; an older one that it does not cover is Blocked, since the two would replace
 * each other for ever.
 */
function settleReplacements(patches: readonly PatchPlan[], reports: Reports): readonly PatchPlan[] {
  const cumulative = patches.filter(isCumulative);
  const active = cumulative.filter(({ livePatch }) => livePatch && isActive(livePatch, reports));
  const taken = cumulative.findLast((patch) => active.every((other) => missingIn(patch, other).length === 0)) ?? cumulative.at(-1);
  if (!taken) return patches;
  const at = patches.indexOf(taken);
  return patches.map((patch, index) => {
    if (patch.livePatch?.desired !== 'Loaded' || patch.livePatch.name === taken.livePatch?.name) return patch;
    return index < at ? settleOlder(patch, taken) : settleNewer(patch, active);
  });
}

/** One that is not cumulative is loaded again behind the newer one, unless that one closes its CVEs: then it would bring old functions back. */
function settleOlder(patch: PatchPlan, newer: PatchPlan): PatchPlan {
  const [own, winner, name] = [patch.livePatch, newer.livePatch, newer.kernelPatch.metadata.name];
  const missing = missingIn(newer, patch);
  if (own && winner && missing.length === 0) {
    return { ...patch, livePatch: winner, replaces: own, reason: 'ReplacedByNewer', message: `live patch ${winner.name} of KernelPatch ${name} replaces ${own.name} and closes its CVEs too` };
  }
  if (!isCumulative(patch)) return patch;
  return block(patch, 'LivePatchReplaceConflict', `live patch ${winner?.name} of the newer KernelPatch ${name} replaces ${own?.name} and does not list ${missing.join(', ')}: list them there if it closes them, or set replace: false`);
}

function settleNewer(patch: PatchPlan, active: readonly PatchPlan[]): PatchPlan {
  const reopened = isCumulative(patch) ? active.find((other) => missingIn(patch, other).length > 0) : undefined;
  if (!reopened) return patch;
  const { kernelPatch, livePatch } = reopened;
  const missing = missingIn(patch, reopened).join(', ');
  return block(patch, 'WouldReopen', `live patch ${patch.livePatch?.name} replaces ${livePatch?.name}, which is active here, and does not list ${missing}, which that closes: list them if it does, or withdraw KernelPatch ${kernelPatch.metadata.name} first`);
}

function isCumulative({ livePatch }: PatchPlan): boolean {
  return livePatch?.desired === 'Loaded' && livePatch.replace;
}

/** CVEs of `other` that `patch` does not list. */
function missingIn({ kernelPatch }: PatchPlan, other: PatchPlan): readonly string[] {
  const listed = new Set(kernelPatch.spec.cves.map(({ id }) => id));
  return other.kernelPatch.spec.cves.map(({ id }) => id).filter((id) => !listed.has(id));
}

/** What the agent says of this file. */
function reportOf({ name, sha256 }: Pick<LivePatchSpec, 'name' | 'sha256'>, reports: Reports): LivePatchReport | undefined {
  return reports.find((report) => report.name === name && report.origin === 'KernelPatch' && report.sha256 === sha256);
}

function isActive(livePatch: Pick<LivePatchSpec, 'name' | 'sha256'>, reports: Reports): boolean {
  return reportOf(livePatch, reports)?.state === 'Active';
}

/** The kernel was asked for it, so it may be there, or is known to fail. */
function isBegun(livePatch: WantedLivePatch, reports: Reports): boolean {
  const state = reportOf(livePatch, reports)?.state;
  return state !== undefined && state !== 'Refused';
}

/** Blocked, and without a live patch to load. */
function block({ kernelPatch, fixedIn }: PatchPlan, reason: string, message: string): PatchPlan {
  return { kernelPatch, action: 'Blocked', reason, message, ...(fixedIn !== undefined && { fixedIn }) };
}
