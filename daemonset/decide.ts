/** From the intent and the kernel's state to the next step of each wanted live patch, and to the one that is carried out now. Pure. */
import type { WantedLivePatch } from '../crds/nodekernel.ts';
import { findQuarantine } from '../kernel/journal.ts';
import type { Loads } from '../kernel/journal.ts';
import type { KernelPatchState } from '../kernel/patches.ts';
import { phaseOf } from '../kernel/patches.ts';
import type { Memory } from './memory.ts';
import { began, memoryFor, undone } from './memory.ts';
import { identityOf, isUndone, nextStep } from './rules.ts';
import type { EntryView, Reopened } from './rules.ts';
import { describeStall } from './stalls.ts';
import type { Stall } from './stalls.ts';
import { STEPS } from './steps.ts';
import type { Step, StepName } from './steps.ts';

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
  readonly stall: Stall | undefined;
  readonly bootID: string;
  /** Milliseconds of the monotonic clock. */
  readonly now: number;
}

export function decide(wanted: readonly WantedLivePatch[], seen: Seen): readonly Entry[] {
  const { now } = seen;
  const views = wanted.map((entry) => lookAt(entry, seen));
  return views.map((view, index) => {
    const complete = { ...view, replacedBy: views.slice(index + 1).find(replacesEarlier)?.wanted.name, reopens: findReopened(view, views.filter((other, at) => at < index || other.wanted.replace)) };
    const step = nextStep(complete);
    const before = complete.memory.step;
    return { view: { ...complete, memory: began(complete.memory, step, now) }, step, changed: before?.reason !== step.reason };
  });
}

/** In the order of the list, and none before the kernel has finished with the one in front of it. undefined: there is nothing to do now. */
export function pickEffect(entries: readonly Entry[]): Entry | undefined {
  const first = entries.find(({ step }) => STEPS[step.name].kind === 'Effect' || KERNEL_WAITS.has(step.name));
  return first !== undefined && STEPS[first.step.name].kind === 'Effect' ? first : undefined;
}

/** While these last, the kernel would refuse another change anyway. */
const KERNEL_WAITS: ReadonlySet<StepName> = new Set(['AwaitModule', 'AwaitTransition', 'AwaitUnload', 'AwaitOther']);

function lookAt(wanted: WantedLivePatch, { patches, memories, journal, stall, bootID, now }: Seen): EntryView {
  const kernel = patches.get(wanted.name) ?? { name: wanted.name, livePatch: undefined, module: undefined };
  const otherTransition = [...patches.values()].find(({ name, livePatch }) => name !== wanted.name && livePatch?.transition === 'on')?.name;
  const load = journal.loads.get(wanted.sha256);
  const view: EntryView = {
    wanted,
    kernel,
    memory: memoryFor(wanted, memories.get(wanted.name)),
    otherTransition,
    replacedBy: undefined,
    reopens: undefined,
    heldBy: stall && describeStall(stall),
    quarantine: findQuarantine(load, bootID, wanted.liftQuarantine ?? ''),
    uncommitted: load?.outcome === 'Open' ? journal.unwritable : undefined,
    now,
  };
  return view.memory.undoing && isUndone(view) ? { ...view, memory: undone(view.memory, now) } : view;
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
