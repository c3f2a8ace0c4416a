/** Carries out one step of a reboot. What may take the node down is in the journal before it is asked for. */
import type { RebootOrder } from '../../crds/nodekernel.ts';
import { findKernelFiles } from '../../kernel/boot/find.ts';
import { forgetOnce, makeDefault, planOnce, startOnce } from '../../kernel/boot/setting.ts';
import type { Once } from '../../kernel/boot/setting.ts';
import { timestamp } from '../../kernel/clock.ts';
import { mergeCommandLine } from '../../kernel/cmdline.ts';
import type { Failure } from '../../kernel/errno.ts';
import { KernelPatchError } from '../../kernel/errors.ts';
import { listOrUnknown, readCommandLine } from '../../kernel/facts.ts';
import type { Host } from '../../kernel/host.ts';
import { describeInstall, findPackageManager, readInstallLog, refuseSpace, startInstall } from '../../kernel/install.ts';
import type { RebootRecord } from '../../kernel/journal.ts';
import { readKexecFacts, readStaged, stageKernel, unstageKernel } from '../../kernel/kexec.ts';
import type { KernelFiles } from '../../kernel/kexec.ts';
import { findInhibitor, goDown, refuseInhibited } from '../../kernel/shutdown.ts';
import { describeStageError, describeUnstageError, refuseCommandLine, refuseKexec } from '../../kernel/staging.ts';
import { JOURNAL_PATH } from '../journal.ts';
import type { Machine } from '../run.ts';
import { attempted, begunInstall, failed, ready, refused, staysUp, takenBack, told, triedDefault } from './memory.ts';
import type { RebootMemory } from './memory.ts';
import { describeStuck, isExpired } from './rules.ts';
import type { RebootView } from './rules.ts';
import type { RebootStepName } from './steps.ts';

type Effect = (machine: Machine, view: RebootView, order: RebootOrder) => Promise<RebootMemory>;

/**
 * The step has been tried once; the memory returned says what it told. Steps that wait, and final ones, change nothing. A failure of the journal, of a program or of the node's disk is a refusal: it is
 * tried again while the order stands.
 */
export async function runRebootStep(machine: Machine, view: RebootView, name: RebootStepName): Promise<RebootMemory> {
  try {
    if (name === 'Unstage') return await unstage(machine, view);
    if (name === 'StayUp') return await stayUp(machine, view);
    if (name === 'EndInstall') return await endInstall(machine, view);
    const effect = EFFECTS[name];
    return effect === undefined || view.order === undefined ? view.memory : await effect(machine, view, view.order);
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    const message = error.code === 'JournalUnwritable' ? `a reboot that can not be journalled is not made: ${error.message}. Free space on the file system of ${JOURNAL_PATH}, or make it writable` : error.message;
    return refused(view.memory, { reason: error.code, message }, machine.clock.monotonic());
  }
}

const EFFECTS: Readonly<Partial<Record<RebootStepName, Effect>>> = { Install: install, Stage: stage, GoDown: down, SetDefault: setDefault };

/** Everything that would stop the reboot or the package manager, and can be seen, is looked at before. */
async function install(machine: Machine, { memory, running }: RebootView, order: RebootOrder): Promise<RebootMemory> {
  const { host, clock, journal } = machine;
  const refusal = (await refuseShutdown(host)) ?? refuseJournal(journal.unreadable) ?? (await refuseSpace(host, running.release));
  if (refusal !== undefined) return standInTheWay(memory, refusal, clock.monotonic());
  const manager = await findPackageManager(host);
  if (typeof manager !== 'string') return standInTheWay(memory, manager, clock.monotonic());
  if (order.install === undefined) return memory;
  await journal.record(recordOf('Installing', order, machine));
  const failure = await startInstall(host, manager, order.install);
  if (failure === undefined) return begunInstall(memory);
  await journal.forgetReboot();
  return standInTheWay(memory, failure, clock.monotonic());
}

