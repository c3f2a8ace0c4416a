/** Carries out one step of the table. The only code of the agent that changes the machine. */
import type { WantedLivePatch } from '../crds/nodekernel.ts';
import { timestamp } from '../kernel/clock.ts';
import type { Clock } from '../kernel/clock.ts';
import { describeLoadError } from '../kernel/errno.ts';
import { KernelPatchError, codeOf } from '../kernel/errors.ts';
import type { KernelFacts } from '../kernel/facts.ts';
import { readUptime } from '../kernel/facts.ts';
import type { Host } from '../kernel/host.ts';
import type { ReadModule } from '../kernel/livepatch.ts';
import { insertModule, readModuleFile, removeModule, setEnabled } from '../kernel/livepatch.ts';
import { refuseFile } from '../kernel/preflight.ts';
import { checkLoad } from './check.ts';
import { JOURNAL_PATH } from './journal.ts';
import type { Journal } from './journal.ts';
import type { Memory } from './memory.ts';
import { attempted, failed, identified, refused } from './memory.ts';
import { fetchIfMissing } from './registry/keep.ts';
import type { Registries } from './registry/keep.ts';
import type { EntryView } from './rules.ts';
import type { Step, StepName } from './steps.ts';
import { voucherOf } from './trust/vouch.ts';
import type { Verification } from './trust/vouch.ts';

export interface Machine {
  readonly host: Host;
  readonly clock: Clock;
  readonly journal: Journal;
}

/** What live patches are loaded with. */
export interface LoadingMachine extends Machine {
  readonly verification: Verification;
  readonly registries: Registries;
}

/**
 * The step has been tried once; the memory returned says what it told. Where the patch stands now only the next look at the kernel says.
 * Steps that wait, and final ones, change nothing. Throws HostUnwritable when `enabled` was not taken, which a race with the kernel can do.
 */
export async function runStep(machine: LoadingMachine, view: EntryView, step: Step, confirm: Confirm): Promise<Memory> {
  const effect = EFFECTS[step.name];
  return effect === undefined ? view.memory : effect(machine, view, confirm);
}

/** Asked last before a load: why it is not begun; undefined: it is still wanted. */
export type Confirm = (view: EntryView) => Promise<{ readonly reason: string; readonly message: string } | undefined>;

type Effect = (machine: LoadingMachine, view: EntryView, confirm: Confirm) => Promise<Memory>;

const EFFECTS: Readonly<Partial<Record<StepName, Effect>>> = {
  Inspect: inspect,
  Load: load,
  Disable: (machine, view) => set(machine, view, false),
  Enable: (machine, view) => set(machine, view, true),
  RemoveModule: remove,
};

async function inspect(machine: LoadingMachine, { wanted, memory }: EntryView): Promise<Memory> {
  const { host, clock, verification } = machine;
  const unfetched = await fetchIfMissing({ ...machine.registries, host, verification }, wanted);
  if (unfetched !== undefined) return refused(memory, unfetched, clock.monotonic());
  const { finding } = await readModuleFile(host, wanted.hostPath, voucherOf(host, verification, wanted, undefined));
  const refusal = refuseFile(wanted, finding);
  return refusal === undefined ? remembering(memory, finding) : refused(memory, refusal, clock.monotonic());
}

function remembering(memory: Memory, finding: ReadModule['finding']): Memory {
  const buildID = finding.kind === 'Read' ? finding.module?.buildID : undefined;
  return buildID === undefined ? memory : identified(memory, buildID);
}

/** What was fetched, where it comes from a registry, and checked is given to the kernel, and journalled just before. */
async function load(machine: LoadingMachine, view: EntryView, confirm: Confirm): Promise<Memory> {
  const { wanted, memory, otherTransition, foreign } = view;
  const { host, clock, journal, verification } = machine;
  const unfetched = await fetchIfMissing({ ...machine.registries, host, verification }, wanted);
  if (unfetched !== undefined) return refused(memory, unfetched, clock.monotonic());
  const { facts, bytes, finding, unchecked, ...checked } = await checkLoad(machine, wanted, foreign);
  const refusal = checked.refusal ?? refuseJournal(journal, facts) ?? (await confirm(view));
  if (refusal !== undefined) return refused(memory, refusal, clock.monotonic());
  const known = remembering(memory, finding);
  const asking = attempted(known, unchecked);
  try {
    const answer = await insertModule(host, wanted.name, bytes, () => announce(machine, wanted, { facts, buildID: known.fileBuildID }));
    if (answer.ok) return asking;
    const failure = describeLoadError(answer.errno, { hostPath: wanted.hostPath, facts, otherTransition }, answer.stderr);
    return failed(asking, { ...failure, message: `${failure.message}${describeUnchecked(unchecked)}` }, clock.monotonic());
  } catch (error) {
    if (codeOf(error) === 'JournalUnwritable') return refused(memory, refuseUnjournalled((error as Error).message), clock.monotonic());
    return failed(asking, describeToolFailure(error), clock.monotonic());
  }
}

function describeUnchecked(unchecked: readonly string[]): string {
  return unchecked.length === 0 ? '' : `. Not known before the load: ${unchecked.join('; ')}`;
}

/** Without its journal the node can not tell after a crash what it was doing. */
function refuseJournal(journal: Journal, { bootID }: KernelFacts) {
  if (journal.unreadable !== undefined) {
    const message = `what is quarantined on this node can not be known, so nothing is loaded: ${journal.unreadable}. Repair the file system, or remove ${JOURNAL_PATH} to forget its quarantines`;
    return { reason: 'JournalUnreadable', message };
  }
  return bootID === 'unknown' ? refuseUnjournalled('the boot id of the node can not be read') : undefined;
}

function refuseUnjournalled(why: string) {
  return { reason: 'JournalUnwritable', message: `the load could not be journalled, so it was not tried: ${why}. Free space on the file system of ${JOURNAL_PATH}, or make it writable` };
}

async function announce({ host, clock, journal }: Machine, { name, sha256, liftQuarantine = '' }: WantedLivePatch, { facts, buildID = '' }: { facts: KernelFacts; buildID: string | undefined }): Promise<void> {
  const attempt = { name, sha256, buildID, bootID: facts.bootID, uptimeSeconds: await readUptime(host), at: timestamp(clock.now()), lift: liftQuarantine };
  await journal.record({ kind: 'Attempt', ...attempt });
}

async function set({ host }: Machine, { wanted, memory }: EntryView, enabled: boolean): Promise<Memory> {
  await setEnabled(host, wanted.name, enabled);
  return memory.undoing ? memory : attempted(memory);
}

async function remove({ host, clock }: Machine, { wanted, memory }: EntryView): Promise<Memory> {
  const asking = memory.undoing ? memory : attempted(memory);
  try {
    const answer = await removeModule(host, clock, wanted.name);
    if (answer.ok) return memory;
    const message = `the disabled module ${wanted.name} could not be removed (${answer.errno}): something still holds it; /sys/module/${wanted.name}/holders on the node may name it`;
    return failed(asking, { reason: 'RemoveFailed', message, retry: true }, clock.monotonic());
  } catch (error) {
    return failed(asking, describeToolFailure(error), clock.monotonic());
  }
}

/** insmod or rmmod itself did not work: a fault of the image or of the node, which may pass. */
function describeToolFailure(error: unknown) {
  if (!(error instanceof KernelPatchError)) throw error;
  return { reason: error.code, message: `${error.message}: the node's kernel log may say more`, retry: true };
}
