/** Carries decisions out. The order is what keeps nodes safe when this process dies between any two writes. */
import type { Logger } from 'pino';
import { isAsWanted, daemonSet, DAEMON_SET_NAME, wantsAgents } from './agents.ts';
import type { AgentSettings } from './agents.ts';
import type { KernelPatch, KernelPatchStatus } from '../crds/kernelpatch.ts';
import type { NodeKernel, NodeKernelSpec } from '../crds/nodekernel.ts';
import type { PatchPolicy, PatchPolicyStatus } from '../crds/patchpolicy.ts';
import type { Decisions, IntentChange, StatusChange } from './decide.ts';
import { kindOf } from './errors.ts';
import { aboutKernelPatch, aboutNode, describeEvent, describeTaint, eventObject } from './events.ts';
import { isOurs } from './labels.ts';
import type { Client } from './kube/client.ts';
import { inParallel } from './kube/parallel.ts';
import type { KubeObject } from './kube/resources.ts';
import type { AgentWrites, Writes } from './kube/writes.ts';
import type { View } from './observe.ts';
import { readDeployment } from './owner.ts';
import { urgencyOfIntent, urgencyOfStatus } from './pace.ts';
import type { Pace, Urgency } from './pace.ts';
import type { TaintChange } from './taint.ts';
import type { Uncordon } from './uncordon.ts';

/** 8: the API server takes some 700 writes a second on 16 connections, and others need it too. */
const WRITES_AT_ONCE = 8;

export interface Effects {
  readonly writes: Writes;
  readonly pace: Pace;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Names this process in Events. */
  readonly instance: string;
}

/**
 * 1. taints: a node that has just booted gets no new pod meanwhile. Each pass decides them anew, so dying before or after loses nothing.
 * 2. slots: the policies' status, compare-and-swap. Until it is stored nobody may start, so two leaders can not both use a free slot.
 * 3. intents: an intent that starts something only when its policy's slots were stored just now. Dying here leaves a slot without an
 *    intent; whoever leads next finds it, renews it and publishes.
 * 4. NodeKernels that nobody wants go, and with them their orders.
 * 5. uncordon, of nodes whose order is stored as over, so that none goes down that takes pods. The cordon carries the order's id, so dying here leaves what the next pass finds.
 * 6. status of the KernelPatches, which only tells. Dying here: it is told later.
 * 7. an Event for each outcome, after the status that it is about, so that it is not told twice.
 *
 * Returns in how many milliseconds a change that was held back is due. Throws the first error after everything else was tried; repeating is safe.
 */
export async function applyDecisions(decisions: Decisions, now: number, effects: Effects): Promise<number | undefined> {
  const stored = new Set<string>();
  const due = pacer(decisions, now, effects.pace);
  /** Names of NodeKernels whose order may not be stored as it was decided. */
  const unwritten = new Set([...due.intents.flatMap((change) => (change.kind === 'Publish' ? [change.nodeKernel.metadata.name] : [])), ...decisions.deletions.map(({ metadata }) => metadata.name)]);
  const errors = [
    ...(await inParallel(decisions.taints, WRITES_AT_ONCE, (change) => ignoring(['NotFound'], setTaint(change, now, effects)))),
    ...(await inParallel(due.policies, WRITES_AT_ONCE, (change) => storeSlots(change, stored, effects))),
    ...(await inParallel(due.intents, WRITES_AT_ONCE, (change) => publish(change, stored, unwritten, effects))),
    ...(await inParallel(decisions.deletions, WRITES_AT_ONCE, (nodeKernel) => remove(nodeKernel, unwritten, effects))),
    ...(await inParallel(decisions.uncordons, WRITES_AT_ONCE, (change) => ignoring(['NotFound'], uncordon(change, unwritten, effects)))),
    ...(await inParallel(due.kernelPatches, WRITES_AT_ONCE, (change) => tell(change, now, effects))),
  ];
  // A conflict only means to look again; whatever else went wrong is worth more to whoever reads the log.
  const error = errors.find((each) => kindOf(each) !== 'Conflict') ?? errors[0];
  if (error !== undefined) throw error;
  return due.waitMs;
}

/** Splits changes into those that are written now and the time the first of the others is. */
function pacer({ policies, intents, kernelPatches }: Decisions, now: number, pace: Pace) {
  const waits: number[] = [];
  const keys = new Set<string>();
  function isDue(key: string, urgency: Urgency): boolean {
    keys.add(key);
    const waitMs = pace.waitMs(key, urgency, now);
    if (waitMs > 0) waits.push(waitMs);
    return waitMs === 0;
  }
  const due = {
    policies: policies.filter(({ object, status }) => isDue(`PatchPolicy/${object.metadata.name}`, urgencyOfStatus(object.status, status))),
    intents: intents.filter((change) => change.kind === 'Create' || isDue(`NodeKernel/${change.nodeKernel.metadata.name}`, urgencyOfIntent(change.nodeKernel.spec, change.spec))),
    kernelPatches: kernelPatches.filter(({ object, status }) => isDue(`KernelPatch/${object.metadata.name}`, urgencyOfStatus(object.status, status))),
  };
  pace.keepOnly(keys);
  return { ...due, waitMs: waits.length === 0 ? undefined : Math.min(...waits) };
}

async function remove(nodeKernel: NodeKernel, unwritten: Set<string>, { writes }: Effects): Promise<void> {
  await ignoring(['NotFound', 'Conflict'], writes.deleteNodeKernel(nodeKernel));
  unwritten.delete(nodeKernel.metadata.name);
}

