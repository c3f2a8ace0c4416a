/**
 * The table: what a reboot order needs next, from where the node stands. Pure; the clocks are inside the view. Without an order the node is never rebooted, and an order of another boot is only judged.
 */
import type { RebootOrder, RebootReport } from '../../crds/nodekernel.ts';
import type { Switch } from '../../kernel/facts.ts';
import type { RebootRecord } from '../../kernel/journal.ts';
import { guarded } from '../guards.ts';
import { MAX_ATTEMPTS, RECHECK_SECONDS, RETRY_PAUSE_SECONDS } from '../rules.ts';
import type { RebootMemory } from './memory.ts';
import { TRANSITION_IN_PROGRESS } from './memory.ts';
import { judgeOrder } from './outcome.ts';
import type { RunningKernel } from './outcome.ts';
import { REBOOT_STEPS } from './steps.ts';
import type { RebootStep } from './steps.ts';

export interface RebootView {
  readonly order: RebootOrder | undefined;
  readonly running: RunningKernel;
  /** The journal's, of whichever boot. */
  readonly record: RebootRecord | undefined;
  readonly install: Installation;
  /** The kernel has an image for kexec, whoever gave it. */
  readonly loaded: Switch;
  readonly memory: RebootMemory;
  /** A live patch in transition, or whose module is coming or going, whoever's it is. */
  readonly moving: string | undefined;
  /** What was reported of this order in this boot. */
  readonly reported: RebootReport | undefined;
  /** Milliseconds of the monotonic clock. */
  readonly now: number;
  /** Wall time. */
  readonly date: Date;
}

/** Of the wanted kernel. NotNeeded: it is there, or nobody wants it installed. Needed: it is missing. Running: the package manager is at work for this order or an earlier one. Ended: it was, and what has come of it was not looked at. */
export type Installation = 'NotNeeded' | 'Needed' | 'Running' | 'Ended';

/** Staged: ready to go down. Down: it goes down. Up: nothing of an order is left. */
type Aim = 'Staged' | 'Down' | 'Up';

/**
 * Installing: the journal says that the package manager was asked, by this order or an earlier one. Unsure: the journal says that the image may be there; the last agent, or somebody else, knows whether it is.
 * Old: the same of another order, or for a reboot by the firmware. Foreign: an image that is not ours. GoingDown: the node was told to, or is about to be.
 */
type Standing = 'Nothing' | 'Installing' | 'Unsure' | 'Ready' | 'Old' | 'Foreign' | 'GoingDown';

type Rule = (view: RebootView) => RebootStep;
type Guard = (view: RebootView) => RebootStep | undefined;

export function nextRebootStep(view: RebootView): RebootStep {
  const { order, running } = view;
  if (order !== undefined && running.bootID === 'unknown') return refuse('BootUnknown', 'the boot id of the node can not be read, so it can not be told whether the order is about this boot: look at /proc/sys/kernel/random/boot_id there');
  const step = RULES[aimOf(view)][standingOf(view)](view);
  return isOverdue(view, step) ? afterDeadline(step) : step;
}

/** True while no live patch may be begun: the node is about to go down. */
export function holdsLivePatches(view: RebootView): boolean {
  return standingOf(view) === 'GoingDown' || (aimOf(view) === 'Down' && standingOf(view) === 'Ready');
}

function aimOf({ order, running, date }: RebootView): Aim {
  if (order === undefined || order.bootID !== running.bootID || isExpired(order, date)) return 'Up';
  switch (order.phase) {
    case 'Staging':
    case 'Draining':
      return 'Staged';
    case 'Rebooting':
      return 'Down';
    case 'Parked':
    case 'Refused':
    case 'Failed':
      return 'Up';
    default:
      return order.phase satisfies never;
  }
}

export function isExpired({ notAfter }: RebootOrder, date: Date): boolean {
  return !(date.getTime() <= Date.parse(notAfter));
}

function standingOf(view: RebootView): Standing {
  const { order, running, record, loaded, memory } = view;
  if (record?.bootID === running.bootID) return standingBy(record, view);
  if (order?.method === 'Firmware') return memory.staged ? 'Ready' : 'Nothing';
  return loaded === 'on' ? 'Foreign' : 'Nothing';
}

/** By what the journal says of this boot. */
function standingBy({ kind, id, method }: RebootRecord, { order, loaded, memory }: RebootView): Standing {
  if (kind === 'Installing' || kind === 'GoingDown') return kind;
  if (id !== order?.id || method !== order.method) return 'Old';
  return memory.staged && loaded !== 'off' ? 'Ready' : 'Unsure';
}

function isOverdue({ memory, now }: RebootView, { name }: RebootStep): boolean {
  const { deadlineSeconds } = REBOOT_STEPS[name];
  return deadlineSeconds !== undefined && memory.step?.name === name && now - memory.step.since >= deadlineSeconds * 1000;
}

