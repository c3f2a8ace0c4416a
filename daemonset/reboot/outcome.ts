/**
 * What a reboot order has led to, judged in a later boot: a boot id alone says only that some boot has ended, since a kexec that fails comes back through the firmware. Pure.
 */
import type { Hardware, KexecFailure, NodeKernelStatus, RebootOrder, RebootReport, RebootState } from '../../crds/nodekernel.ts';
import type { KernelFacts } from '../../kernel/facts.ts';
import type { Reboot, RebootRecord } from '../../kernel/journal.ts';

export type RunningKernel = Pick<KernelFacts, 'bootID' | 'release' | 'buildID' | 'rebootID'>;

export interface Outcome {
  readonly state: Extract<RebootState, 'Proven' | 'CameBackByFirmware' | 'WrongKernel' | 'OtherBoot'>;
  readonly reason: string;
  readonly message: string;
}

const OUTCOMES: ReadonlySet<RebootState> = new Set(['Proven', 'CameBackByFirmware', 'WrongKernel', 'OtherBoot']);

/** `record` is the journal's; `reported` is what was reported of this order in this boot, and stays: the journal may have been tidied since. */
export function judgeOrder(order: RebootOrder, running: RunningKernel, record: RebootRecord | undefined, reported: RebootReport | undefined): Outcome {
  if (reported !== undefined && OUTCOMES.has(reported.state)) return { state: reported.state as Outcome['state'], reason: reported.reason, message: reported.message };
  if (running.rebootID !== order.id && !isMade(record, order.id, running)) return otherBoot(order, running);
  return judge(order, running);
}

/** What the journal's reboot has led to; undefined: it is not over, or was never begun. */
export function judgeRecord(record: RebootRecord | undefined, running: RunningKernel): Outcome | undefined {
  return record !== undefined && isMade(record, record.id, running) ? judge(record, running) : undefined;
}

/**
 * The journal's reboot may be forgotten: it was not begun before its boot ended, the kernel's own command line says what it has led to for as long as that runs, or that is reported (`written`).
 */
export function isOver(record: RebootRecord, running: RunningKernel, order: RebootOrder | undefined, written: NodeKernelStatus | undefined): boolean {
  if (record.bootID === running.bootID || running.bootID === 'unknown') return false;
  const outcome = judgeRecord(record, running);
  return outcome === undefined || running.rebootID === record.id || (written?.bootID === running.bootID && isReported(record, outcome, order, written));
}

function isReported({ id }: RebootRecord, { state }: Outcome, order: RebootOrder | undefined, { reboot, hardware }: NodeKernelStatus): boolean {
  if (reboot?.id === id && !OUTCOMES.has(reboot.state)) return false;
  const remembered = state !== 'CameBackByFirmware' || hardware?.kexecFailure?.id === id;
  return remembered && (order?.id !== id || reboot?.id === id);
}

/**
 * The class of the machine with the last kexec that failed there: a new one from the journal, or the one that was reported. It is forgotten once a kexec has worked, and when the machine or its
 * firmware is another one.
 */
export function describeHardware({ hardware, ...running }: RunningKernel & Pick<KernelFacts, 'hardware'>, record: RebootRecord | undefined, reported: Hardware | undefined, at: string): Hardware {
  const { vendor, product, firmware } = hardware;
  const same = reported?.vendor === vendor && reported.product === product && reported.firmware === firmware;
  const failed = failureOf(record, running, at);
  const earlier = same ? reported.kexecFailure : undefined;
  const kexecFailure = failed !== undefined && failed.id !== earlier?.id ? failed : earlier;
  return { vendor, product, firmware, ...(kexecFailure && !isByKexec(running) && { kexecFailure }) };
}

function failureOf(record: RebootRecord | undefined, running: RunningKernel, at: string): KexecFailure | undefined {
  const outcome = judgeRecord(record, running);
  return record === undefined || outcome?.state !== 'CameBackByFirmware' ? undefined : { id: record.id, release: record.release, at, message: outcome.message };
}

function isByKexec({ rebootID }: RunningKernel): boolean {
  return rebootID !== undefined && rebootID !== 'unknown';
}

/** The node was told to go down for this order in an earlier boot. */
function isMade(record: RebootRecord | undefined, id: string, { bootID }: RunningKernel): boolean {
  return record?.kind === 'GoingDown' && record.id === id && record.bootID !== bootID && bootID !== 'unknown';
}

function judge(order: Pick<Reboot, 'id' | 'method' | 'release'> & Partial<Pick<RebootOrder, 'buildID' | 'setDefault'>>, running: RunningKernel): Outcome {
  const { id, method, release, buildID } = order;
  if (method === 'Kexec' && running.rebootID === 'unknown') return { state: 'OtherBoot', reason: 'CommandLineUnreadable', message: `kernel ${running.release} runs, and /proc/cmdline of the node, which would say whether kexec started it, can not be read` };
  if (method === 'Kexec' && running.rebootID !== id) return cameBack(release, running);
  if (running.release !== release) return { state: 'WrongKernel', reason: 'WrongRelease', message: describeWrong(order, running.release) };
  if (buildID !== undefined && running.buildID !== buildID) {
    return { state: 'WrongKernel', reason: 'WrongBuild', message: `kernel ${release} runs with build id ${running.buildID}, and ${buildID} is wanted: install the right build of it on the node` };
  }
  return { state: 'Proven', reason: `By${method}`, message: `kernel ${release} runs, started ${method === 'Kexec' ? 'by kexec' : 'by the firmware'} for this order` };
}

const TRACES = 'The console of the node, /sys/fs/pstore or /var/lib/systemd/pstore may have its last words';

function cameBack(target: string, { release }: RunningKernel): Outcome {
  if (release === target) {
    return { state: 'CameBackByFirmware', reason: 'FirmwareStartedTarget', message: `the kexec into ${target} did not come to a kernel that runs; the firmware then started the same kernel, and that runs. ${TRACES}` };
  }
  return { state: 'CameBackByFirmware', reason: 'KexecFailed', message: `the kexec into ${target} did not come to a kernel that runs: the node came back through its firmware with ${release}. ${TRACES}` };
}

function describeWrong({ method, release: target, setDefault }: Pick<Reboot, 'method' | 'release'> & Pick<RebootOrder, 'setDefault'>, release: string): string {
  if (method === 'Kexec') return `kexec started ${release}, and the files that it was given are named ${target}: install the package of ${target} again`;
  const why = `the boot loader started ${release} instead of ${target}`;
  return setDefault === true ? `${why}, which it was to start at least once: ${target} may not have come to run. ${TRACES}` : `${why}: make ${target} its default`;
}

function otherBoot({ release }: RebootOrder, running: RunningKernel): Outcome {
  const why = 'the node has booted, and not by this order';
  return running.release === release
    ? { state: 'OtherBoot', reason: 'BootedIntoTarget', message: `${why}; kernel ${release} runs all the same` }
    : { state: 'OtherBoot', reason: 'BootedIntoOther', message: `${why}: kernel ${running.release} runs` };
}
