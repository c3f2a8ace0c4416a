/** Live patches and their modules as sysfs shows them (Documentation/ABI/testing/sysfs-kernel-livepatch). */
import type { Switch } from './facts.ts';
import { SYSFS_BYTES, listOrUnknown, readSwitch, readText } from './facts.ts';
import { codeOf } from './errors.ts';
import type { Host } from './host.ts';
import { parseBuildID } from './notes.ts';

export interface PatchedObject {
  /** vmlinux, or the name of a module. */
  readonly name: string;
  /** unknown before 6.1, which has no such file. */
  readonly patched: Switch;
  /** A patch of a module that is not loaded is complete: the kernel patches the module when it comes. */
  readonly loaded: boolean;
  readonly functions: readonly string[];
}

export interface LivePatch {
  readonly enabled: Switch;
  /** On: tasks are still being moved over, in the direction that `enabled` says. */
  readonly transition: Switch;
  /** On: it is cumulative and has disabled all that were there before. unknown before 6.11, which has no such file. */
  readonly replace: Switch;
  readonly objects: readonly PatchedObject[];
}

export interface LoadedModule {
  /** coming: insmod is still running; going: rmmod is. */
  readonly initState: 'coming' | 'live' | 'going' | 'unknown';
  readonly buildID: string;
}

/** What the kernel has under one name. Both are undefined when it has nothing. */
export interface KernelPatchState {
  readonly name: string;
  readonly livePatch: LivePatch | undefined;
  readonly module: LoadedModule | undefined;
}

/**
 * Where a name stands. Coming: insmod or rmmod is running. Leftover: the module is there without a live patch, disabled or replaced by a later one. Disabled: as Leftover, on
 * kernels that keep the directory until rmmod (before 5.1). Unreadable: a live patch is there and its files can not be read.
 */
export type Phase = 'Gone' | 'Coming' | 'Enabling' | 'Enabled' | 'Disabling' | 'Disabled' | 'Leftover' | 'Unreadable';

export const LIVEPATCH_DIRECTORY = '/sys/kernel/livepatch';

/** Every live patch of the kernel, and every one of `names`, in the order of their names. Throws HostUnreadable: not seen is not gone. */
export async function readPatches(host: Host, names: readonly string[]): Promise<ReadonlyMap<string, KernelPatchState>> {
  const shown = ((await host.list(LIVEPATCH_DIRECTORY)) ?? []).map(({ name }) => name);
  const states = new Map<string, KernelPatchState>();
  for (const name of new Set([...shown, ...names].sort())) {
    const livePatch = shown.includes(name) ? await readLivePatch(host, name) : undefined;
    states.set(name, { name, livePatch, module: await readModule(host, name) });
  }
  return states;
}

export function phaseOf({ livePatch, module }: KernelPatchState): Phase {
  const moving = module?.initState === 'coming' || module?.initState === 'going';
  if (moving && livePatch?.enabled !== 'on') return 'Coming';
  if (livePatch !== undefined) return phaseOfLivePatch(livePatch);
  return module === undefined ? 'Gone' : 'Leftover';
}

function phaseOfLivePatch({ enabled, transition }: LivePatch): Phase {
  if (enabled === 'unknown' || transition === 'unknown') return 'Unreadable';
  if (transition === 'on') return enabled === 'on' ? 'Enabling' : 'Disabling';
  return enabled === 'on' ? 'Enabled' : 'Disabled';
}

/** All functions that it patches, also those of modules that are not loaded, as vmlinux:version_proc_show. */
export function functionsOf({ livePatch }: KernelPatchState): readonly string[] {
  return livePatch?.objects.flatMap(({ functions }) => functions) ?? [];
}

/** The kernel runs the new functions of this object. Before 6.1 it does not tell, and patches whatever is loaded. */
export function isPatched({ patched, loaded }: PatchedObject): boolean {
  return patched === 'on' || (patched === 'unknown' && loaded);
}

/** The first loaded object that the kernel shows as not patched; undefined when there is none. */
export function findUnpatched(livePatch: LivePatch): string | undefined {
  return livePatch.objects.find(({ loaded, patched }) => loaded && patched === 'off')?.name;
}

async function readLivePatch(host: Host, name: string): Promise<LivePatch> {
  const directory = `${LIVEPATCH_DIRECTORY}/${name}`;
  const objects: PatchedObject[] = [];
  for (const entry of (await listOrUnknown(host, directory)) ?? []) {
    if (entry.directory) objects.push(await readObject(host, directory, entry.name));
  }
  return {
    enabled: await readSwitch(host, `${directory}/enabled`),
    transition: await readSwitch(host, `${directory}/transition`),
    replace: await readSwitch(host, `${directory}/replace`),
    objects,
  };
}

async function readObject(host: Host, directory: string, name: string): Promise<PatchedObject> {
  const entries = (await listOrUnknown(host, `${directory}/${name}`)) ?? [];
  return {
    name,
    patched: await readSwitch(host, `${directory}/${name}/patched`),
    loaded: await isObjectLoaded(host, name),
    functions: entries.filter((entry) => entry.directory).map((entry) => `${name}:${entry.name.replace(/,1$/, '')}`),
  };
}

/** vmlinux always is. */
export async function isObjectLoaded(host: Host, name: string): Promise<boolean> {
  return name === 'vmlinux' || (await readText(host, `/sys/module/${name}/initstate`)) === 'live';
}

async function readModule(host: Host, name: string): Promise<LoadedModule | undefined> {
  const directory = `/sys/module/${name}`;
  if ((await host.list(directory)) === undefined) return undefined;
  const initState = await readText(host, `${directory}/initstate`);
  return {
    initState: initState === 'coming' || initState === 'live' || initState === 'going' ? initState : 'unknown',
    buildID: await readModuleBuildID(host, directory),
  };
}

async function readModuleBuildID(host: Host, directory: string): Promise<string> {
  try {
    const notes = await host.read(`${directory}/notes/.note.gnu.build-id`, SYSFS_BYTES);
    return (notes && parseBuildID(notes, host.littleEndian)) ?? 'unknown';
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return 'unknown';
  }
}