/** Judged by whether the kernel is there. When nothing was printed to an agent that did not begin it, the one that was about to was killed before; one for an earlier order says nothing of this one. */
async function endInstall({ host, clock, journal }: Machine, { memory, order, record }: RebootView): Promise<RebootMemory> {
  const failure = order?.install === undefined || order.id !== record?.id ? undefined : await judgeInstall(host, { order, wanted: order.install, since: record.at, begun: memory.begun });
  await journal.forgetReboot();
  return failure === undefined ? { ...memory, begun: false } : failed(memory, failure, clock.monotonic());
}

interface Installed {
  readonly order: RebootOrder;
  readonly wanted: NonNullable<RebootOrder['install']>;
  readonly since: string;
  readonly begun: boolean;
}

async function judgeInstall(host: Host, { order, wanted, since, begun }: Installed): Promise<Failure | undefined> {
  if (!('reason' in (await findKernelFiles(host, order.release)))) return undefined;
  const log = await readInstallLog(host, since);
  return log.trim() === '' && !begun ? undefined : describeInstall(log, wanted, order.release);
}

async function stage(machine: Machine, { memory, running }: RebootView, order: RebootOrder): Promise<RebootMemory> {
  const { host, clock, journal } = machine;
  const refusal = (await refuseShutdown(host)) ?? refuseJournal(journal.unreadable);
  if (refusal !== undefined) return standInTheWay(memory, refusal, clock.monotonic());
  if (order.method === 'Firmware') {
    const once = await onceFor(host, order);
    return 'reason' in once ? standInTheWay(memory, once, clock.monotonic()) : ready(memory);
  }
  const found = await prepare(machine, order);
  if ('reason' in found) return standInTheWay(memory, found, clock.monotonic());
  const { files, commandLine } = found;
  if (!isRecorded(journal.reboot, 'Staging', order, running.bootID)) await journal.record(recordOf('Staging', order, machine));
  const answer = await stageKernel(host, files, commandLine, (await readKexecFacts(host)).lockdown);
  if (answer.ok) return ready(attempted(memory));
  const failure = describeStageError(answer.errno, { release: order.release, files, facts: await readKexecFacts(host) }, answer.stderr);
  if ((await readStaged(host)) !== 'on') await journal.forgetReboot();
  return failed(attempted(memory), failure, clock.monotonic());
}

/** All that is needed for a kexec, or why it can not be had. */
async function prepare({ host }: Machine, { id, release }: RebootOrder): Promise<{ readonly files: KernelFiles; readonly commandLine: string } | Failure> {
  const refusal = refuseKexec(await readKexecFacts(host));
  if (refusal !== undefined) return refusal;
  const files = await findKernelFiles(host, release);
  if ('reason' in files) return files;
  const running = await readCommandLine(host);
  if (running === undefined) return { reason: 'CommandLineUnreadable', message: 'the command line of the running kernel (/proc/cmdline) can not be read, or is no text, so it can not be given to the next one', retry: true };
  const commandLine = mergeCommandLine(running, id);
  return refuseCommandLine(commandLine) ?? { files, commandLine };
}

async function refuseShutdown(host: Host): Promise<Failure | undefined> {
  if ((await listOrUnknown(host, '/run/systemd/system')) === undefined) return { reason: 'NoSystemd', message: 'the node does not run systemd, by which it would be shut down in order: reboot it by hand', retry: false };
  const inhibitor = await findInhibitor(host);
  return inhibitor && refuseInhibited(inhibitor);
}

function refuseJournal(unreadable: string | undefined): Failure | undefined {
  return unreadable === undefined ? undefined : { reason: 'JournalUnreadable', message: `a reboot that can not be journalled is not made: ${unreadable}. Repair the file system, or remove ${JOURNAL_PATH}`, retry: true };
}

/** What may go away is looked at again, what may not is final. */
function standInTheWay(memory: RebootMemory, failure: Failure, now: number): RebootMemory {
  return failure.retry ? refused(memory, failure, now) : failed(memory, failure, now);
}

/** The record goes last: until then the next agent knows that there may be an image. */
async function unstage({ host, clock, journal }: Machine, { memory }: RebootView): Promise<RebootMemory> {
  if (journal.reboot?.method === 'Kexec' && (await readStaged(host)) !== 'off') {
    const answer = await unstageKernel(host);
    if (!answer.ok) return refused(memory, describeUnstageError(answer.errno, await readKexecFacts(host), answer.stderr), clock.monotonic());
  }
  await journal.forgetReboot();
  return takenBack(memory);
}

