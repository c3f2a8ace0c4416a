/** Whose a live patch in the kernel is: ours by what was written down of its load and the build id that the kernel shows, never by its name. Pure. */
import type { NodeKernelStatus, WantedLivePatch } from '../crds/nodekernel.ts';
import type { Loads } from '../kernel/journal.ts';
import type { KpatchUtility } from '../kernel/kpatch.ts';
import type { KernelPatchState, Phase } from '../kernel/patches.ts';
import { phaseOf } from '../kernel/patches.ts';

/** A module that was loaded for a KernelPatch in this boot. */
export interface Owned {
  readonly name: string;
  readonly buildID: string;
  readonly sha256: string;
  /** Empty when only the journal knows the module. */
  readonly kernelPatch: string;
}

/** From the last report, which is kept by the API server for as long as the module is there, and from the journal, which knows a load before it is reported. */
export function ownedOf(status: NodeKernelStatus | undefined, loads: Loads, bootID: string): readonly Owned[] {
  if (bootID === 'unknown') return [];
  const reported = (status?.bootID === bootID ? status.livePatches : []).flatMap(({ name, origin, buildID, sha256, kernelPatch = '' }): Owned[] =>
    origin === 'KernelPatch' && buildID !== undefined && sha256 !== undefined ? [{ name, buildID, sha256, kernelPatch }] : [],
  );
  const journalled = [...loads.values()].filter((load) => load.bootID === bootID && load.outcome !== 'Unloaded').map(({ name, buildID, sha256 }): Owned => ({ name, buildID, sha256, kernelPatch: '' }));
  return [...reported, ...journalled.filter(({ name, buildID }) => !reported.some((each) => each.name === name && each.buildID === buildID))];
}

/** What was written down of the module that the kernel has under this name; undefined: it is not ours. */
export function findOwned({ name, module }: KernelPatchState, owned: readonly Owned[]): Owned | undefined {
  return owned.find((each) => each.name === name && each.buildID === module?.buildID);
}

const DISABLED: ReadonlySet<Phase> = new Set(['Leftover', 'Disabled', 'Coming']);

/**
 * Modules of ours that nothing asks for any more and that the kernel has disabled, most often by a cumulative live patch that replaced them: they
 * are to be removed, which changes nothing that runs. One that is still enabled is left alone.
 */
export function findLeftBehind(wanted: readonly WantedLivePatch[], patches: ReadonlyMap<string, KernelPatchState>, owned: readonly Owned[]): readonly WantedLivePatch[] {
  return [...patches.values()].flatMap((patch): WantedLivePatch[] => {
    const own = findOwned(patch, owned);
    if (own === undefined || !DISABLED.has(phaseOf(patch)) || wanted.some(({ name }) => name === patch.name)) return [];
    const { name, kernelPatch, sha256 } = own;
    return [{ name, kernelPatch, desired: 'Absent', release: '', hostPath: '', sha256, replace: false, reversible: true }];
  });
}

/** Who loaded a live patch that is not ours, to stand behind "loaded by". */
export function describeOwner(name: string, { directory, modules }: KpatchUtility): string {
  return modules.includes(name) ? `the kpatch utility, which has it in ${directory}` : 'somebody else';
}
