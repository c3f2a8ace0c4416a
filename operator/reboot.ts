/**
 * The reboot of one node, pure: its phases, each with what ends it, a deadline by the operator's clock, and an inverse. The order stands in the NodeKernel, so whoever leads next goes on
 * from there.
 *
 *   Staging    the agent has the kernel ready, installed first where that is wanted; nobody was disturbed   -> Draining when it is and the node can be drained; Parked, Refused
 *   Draining   the node is cordoned, its pods go                      -> Rebooting when they have; Parked, Refused
 *   Rebooting  the agent takes the node down, and it comes back       -> gone when the agent has proven its new boot and the node is Ready; Refused, Failed
 *   Parked     given back; its drain is simulated again and again     -> a new order once the node can be drained
 *   Refused    the node can not do it; it is as it was                -> a new order, by the firmware where the policy lets it, or after the deadline
 *   Failed     given up; counts for the failure budget                -> a new order once the KernelPatch asks for another kernel, or for another try; gone when the node is in service and has the kernel
 *
 * An order whose reason to be is gone is taken back in every phase in which the node has not been told to go down. A new one begins on a node that is in service only, with no cordon of ours left.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { NodeKernel, RebootOrder, RebootPhase, RebootReport, RebootState } from '../crds/nodekernel.ts';
import type { PatchPolicySpec } from '../crds/patchpolicy.ts';
import { holds } from './cordon.ts';
import { instant } from './instant.ts';
import type { NodeView } from './observe.ts';
import { clip } from './plan.ts';
import { kexecRefusalOf } from './refusal.ts';
import type { Target } from './target.ts';

/** 3 min: checking and loading a kernel takes some seconds, on a busy node with a slow disk a minute. */
const STAGING_SECONDS = 180;
/** 2 min: an agent goes down within a second of being told; one that was away meanwhile does it no more. */
const GO_SECONDS = 120;
/** 1 min at least between two tries of a node that could not be drained, so that others have their turn. It is begun anew once a simulation says that it can be. */
const PARK_SECONDS = 60;

/** 7 days, for a drain that waits. */
const WAIT_SECONDS = 604_800;
/** 10 min until a node that could not do it is asked again: somebody may have mended it, and a try costs it four writes. */
const REFUSED_SECONDS = 600;

/** How the drain of a node for its order stands. Possible, Blocked: of a simulation; nothing was touched. */
export type DrainState =
  | { readonly kind: 'Possible' | 'Drained' }
  | { readonly kind: 'Blocked' | 'Draining' | 'Parked'; readonly message: string };

export interface RebootView {
  readonly node: NodeView;
  readonly nodeKernel: NodeKernel;
  /** What the node is to boot into, as things are now; undefined: nothing, or nobody consents. */
  readonly target: Target | undefined;
  /** The node is wanted in the kernel of the order that stands, or may be, whether or not it may boot into it now. */
  readonly asked: boolean;
  /** The word of that order's KernelPatch by which a failed one is tried once more. */
  readonly retry: string | undefined;
  readonly policy: Pick<PatchPolicySpec, 'drain' | 'reboot'>;
  /** A slot of the policy is stored for the order that stands. */
  readonly slotted: boolean;
  /** Of the order that stands; undefined until it was looked at. */
  readonly drain: DrainState | undefined;
  readonly now: number;
}

/** The node takes no new pods. */
const CORDONED: ReadonlySet<RebootPhase> = new Set(['Draining', 'Rebooting']);

export const isCordoned = (order: RebootOrder | undefined): boolean => order !== undefined && CORDONED.has(order.phase);

/** What is to be found out about the node's pods for its order. */
export function wantedDrain(nodeKernel: NodeKernel): 'Simulate' | 'Drain' | undefined {
  const order = nodeKernel.spec.reboot;
  if (order?.phase === 'Draining') return 'Drain';
  if (order?.phase === 'Parked') return 'Simulate';
  return order?.phase === 'Staging' && reportOf(nodeKernel, order)?.state === 'Staged' ? 'Simulate' : undefined;
}

/** True when a slot is all that a new order for the node waits for. */
export function mayBegin(view: RebootView): boolean {
  const { node, target } = view;
  return target !== undefined && node.ready && node.cordonedFor === undefined && isFree(view, target);
}