/** Everything that can stop it is looked at once more, since draining the node has taken its time. */
async function down(machine: Machine, { memory, running }: RebootView, order: RebootOrder): Promise<RebootMemory> {
  const { host, clock } = machine;
  if (isExpired(order, clock.now())) return memory;
  const refusal = await refuseShutdown(host);
  if (refusal !== undefined) return standInTheWay(memory, refusal, clock.monotonic());
  if (order.method === 'Kexec' && (await readStaged(host)) === 'off') return { ...memory, staged: false };
  const once = await onceFor(host, order);
  if ('reason' in once) return standInTheWay(memory, once, clock.monotonic());
  await recordGoing(machine, order, running.bootID, once);
  const failure = (await startOnce(host, order.release, once)) ?? (await tell(host, order));
  if (failure === undefined) return told(memory);
  const left = await backToStaged(machine, order);
  return failure.reason === 'ImageGone' ? { ...memory, staged: false } : standInTheWay(memory, { ...failure, message: `${failure.message}${left}` }, clock.monotonic());
}

/** What an agent before this one has recorded stands. */
async function recordGoing(machine: Machine, order: RebootOrder, bootID: string, { needed }: Once): Promise<void> {
  const { journal } = machine;
  const isKnown = isRecorded(journal.reboot, 'GoingDown', order, bootID) && (journal.reboot?.once === true || !needed);
  if (!isKnown) await journal.record({ ...recordOf('GoingDown', order, machine), ...(needed && { once: true }) });
}

/** Another kernel is only started once by a boot loader that its default is set of afterwards. */
async function onceFor(host: Host, { method, release, setDefault: wanted }: RebootOrder): Promise<Once | Failure> {
  return method === 'Firmware' && wanted === true ? planOnce(host, release) : { needed: false };
}

/** Tried once: what stands in its way is for a person, and nothing is broken meanwhile. */
async function setDefault({ host, clock }: Machine, { memory }: RebootView, { release }: RebootOrder): Promise<RebootMemory> {
  return triedDefault(memory, await makeDefault(host, release), clock.monotonic());
}

/** A call that does not end may have been heard. */
async function tell(host: Host, { method }: RebootOrder): Promise<Failure | undefined> {
  try {
    return await goDown(host, method);
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    return error.code === 'CommandTimedOut' ? undefined : { reason: error.code, message: `${error.message}: the agent's image is broken`, retry: false };
  }
}

async function stayUp(machine: Machine, { memory }: RebootView): Promise<RebootMemory> {
  const { reboot } = machine.journal;
  const left = reboot === undefined ? '' : await backToStaged(machine, reboot);
  return failed(staysUp(memory), { reason: 'ShutdownStuck', message: `${describeStuck()}${left}`, retry: false }, machine.clock.monotonic());
}

/** The node counts as staying up: a later boot is not held against this order. Returns what is left of it, for the end of a message. */
async function backToStaged(machine: Machine, reboot: Pick<RebootRecord, 'id' | 'method' | 'release' | 'bootID'>): Promise<string> {
  const { host, journal } = machine;
  const failure = journal.reboot?.once === true ? await forgetOnce(host, reboot.release) : undefined;
  if (reboot.method === 'Firmware') await journal.forgetReboot();
  else await journal.record(recordOf('Staging', reboot, machine));
  return failure === undefined ? '' : `; the next boot starts ${reboot.release} all the same: ${failure.message}`;
}

function recordOf(kind: RebootRecord['kind'], { id, method, release, bootID }: Pick<RebootRecord, 'id' | 'method' | 'release' | 'bootID'>, { clock }: Machine): RebootRecord {
  return { kind, id, method, release, bootID, at: timestamp(clock.now()) };
}

function isRecorded(record: RebootRecord | undefined, kind: RebootRecord['kind'], { id, method }: RebootOrder, bootID: string): boolean {
  return record?.kind === kind && record.id === id && record.method === method && record.bootID === bootID;
}