function afterDeadline(step: RebootStep): RebootStep {
  if (step.name !== 'AwaitDown') return refuse(TRANSITION_IN_PROGRESS, `${step.message}: end the task that holds it up, or reverse that patch`);
  return { name: 'StayUp', state: 'GoingDown', reason: 'ShutdownStuck', message: describeStuck() };
}

export function describeStuck(): string {
  return `the node was told to go down ${REBOOT_STEPS.AwaitDown.deadlineSeconds} s ago and is still up: systemctl list-jobs on the node names what does not stop`;
}

// Steps.

const beginInstall: Rule = ({ order, memory }) => ({
  name: 'Install',
  state: memory.refusal === undefined ? 'Installing' : 'Refused',
  reason: memory.refusal?.reason ?? 'Installing',
  message: memory.refusal?.message ?? `package ${order?.install?.name} with kernel ${order?.release} is to be installed`,
});
/** It can not be taken back: a package manager that is ended half way leaves the node's packages broken. */
const awaitInstall: Rule = ({ order, record }) => {
  const what = order?.install === undefined || order.id !== record?.id ? 'a kernel for an earlier order' : `package ${order.install.name} with kernel ${order.release}`;
  return { name: 'AwaitInstall', state: 'Installing', reason: 'Installing', message: `the package manager of the node installs ${what}` };
};
/** Still said to be installing: what was seen of /boot meanwhile may be half of it, and is looked at anew after this. */
const endInstall: Rule = (view) => ({ ...awaitInstall(view), name: 'EndInstall' });

const stage: Rule = ({ order, memory }) => {
  const message = order?.method === 'Kexec' ? `kernel ${order.release} is given to the running one` : 'the node gets ready to go down';
  return { name: 'Stage', state: memory.refusal === undefined ? 'Staging' : 'Refused', reason: memory.refusal?.reason ?? 'Staging', message: memory.refusal?.message ?? message };
};
const unstage: Rule = () => ({ name: 'Unstage', state: 'Staging', reason: 'Unstaging', message: 'the image is taken out of the kernel' });
const goDown: Rule = ({ order }) => ({ name: 'GoDown', state: 'GoingDown', reason: 'GoingDown', message: `the node is told to go down into ${order?.release}` });
const awaitDown: Rule = ({ order, record }) => ({
  name: 'AwaitDown',
  state: order?.id === record?.id ? 'GoingDown' : 'Staging',
  reason: 'GoingDown',
  message: `the node was told to go down into ${record?.release}, and its services are being stopped`,
});
const readyToGo: Rule = ({ order }) => ({
  name: 'Ready',
  state: 'Staged',
  reason: 'Staged',
  message: order?.method === 'Kexec' ? `kernel ${order.release} is in place for kexec` : 'nothing has to be put in place for a reboot by the firmware',
});

const rest: Rule = (view) => {
  const { order, running, date } = view;
  if (order === undefined) return { name: 'Rest', state: 'Unstaged', reason: 'NoOrder', message: 'there is no order' };
  if (order.bootID !== running.bootID) return arrive(view, order);
  if (isExpired(order, date)) return { name: 'Rest', state: 'Expired', reason: 'Expired', message: `the order was to be carried out until ${order.notAfter}; nothing of it is left` };
  return { name: 'Rest', state: 'Unstaged', reason: order.phase, message: `in phase ${order.phase} nothing is put in place` };
};

/** The boot loader's default is only changed once the kernel is known to run: one that does not comes back with the earlier one. */
function arrive({ running, record, reported, memory: { defaultTried, refusal } }: RebootView, order: RebootOrder): RebootStep {
  const outcome = judgeOrder(order, running, record, reported);
  if (outcome.state !== 'Proven' || order.setDefault !== true || reported?.state === 'Proven') return { name: 'Arrive', ...outcome };
  if (!defaultTried) return { name: 'SetDefault', state: 'SettingDefault', reason: 'SettingDefault', message: `${outcome.message}; it is being made the default of the boot loader` };
  return refusal === undefined ? { name: 'Arrive', ...outcome } : { name: 'Arrive', ...outcome, reason: refusal.reason, message: `${outcome.message}; it is not the default of the boot loader: ${refusal.message}` };
}

function refuse(reason: string, message: string): RebootStep {
  return { name: 'Refuse', state: 'Refused', reason, message };
}

const ofOthers: Rule = () =>
  refuse('ImageOfOthers', 'somebody else has put a kernel in place for kexec (/sys/kernel/kexec_loaded), and it is left alone: take it out with kexec -u on the node, or boot it');

// Guards: what comes before the step, or undefined to go on.

const givenUp: Guard = ({ memory: { failure, attempts } }) => {
  if (failure !== undefined && (!failure.retry || attempts >= MAX_ATTEMPTS)) return refuse(failure.reason, `${failure.message}. This order is not tried again`);
  if (failure === undefined && attempts >= MAX_ATTEMPTS) return refuse('Displaced', `the image was put in place ${attempts} times, and somebody takes it out or puts another one there: find who uses kexec on the node`);
  return undefined;
};