/** The order that stands, if any, lets another one begin. */
function isFree({ nodeKernel, drain, now }: RebootView, target: Target): boolean {
  const order = nodeKernel.spec.reboot;
  if (order === undefined) return true;
  if (order.phase === 'Parked') return isOver(order, now) && drain?.kind === 'Possible';
  if (order.phase === 'Refused') return isOver(order, now) || isOtherTry(order, target) || fallsBack(order, target, nodeKernel);
  return order.phase === 'Failed' && isOtherTry(order, target);
}

/** Another kernel, another package that brings it, or a word that this node has not been tried under. */
function isOtherTry(order: RebootOrder, { kernelPatch, release, retry, install }: Target): boolean {
  if (install !== undefined && order.install !== undefined && !isDeepStrictEqual(install, order.install)) return true;
  return release !== order.release || (retry !== undefined && (retry !== order.retry || kernelPatch !== order.kernelPatch));
}

/** A kexec that was refused in this boot gives way to the firmware, once. */
function fallsBack(order: RebootOrder, { method }: Target, { status }: NodeKernel): boolean {
  return order.method === 'Kexec' && method === 'Firmware' && kexecRefusalOf(order, status?.bootID) !== undefined;
}

/** A failure is held against the kernel until the KernelPatch asks for another try. */
export function counts(order: RebootOrder, { retry }: Pick<RebootView, 'retry'>): boolean {
  return order.phase === 'Failed' && isHeldAgainst(order.retry, retry);
}

/** What failed under a word of the KernelPatch, or under none, counts under its word of now. */
export function isHeldAgainst(tried: string | undefined, now: string | undefined): boolean {
  return now === undefined || now === tried;
}

/** A new order, in its first phase. Its id is that of no other: it is made of the node and the instant. */
export function beginOrder({ node, nodeKernel, now, policy }: RebootView, target: Target): RebootOrder {
  const { bootID = 'unknown' } = nodeKernel.status ?? {};
  const kexecRefused = target.method === 'Firmware' ? kexecRefusalOf(nodeKernel.spec.reboot, bootID) : undefined;
  const seconds = stagingSeconds(target, policy);
  const order: Omit<RebootOrder, 'phase' | 'since' | 'reason' | 'message'> = {
    id: createHash('sha256').update(`${node.uid} ${now}`).digest('hex').slice(0, 16),
    ...target,
    ...(policy.reboot.setDefault && { setDefault: true }),
    bootID,
    notAfter: instant(now + (seconds + longestDrain(policy)) * 1000),
    ...(kexecRefused !== undefined && { kexecRefused }),
  };
  return enter(order, 'Staging', { now, seconds, reason: 'Staging', message: `kernel ${target.release} is being made ready; the node is not cordoned yet` });
}

function stagingSeconds({ install }: Pick<Target, 'install'>, { reboot }: RebootView['policy']): number {
  return STAGING_SECONDS + (install === undefined ? 0 : reboot.installSeconds);
}

type Rule = (order: RebootOrder, view: RebootView) => RebootOrder | undefined;

const RULES: Readonly<Record<RebootPhase, Rule>> = {
  Staging: unlessUnwanted(fromStaging),
  Draining: unlessUnwanted(fromDraining),
  Rebooting: fromRebooting,
  Parked: fromParked,
  Refused: whileAsked,
  Failed: (order, view) => (view.node.ready ? whileAsked(order, view) : order),
};

/** The order as it is to be; undefined: it goes, and the node is as it would be without it. */
export function nextOrder(view: RebootView): RebootOrder | undefined {
  const order = view.nodeKernel.spec.reboot;
  return order && RULES[order.phase](order, view);
}

function unlessUnwanted(rule: Rule): Rule {
  return (order, view) => (isUnwanted(order, view) && !givesWay(order, view) ? undefined : rule(order, view));
}

/** The node has refused the kexec, and the report that says so lets the plan ask for the firmware: why is kept for the order that comes in its place. */
function givesWay(order: RebootOrder, { nodeKernel, target }: RebootView): boolean {
  const isInItsPlace = order.method === 'Kexec' && target?.method === 'Firmware' && target.release === order.release;
  return isInItsPlace && reportOf(nodeKernel, order)?.state === 'Refused';
}

function fromParked(order: RebootOrder, view: RebootView): RebootOrder | undefined {
  const { drain } = view;
  return whileAsked(drain?.kind === 'Blocked' ? { ...order, message: describePark(drain.message) } : order, view);
}