async function uncordon({ node, id }: Uncordon, unwritten: ReadonlySet<string>, { writes, log }: Effects): Promise<void> {
  if (unwritten.has(node.name)) return;
  await writes.uncordon(node, id);
  log.info({ node: node.name, order: id }, 'node uncordoned');
}

async function setTaint(change: TaintChange, now: number, { writes, log, instance }: Effects): Promise<void> {
  const { node, holders } = change;
  await writes.setTaint(node, holders.size > 0);
  log.info({ node: node.name, holders: [...holders] }, holders.size > 0 ? 'node tainted: it has booted and is not as patched as before' : 'taint removed');
  await writes.createEvent(eventObject(aboutNode(change), describeTaint(change), { now, instance }));
}

async function storeSlots({ object, status }: StatusChange<PatchPolicy, PatchPolicyStatus>, stored: Set<string>, { writes, log }: Effects): Promise<void> {
  await writes.setPolicyStatus(object, status);
  stored.add(object.metadata.name);
  const before = nodesOf(object.status);
  const after = nodesOf(status);
  const taken = [...after].filter((node) => !before.has(node));
  const released = [...before].filter((node) => !after.has(node));
  if (taken.length + released.length > 0) log.info({ patchPolicy: object.metadata.name, taken, released }, 'slots changed');
}

function nodesOf(status: PatchPolicyStatus | undefined): ReadonlySet<string> {
  return new Set(status?.slots?.map(({ node }) => node));
}

async function publish(change: IntentChange, stored: ReadonlySet<string>, unwritten: Set<string>, { writes, log }: Effects): Promise<void> {
  switch (change.kind) {
    case 'Create':
      await writes.createNodeKernel(change.node, change.labels, change.spec);
      return;
    case 'Publish': {
      const { nodeKernel, spec, underSlotOf } = change;
      if (underSlotOf !== undefined && !stored.has(underSlotOf)) return;
      await ignoring(['NotFound'], writes.setNodeKernelSpec(nodeKernel, spec));
      unwritten.delete(nodeKernel.metadata.name);
      if (underSlotOf !== undefined) log.info({ node: nodeKernel.metadata.name, livePatches: spec.livePatches?.map(({ name, desired }) => `${name}=${desired}`) }, 'intent published');
      logReboot(nodeKernel, spec, log);
      return;
    }
    default:
      change satisfies never;
  }
}

/** Each step of a reboot, since it is what an admin looks for afterwards. */
function logReboot({ metadata, spec: { reboot: was } }: NodeKernel, { reboot: is }: NodeKernelSpec, log: Effects['log']): void {
  if (was?.id === is?.id && was?.phase === is?.phase) return;
  const { id, phase, reason, message } = is ?? { id: was?.id, phase: 'Over', reason: 'Over', message: '' };
  log.info({ node: metadata.name, order: id, phase, reason, detail: message }, 'reboot');
}

async function tell({ object, status }: StatusChange<KernelPatch, KernelPatchStatus>, now: number, { writes, log, instance }: Effects): Promise<void> {
  await writes.setKernelPatchStatus(object, status);
  const note = describeEvent(object.status, status);
  if (!note) return;
  log.info({ kernelPatch: object.metadata.name, reason: note.reason, closed: status.closed }, 'outcome');
  await writes.createEvent(eventObject(aboutKernelPatch(object), note, { now, instance }));
}

/** The object is gone or will be seen changed: the caches say so soon, and the decision is made anew. */
async function ignoring(codes: readonly string[], write: Promise<void>): Promise<void> {
  try {
    await write;
  } catch (error) {
    if (!codes.includes(kindOf(error))) throw error;
  }
}

export interface AgentEffects {
  readonly client: Pick<Client, 'get'>;
  readonly writes: AgentWrites;
  readonly settings: Omit<AgentSettings, 'owner'>;
  readonly deploymentName: string;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

/**
 * The DaemonSet is as the policies want it, or not there. Throws DeploymentNotFound when the operator's Deployment is gone: then
 * everything is being uninstalled, and a DaemonSet made now would stay for ever. Throws LeaseLost when something is to be written while the
 * lease is not held, which may pass: nothing else would wake us for it. Repeating is safe.
 */
export async function applyAgents(view: View, live: KubeObject | undefined, effects: AgentEffects): Promise<void> {
  const { client, writes, settings, deploymentName, log } = effects;
  if (!wantsAgents(view)) {
    if (!live || !isOurs(live.metadata)) return;
    await ignoring(['NotFound', 'Conflict'], writes.deleteDaemonSet(live.metadata));
    log.info({ daemonSet: DAEMON_SET_NAME }, 'agents removed: no policy selects a node');
    return;
  }
  const selectors = view.policies.map(({ spec }) => spec.nodeSelector);
  const ownedBy = (uid: string) => daemonSet(selectors, { ...settings, owner: { name: deploymentName, uid } });
  // When that owner is gone the DaemonSet goes too, and we are called again.
  const owner = live?.metadata.ownerReferences?.find(({ kind, name }) => kind === 'Deployment' && name === deploymentName);
  if (owner && isAsWanted(ownedBy(owner.uid), live)) return;
  const deployment = await readDeployment(client, settings.namespace, deploymentName);
  if (deployment.metadata.deletionTimestamp !== undefined) return;
  await writes.applyDaemonSet(ownedBy(deployment.metadata.uid ?? ''));
  log.info({ daemonSet: DAEMON_SET_NAME, policies: selectors.length }, 'agents applied');
}