const pausing: Guard = (view) => {
  const { failure, attempts } = view.memory;
  if (failure === undefined || view.now >= retryAt(view)) return undefined;
  return { name: 'AwaitRetry', state: 'Staging', reason: 'Retrying', message: `attempt ${attempts} of ${MAX_ATTEMPTS}: ${failure.message}` };
};

function retryAt({ memory: { attempts, failure } }: RebootView): number {
  const pause = RETRY_PAUSE_SECONDS[Math.min(Math.max(attempts, 1), RETRY_PAUSE_SECONDS.length) - 1] ?? 0;
  return (failure?.at ?? 0) + pause * 1000;
}

const refusedLately: Guard = ({ memory: { refusal }, now }) => {
  if (refusal === undefined || refusal.reason === TRANSITION_IN_PROGRESS || now - refusal.at >= RECHECK_SECONDS * 1000) return undefined;
  return refuse(refusal.reason, refusal.message);
};

/** Once refused for it, it stays refused until the transition has ended. */
const inTransition: Guard = ({ moving, memory: { refusal } }) => {
  if (moving === undefined) return undefined;
  if (refusal?.reason === TRANSITION_IN_PROGRESS) return refuse(refusal.reason, refusal.message);
  return { name: 'AwaitTransition', state: 'Staged', reason: 'AwaitingTransition', message: `the node goes down once live patch ${moving} is not in transition any more` };
};

/** Nobody can say any more that systemd has the order: it is asked again, and says so when it has. */
const alreadyTold: Guard = (view) => (view.memory.told || view.order?.id !== view.record?.id ? awaitDown(view) : undefined);

/** The operator has given it up by then. A node that is cut off while something is in its way does not install a package later that may have been withdrawn meanwhile. */
const tooLate: Guard = ({ order, install, date }) => {
  if (install !== 'Needed' || order?.deadline === undefined || date.getTime() <= Date.parse(order.deadline)) return undefined;
  return refuse('InstallTooLate', `package ${order.install?.name} was to be installed until ${order.deadline}, and by the clock of the node that is over: the operator decides anew. If this comes back, compare that clock with the operator's`);
};

/** The last guard: what keeps the image from being put in place keeps the node from being changed, too. */
const missing: Guard = (view) => (view.install === 'Needed' ? beginInstall(view) : undefined);

const underWay: Guard = (view) => (view.install === 'Running' ? awaitInstall(view) : undefined);

// The table.

const makeReady = guarded([givenUp, pausing, tooLate, refusedLately, missing], stage);
const seeInstall = guarded([underWay, refusedLately], endInstall);
const takeBack = guarded([refusedLately], unstage);

const RULES: Readonly<Record<Aim, Readonly<Record<Standing, Rule>>>> = {
  Staged: { Nothing: makeReady, Installing: seeInstall, Unsure: makeReady, Ready: readyToGo, Old: takeBack, Foreign: ofOthers, GoingDown: awaitDown },
  Down: {
    Nothing: makeReady,
    Installing: seeInstall,
    Unsure: makeReady,
    Ready: guarded([givenUpGoing, refusedLately, inTransition], goDown),
    Old: takeBack,
    Foreign: ofOthers,
    GoingDown: guarded([alreadyTold, refusedLately], goDown),
  },
  Up: { Nothing: rest, Installing: seeInstall, Unsure: takeBack, Ready: takeBack, Old: takeBack, Foreign: rest, GoingDown: awaitDown },
};

/** A node that is ready has no failed attempt to put the image in place; what failed is going down. */
function givenUpGoing({ memory: { failure } }: RebootView): RebootStep | undefined {
  return failure === undefined ? undefined : refuse(failure.reason, `${failure.message}. This order is not tried again`);
}

const LONGEST_POLL_MILLISECONDS = 1000;
/** An installation takes a minute, and asking systemd a process. */
const INSTALL_POLL_MILLISECONDS = 5000;

/** When to look again if nothing else happens, in milliseconds; undefined: there is no reason to. */
export function lookAgainIn(view: RebootView, step: RebootStep): number | undefined {
  const { memory, now, order, date } = view;
  if (step.name === 'AwaitRetry') return Math.max(retryAt(view) - now, 0);
  if (step.name === 'AwaitInstall') return INSTALL_POLL_MILLISECONDS;
  if (REBOOT_STEPS[step.name].kind !== 'Final') return LONGEST_POLL_MILLISECONDS;
  const waits = [
    ...(step.name === 'Refuse' && memory.refusal !== undefined ? [memory.refusal.at + RECHECK_SECONDS * 1000 - now] : []),
    ...(order !== undefined && !isExpired(order, date) ? [Date.parse(order.notAfter) + 1 - date.getTime()] : []),
  ].filter((wait) => wait > 0);
  return waits.length === 0 ? undefined : Math.min(...waits);
}