function whileAsked(order: RebootOrder, view: RebootView): RebootOrder | undefined {
  return view.asked || isSilent(view) ? order : undefined;
}

/** Nobody wants it any more, or it is about a boot that has ended meanwhile: then everything is looked at anew. */
function isUnwanted(order: RebootOrder, { node, target }: RebootView): boolean {
  const same = target !== undefined && target.release === order.release && target.method === order.method && target.buildID === order.buildID;
  return !same || hasRebooted(order, node);
}

function hasRebooted({ bootID }: RebootOrder, node: NodeView): boolean {
  return node.bootID !== '' && node.bootID !== bootID;
}

/** The agent has not reported of the boot that the kubelet runs in, so what the plan asks for is not known. */
function isSilent({ node, nodeKernel: { status } }: RebootView): boolean {
  return status === undefined || (node.bootID !== '' && status.bootID !== node.bootID);
}

function reportOf({ status }: NodeKernel, { id }: RebootOrder): RebootReport | undefined {
  return status?.reboot?.id === id ? status.reboot : undefined;
}

/** The node's packages are not as they were, or may not be (kernel/packages.ts): what has happened there would happen on all others. */
const CHANGED: ReadonlySet<string> = new Set(['PackageFailed', 'PackageWithoutKernel', 'InstallFailed']);

function fromStaging(order: RebootOrder, view: RebootView): RebootOrder {
  const { nodeKernel, drain, now } = view;
  const report = reportOf(nodeKernel, order);
  if (isGivenUp(report)) return CHANGED.has(report.reason) ? fail(order, now, report.reason, report.message) : refuse(order, now, report);
  if (report?.state === 'Staged' && drain !== undefined) return fromForecast(order, drain, view);
  if (isOver(order, now)) return endStaging(order, report, view);
  return report?.state === 'Installing' || report?.state === 'Staging' ? { ...order, reason: report.state, message: clip(report.message) } : order;
}

function endStaging(order: RebootOrder, report: RebootReport | undefined, { node, now }: RebootView): RebootOrder {
  const { deadline, release } = order;
  if (report?.state === 'Staged') return park(order, now, `its pods could not be looked at by ${deadline}: see the log of the operator`);
  if (report?.state === 'Installing') return refuse(order, now, { reason: 'InstallTimedOut', message: `${report.message}, and that had not ended by ${deadline}. It goes on: journalctl -u kernelpatch-install.service on node ${node.name} has what it does` });
  return refuse(order, now, { reason: 'StagingTimedOut', message: `the agent did not have kernel ${release} ready by ${deadline}: see the pod of DaemonSet kernelpatch-agent on node ${node.name}` });
}

/** Nobody is disturbed without a slot: one that was lost to another leader is taken anew first, or the order goes (reboots.ts). */
function fromForecast(order: RebootOrder, drain: DrainState, { slotted, now, policy }: RebootView): RebootOrder {
  if (drain.kind === 'Blocked') return park(order, now, drain.message);
  return drain.kind === 'Possible' && slotted ? enter(order, 'Draining', { now, seconds: drainSeconds(policy), reason: 'Draining', message: 'the node is cordoned and its pods are moved' }) : order;
}

/** In seconds. One that deletes in the end has as long again for that. One that waits is begun anew when its order has expired. */
function longestDrain({ drain }: RebootView['policy']): number {
  return drain.onTimeout === 'Wait' ? WAIT_SECONDS : 2 * drain.timeoutSeconds;
}

/** A drain that waits has no end of its own. */
function drainSeconds({ drain }: RebootView['policy']): number | undefined {
  return drain.onTimeout === 'Wait' ? undefined : drain.timeoutSeconds;
}

/** A drain has its own deadline, and tells what it waits for; the order's is for one that can not even be looked at. */
function fromDraining(order: RebootOrder, { node, nodeKernel, drain, now, policy }: RebootView): RebootOrder {
  const report = reportOf(nodeKernel, order);
  if (isGivenUp(report)) return refuse(order, now, report);
  if (drain?.kind === 'Parked') return park(order, now, drain.message);
  if (drain?.kind === 'Drained' && holds(node, order.id)) {
    const { timeoutSeconds } = policy.reboot;
    const told = { ...order, notAfter: instant(now + Math.min(GO_SECONDS, timeoutSeconds) * 1000) };
    return enter(told, 'Rebooting', { now, seconds: timeoutSeconds, reason: 'Rebooting', message: `all pods have gone; the node goes down into kernel ${order.release} and is to be back in service within ${timeoutSeconds} s` });
  }
  if (Date.parse(order.notAfter) <= now) return park(order, now, `the drain had not come to an end by ${order.notAfter}: see the log of the operator`);
  return drain?.kind === 'Draining' ? { ...order, message: clip(drain.message) } : order;
}

