/** From the intent and the kernel's state to the next step of each wanted live patch, and to the one that is carried out now. Pure. */
import type { WantedLivePatch } from '../crds/nodekernel.ts';
import { findQuarantine } from '../kernel/journal.ts';
import type { Loads } from '../kernel/journal.ts';
import type { KpatchUtility } from '../kernel/kpatch.ts';
import type { KernelPatchState } from '../kernel/patches.ts';
import { functionsOf, phaseOf } from '../kernel/patches.ts';
import type { ForeignLivePatch } from '../kernel/preflight.ts';
import type { Memory } from './memory.ts';
import { began, memoryFor, undone } from './memory.ts';
import { describeOwner, findLeftBehind, findOwned } from './ownership.ts';
import type { Owned } from './ownership.ts';
import { identityOf, isUndone, nextStep } from './rules.ts';
import type { EntryView, Reopened } from './rules.ts';
import { describeStall } from './stalls.ts';
import type { Stall } from './stalls.ts';
import { STEPS } from './steps.ts';
import type { Step } from './steps.ts';

export interface Entry {
  /** With the memory as it is once the step has begun. */
  readonly view: EntryView;
  readonly step: Step;
  /** The step, or its reason, is another one than at the last look. */
  readonly changed: boolean;
}

/** Everything that a decision looks at besides the intent. */
export interface Seen {
  readonly patches: ReadonlyMap<string, KernelPatchState>;
  readonly memories: ReadonlyMap<string, Memory>;
  readonly journal: { readonly loads: Loads; readonly unwritable: string | undefined };
  readonly owned: readonly Owned[];
  readonly kpatch: KpatchUtility;
  readonly stall: Stall | undefined;
  readonly bootID: string;
  /** Milliseconds of the monotonic clock. */
  readonly now: number;
}

/** In the order of the list, and behind it what is left of earlier lists. */
export function decide(wanted: readonly WantedLivePatch[], seen: Seen): readonly Entry[] {
  const views = [...wanted, ...findLeftBehind(wanted, seen.patches, seen.owned)].map((entry) => lookAt(entry, seen));
  const foreign = findForeign(views, seen);
  const entries: Entry[] = [];
  for (const [index, view] of views.entries()) {
    const complete = {
      ...view,
      replacedBy: views.slice(index + 1).find(replacesEarlier)?.wanted.name,
      reopens: findReopened(view, views.filter((other, at) => at < index || other.wanted.replace)),
      foreign: foreign.filter(({ name }) => name !== view.wanted.name),
      ahead: entries.find(({ step }) => holdsUp(step))?.view.wanted.name,
    };
    const step = nextStep(complete);
    const before = complete.memory.step;
    entries.push({ view: { ...complete, memory: began(complete.memory, step, seen.now) }, step, changed: before?.reason !== step.reason });
  }
  return entries;
}

/** The one step that is carried out now; undefined: there is nothing to do. With `holds` nothing is begun, and what is in transition comes to its end. */
export function pickEffect(entries: readonly Entry[], holds = false): Entry | undefined {
  return entries.find(({ view, step }) => STEPS[step.name].kind === 'Effect' && !(holds && view.kernel.livePatch?.transition !== 'on'));
}

/** What stands behind it in the list is not begun meanwhile. What waits for others may wait for just that, and what can not be read has no end. */
function holdsUp({ name }: Step): boolean {
  return STEPS[name].kind !== 'Final' && name !== 'AwaitOther' && name !== 'AwaitTurn' && name !== 'AwaitReadable';
}

function lookAt(wanted: WantedLivePatch, { patches, memories, owned, journal, stall, bootID, now }: Seen): EntryView {
  const kernel = patches.get(wanted.name) ?? { name: wanted.name, livePatch: undefined, module: undefined };
  const otherTransition = [...patches.values()].find(({ name, livePatch }) => name !== wanted.name && livePatch?.transition === 'on')?.name;
  const load = journal.loads.get(wanted.sha256);
  const memory = memoryFor(wanted, memories.get(wanted.name));
  const written = owned.find(({ name, sha256 }) => name === wanted.name && sha256 === wanted.sha256);
  const view: EntryView = {
    wanted,
    kernel,
    memory: { ...memory, fileBuildID: memory.fileBuildID ?? written?.buildID },
    otherTransition,
    replacedBy: undefined,
    reopens: undefined,
    foreign: [],
    ahead: undefined,
    heldBy: stall && describeStall(stall),
    quarantine: findQuarantine(load, bootID, wanted.liftQuarantine ?? ''),
    uncommitted: load?.outcome === 'Open' ? journal.unwritable : undefined,
    now,
  };
  return view.memory.undoing && isUndone(view) ? { ...view, memory: undone(view.memory, now) } : view;
}

/** Live patches that are enabled, or may be, and are not ours. What can not be told to be ours is not. */
function findForeign(views: readonly EntryView[], { patches, owned, kpatch }: Seen): readonly ForeignLivePatch[] {
  return [...patches.values()].flatMap((patch): ForeignLivePatch[] => {
    const phase = phaseOf(patch);
    const view = views.find(({ wanted }) => wanted.name === patch.name);
    const ours = view === undefined ? findOwned(patch, owned) !== undefined : identityOf(view) === 'Ours';
    if (ours || (phase !== 'Enabled' && phase !== 'Unreadable')) return [];
    return [{ name: patch.name, owner: describeOwner(patch.name, kpatch), functions: functionsOf(patch) }];
  });
}

/** Of the live patches that loading this one would replace for good, the first that closes more. Without its CVEs nothing is known of either. */
function findReopened({ wanted }: EntryView, replaced: readonly EntryView[]): Reopened | undefined {
  const { cves, desired, replace } = wanted;
  if (cves === undefined || desired !== 'Loaded' || !replace) return undefined;
  for (const { wanted: other, kernel } of replaced) {
    const open = other.desired === 'Loaded' && phaseOf(kernel) === 'Enabled' ? (other.cves ?? []).filter((cve) => !cves.includes(cve)) : [];
    if (open.length > 0) return { livePatch: other.name, cves: open };
  }
  return undefined;
}

/** One that is not compared with its file yet counts, so that an earlier patch is not loaded over it meanwhile. */
function replacesEarlier(view: EntryView): boolean {
  return view.wanted.desired === 'Loaded' && view.wanted.replace && phaseOf(view.kernel) === 'Enabled' && identityOf(view) !== 'Foreign';
}