/** Whether it has booted is seen on the Node, whoever looks: nothing is stored of it. */
function fromRebooting(order: RebootOrder, view: RebootView): RebootOrder | undefined {
  const { node, nodeKernel, now } = view;
  if (hasRebooted(order, node)) return fromReturn(order, view);
  const report = reportOf(nodeKernel, order);
  if (isGivenUp(report)) return refuse(order, now, report);
  if (!isOver(order, now)) return order;
  return fail(order, now, 'NotBack', `the node was to have booted by ${order.deadline}: ${describeAbsence(node, report)}; look at its console`);
}

function describeAbsence({ ready }: NodeView, report: RebootReport | undefined): string {
  if (!ready) return 'it went down and has not come back';
  return report?.state === 'GoingDown' ? 'it was told to go down, and is still up' : 'it is still up, and its agent does not say why';
}

/**
 * The node has booted and is not where it was to be. OtherBoot among them: it was told to go down, and is not told so for ever. Where /var does not outlive a boot, the agent sees no kexec that failed as one.
 */
const MISSED: ReadonlySet<RebootState> = new Set(['CameBackByFirmware', 'WrongKernel', 'OtherBoot']);

function fromReturn(order: RebootOrder, view: RebootView): RebootOrder | undefined {
  const { node, nodeKernel, now } = view;
  const report = isSilent(view) ? undefined : reportOf(nodeKernel, order);
  if (report?.state === 'Proven' && node.ready) return undefined;
  if (report?.state === 'OtherBoot' && !view.asked) return undefined;
  if (report !== undefined && MISSED.has(report.state)) return fail(order, now, report.reason, report.message);
  return isOver(order, now) ? failReturn(order, view, report) : order;
}

function failReturn(order: RebootOrder, { now }: RebootView, report: RebootReport | undefined): RebootOrder {
  const missing = report?.state !== 'Proven' ? 'its agent has not reported since' : 'it is not Ready';
  return fail(order, now, 'NotReady', `the node has booted and was to be in service by ${order.deadline}: ${missing}. See its kubelet, and the pod of DaemonSet kernelpatch-agent there`);
}

function isOver({ deadline }: RebootOrder, now: number): boolean {
  return deadline !== undefined && Date.parse(deadline) <= now;
}

interface Entry {
  readonly now: number;
  /** Until the phase is given up; undefined: it is not. */
  readonly seconds: number | undefined;
  readonly reason: string;
  readonly message: string;
}

function enter(order: Omit<RebootOrder, 'phase' | 'since' | 'reason' | 'message'>, phase: RebootPhase, { now, seconds, reason, message }: Entry): RebootOrder {
  const { deadline: _earlier, ...rest } = order;
  return { ...rest, phase, since: instant(now), ...(seconds !== undefined && { deadline: instant(now + seconds * 1000) }), reason, message: clip(message) };
}

function park(order: RebootOrder, now: number, why: string): RebootOrder {
  return enter(order, 'Parked', { now, seconds: PARK_SECONDS, reason: 'DrainParked', message: describePark(why) });
}

function describePark(why: string): string {
  return clip(`the node can not be drained: ${why}`);
}

function refuse(order: RebootOrder, now: number, { reason, message }: Pick<RebootReport, 'reason' | 'message'>): RebootOrder {
  return enter(order, 'Refused', { now, seconds: REFUSED_SECONDS, reason, message });
}

function fail(order: RebootOrder, now: number, reason: string, message: string): RebootOrder {
  return enter(order, 'Failed', { now, seconds: undefined, reason, message: `${message}. Set a new word as spec.retryReboot of KernelPatch ${order.kernelPatch} to try it once more` });
}

/** The agent has not done it and will not; the node is up and as it was. */
function isGivenUp(report: RebootReport | undefined): report is RebootReport & { readonly state: 'Refused' | 'Expired' } {
  return report?.state === 'Refused' || report?.state === 'Expired';
}
