/** A cluster in memory: an API server that keeps resourceVersions, generations and compare-and-swap, and nodes with agents, kubelets and pods. It checks what must never happen at every write, and when a node goes down. */
import assert from 'node:assert/strict';
import { isActive } from '../../../crds/nodekernel.ts';
import type { KernelPatch } from '../../../crds/kernelpatch.ts';
import type { NodeKernel, NodeKernelStatus, RebootOrder } from '../../../crds/nodekernel.ts';
import type { PatchPolicy } from '../../../crds/patchpolicy.ts';
import { simulateDrain } from '../../../operator/drain.ts';
import type { DrainReport } from '../../../operator/drains.ts';
import { KernelPatchError } from '../../../operator/errors.ts';
import { podsLeft } from '../../../operator/evict.ts';
import type { Client } from '../../../operator/kube/client.ts';
import type { KubeObject, Resource } from '../../../operator/kube/resources.ts';
import { readNode, readNodeKernel } from '../../../operator/observe.ts';
import type { NodeView, View } from '../../../operator/observe.ts';
import { readBudget, readPod } from '../../../operator/pods.ts';
import { FIELD_MANAGER } from '../../../operator/labels.ts';
import { isPublished } from '../../../operator/progress.ts';
import type { RebootFailure } from '../../../operator/reboots.ts';
import { limitOf } from '../../../operator/rollout.ts';
import { NOW, aView } from './builders.ts';
import { Machine } from './machine.ts';
import type { MachineFields } from './machine.ts';
import { aBudget, aPod } from './pods.ts';

/** How a drain of the node goes. Blocked: a budget never allows it. Hangs: the pod does not end. */
export type PodNature = 'None' | 'Moves' | 'Blocked' | 'Hangs';

/** Gets each write as a function that makes it, and what it is; it may wait, throw before, or throw afterwards. */
export type Around = (make: () => KubeObject, what: string) => Promise<KubeObject>;

type Fields = Readonly<Record<string, unknown>>;

/** What the world knows of a node besides its objects. */
interface Place {
  readonly machine: Machine;
  pods: PodNature;
  /** When a start was published that the agent has not brought to an end; undefined otherwise. */
  startedAt: number | undefined;
  /** A person has cordoned it. */
  isForeign: boolean;
  /** A person has uncordoned it while an order stood: what is scheduled there is theirs. */
  isDisturbed: boolean;
  /** The last reboot that was given up. */
  failed: RebootOrder | undefined;
  /** How often its Node was deleted. */
  deletions: number;
}

export class World {
  now = NOW;
  readonly places = new Map<string, Place>();
  readonly nodes = new Map<string, KubeObject>();
  readonly nodeKernels = new Map<string, KubeObject>();
  readonly kernelPatches = new Map<string, KernelPatch>();
  readonly policies = new Map<string, PatchPolicy>();
  readonly #pods = new Map<string, KubeObject>();
  /** Failed reboots of nodes that were deleted, as the policies had them then; until there is another word. */
  #failuresOfDeleted: readonly RebootFailure[] = [];
  /** What must never happen and did. A write that throws may be retried by the operator, so it is kept here. */
  readonly violations: string[] = [];
  #version = 1;

  addNode(name: string, fields: MachineFields & { readonly pods?: PodNature } = {}): void {
    const machine = new Machine(fields);
    this.places.set(name, { machine, pods: fields.pods ?? 'None', startedAt: undefined, isForeign: false, isDisturbed: false, failed: undefined, deletions: 0 });
    this.register(name);
  }

  /** Its kubelet starts, and makes the Node unless there is one. */
  register(name: string): void {
    if (this.nodes.has(name)) return;
    const { machine, deletions } = this.place(name);
    const uid = deletions === 0 ? `uid-${name}` : `uid-${name}-${deletions}`;
    this.nodes.set(name, this.#stamp({ metadata: { name, uid, labels: {} }, spec: {}, status: statusOf(machine) }));
    this.#schedule(name);
  }

  /** kubectl delete node. The machine runs on; its pods are forgotten. */
  deleteNode(name: string): void {
    const uid = this.nodes.get(name)?.metadata.uid;
    if (uid === undefined) return;
    const place = this.place(name);
    this.nodes.delete(name);
    for (const pod of this.#podsOn(name)) this.#pods.delete(keyOf(pod.metadata));
    Object.assign(place, { isForeign: false, isDisturbed: true, failed: undefined, deletions: place.deletions + 1 });
    const told = [...this.policies.values()].flatMap(({ status }) => status?.rebootFailures ?? []);
    this.#failuresOfDeleted = [...this.#failuresOfDeleted, ...told.filter((failure) => failure.uid === uid)];
  }

  /** The garbage collector: NodeKernels of Nodes that are gone. */
  collect(): void {
    const uids = new Set([...this.nodes.values()].map(({ metadata }) => metadata.uid));
    for (const [name, { metadata }] of this.nodeKernels) if (!metadata.ownerReferences?.some(({ uid }) => uids.has(uid))) this.nodeKernels.delete(name);
  }

  /** What a leader would see that looks now. */
  view(drains: Iterable<DrainReport> = []): View {
    return aView({
      now: this.now,
      nodes: [...this.nodes.values()].map(parsedNode),
      nodeKernels: [...this.nodeKernels.values()].map(parsedNodeKernel),
      kernelPatches: [...this.kernelPatches.values()],
      policies: [...this.policies.values()],
      drains: [...drains],
    });
  }

  node(name: string): NodeView {
    return readNode(found(this.nodes.get(name)));
  }

  order(name: string): RebootOrder | undefined {
    const object = this.nodeKernels.get(name);
    return object && readNodeKernel(object).spec.reboot;
  }

  machine(name: string): Machine {
    return this.place(name).machine;
  }

  place(name: string): Place {
    const place = this.places.get(name);
    assert.ok(place);
    return place;
  }

  putKernelPatch(kernelPatch: KernelPatch): void {
    const { retryReboot } = kernelPatch.spec;
    this.#failuresOfDeleted = this.#failuresOfDeleted.filter((failure) => failure.kernelPatch !== kernelPatch.metadata.name || retryReboot === undefined || retryReboot === failure.retry);
    this.kernelPatches.set(kernelPatch.metadata.name, this.#stamp(kernelPatch));
  }

  putPolicy(policy: PatchPolicy): void {
    this.policies.set(policy.metadata.name, this.#stamp(policy));
  }

  #stamp<T extends { readonly metadata: NodeKernel['metadata'] }>(object: T): T {
    this.#version += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
  }

  // The API server.

  client(around: Around): Client {
    return {
      get: async (resource, name) => found(this.#objects(resource).get(name)),
      create: (resource, object) => around(() => this.#create(resource, object as KubeObject), `create ${resource.kind}`),
      replaceStatus: (resource, object) => around(() => this.#put(resource, { ...swapped(this.#objects(resource), object), status: (object as KubeObject)['status'] }), `replaceStatus ${resource.kind}`),
      merge: (resource, name, fields) => around(() => this.#merge(resource, name, fields as Fields), `merge ${resource.kind}`),
      delete: async (resource, name) => {
        await around(() => {
          const object = found(this.#objects(resource).get(name));
          this.#objects(resource).delete(name);
          return object;
        }, `delete ${resource.kind}`);
      },
      listPage: async ({ kind }, query) => ({ items: kind === 'Pod' ? this.#podsOn(String(query['fieldSelector']).replace('spec.nodeName=', '')) : this.#budgets(), resourceVersion: '1', next: '' }),
      apply: unused,
      replace: unused,
      watch: unused,
    };
  }

  #objects({ kind }: Resource): Map<string, KubeObject> {
    const kinds: Readonly<Record<string, Map<string, unknown>>> = { Node: this.nodes, NodeKernel: this.nodeKernels, KernelPatch: this.kernelPatches, PatchPolicy: this.policies };
    return (kinds[kind] ?? new Map()) as Map<string, KubeObject>;
  }

  #put(resource: Resource, object: KubeObject): KubeObject {
    const stamped = this.#stamp(object);
    this.#objects(resource).set(object.metadata.name, stamped);
    return stamped;
  }

  #create(resource: Resource, object: KubeObject): KubeObject {
    if (resource.kind === 'Eviction') return this.#evict(object);
    if (resource.kind !== 'NodeKernel') return object;
    const { name } = object.metadata;
    if (this.nodeKernels.has(name)) throw new KernelPatchError('Conflict', 'already exists');
    return this.#put(resource, { ...object, metadata: { ...object.metadata, uid: `nk-${name}`, generation: 1, creationTimestamp: new Date(this.now).toISOString() } });
  }

  #merge(resource: Resource, name: string, fields: Fields): KubeObject {
    const before = swapped(this.#objects(resource), { metadata: { name, ...(fields['metadata'] as object) } });
    const { generation = 0 } = before.metadata;
    const merged = merge(before, JSON.parse(JSON.stringify(fields)) as Fields) as KubeObject;
    const changed = resource.kind === 'Node' ? noted(before, merged, FIELD_MANAGER) : merged;
    const after = this.#put(resource, { ...changed, metadata: { ...changed.metadata, generation: generation + 1 } });
    if (resource.kind === 'NodeKernel') this.#checkIntent(parsedNodeKernel(before), parsedNodeKernel(after));
    else this.#checkNode(parsedNode(before), parsedNode(after));
    return after;
  }

  #evict({ metadata }: KubeObject): KubeObject {
    const key = keyOf(metadata);
    const pod = found(this.#pods.get(key));
    const { pods } = this.place(nodeOf(pod));
    if (pods === 'Blocked') throw new KernelPatchError('TooMany', 'refused', { said: 'its budget allows none' });
    const deletion = { deletionTimestamp: new Date(this.now + 86_400_000).toISOString() };
    if (pods === 'Hangs') this.#pods.set(key, { ...pod, metadata: { ...pod.metadata, ...deletion } });
    else this.#pods.delete(key);
    return pod;
  }

  #podsOn(name: string): readonly KubeObject[] {
    return [...this.#pods.values()].filter((pod) => nodeOf(pod) === name);
  }

  #budgets(): readonly KubeObject[] {
    return [...this.places].filter(([, { pods }]) => pods === 'Blocked').map(([name]) => aBudget(name, { selector: { matchLabels: { app: name } }, status: { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 } }));
  }

  /** The scheduler, and the controller of the node's one pod. */
  #schedule(name: string): void {
    const { pods } = this.place(name);
    if (!this.nodes.has(name)) return;
    const { unschedulable, ready } = this.node(name);
    if (pods === 'None' || unschedulable || !ready || this.#podsOn(name).length > 0) return;
    this.#pods.set(`shop/web-${name}`, aPod(`web-${name}`, { nodeName: name, labels: { app: name } }));
  }

  // What must never happen.

  #checkIntent(before: NodeKernel, { metadata: { name }, spec, unread }: NodeKernel): void {
    if (unread !== undefined) this.violations.push(`${name} was given a spec that can not be read`);
    if ((spec.livePatches ?? []).some((wanted) => !isPublished(wanted, before))) this.#checkStart(name);
    const { reboot } = spec;
    if (reboot && reboot.id !== before.spec.reboot?.id) this.#checkBegin(before, reboot);
    if (reboot?.phase === 'Failed') this.place(name).failed = reboot;
    const active = [...this.nodeKernels.values()].map(parsedNodeKernel).filter((each) => isActive(each.spec.reboot)).map(({ metadata }) => metadata.name);
    const limit = this.#limit('maxUnavailable');
    if (isActive(reboot) && !isActive(before.spec.reboot) && active.length > limit) this.violations.push(`${active.join()} are out of service, ${limit} may be`);
  }

  #checkStart(name: string): void {
    const [policy] = this.policies.values();
    if (!policy?.status?.slots?.some(({ node }) => node === name)) this.violations.push(`${name} starts without a slot`);
    this.place(name).startedAt = this.now;
    const inFlight = [...this.places].filter(([, { startedAt }]) => startedAt !== undefined && startedAt + 600_000 > this.now);
    const limit = this.#limit('maxInFlight');
    if (inFlight.length > limit) this.violations.push(`${inFlight.map(([each]) => each).join()} are in flight, ${limit} may be`);
  }

  /** Two leaders may have promised the node a slot for orders of theirs: of the two one is published. */
  #checkBegin(before: NodeKernel, order: RebootOrder): void {
    const { phase, release, retry } = order;
    const { name } = before.metadata;
    const { failed } = this.place(name);
    const [policy] = this.policies.values();
    if (phase !== 'Staging') this.violations.push(`the order of ${name} begins with ${phase}`);
    if (!policy?.status?.rebootSlots?.some(({ node }) => node === name)) this.violations.push(`${name} is to boot without a slot`);
    if (failed?.release === release && (retry === undefined || retry === failed.retry)) this.violations.push(`${name} has failed and is tried again`);
    if (before.status?.kernel.release === release) this.violations.push(`${name} is to boot into the kernel that it has`);
    this.place(name).isDisturbed = false;
    this.#checkHalt(name, order);
  }

  #checkHalt(name: string, { release }: RebootOrder): void {
    const [policy] = this.policies.values();
    const held = this.#failuresOfDeleted.filter((failure) => failure.release === release);
    if (policy && held.length >= policy.spec.rollout.failureBudget) this.violations.push(`${name} is to boot into ${release}, which has failed on ${held.map(({ node }) => node).join()}`);
  }

  #checkNode(before: NodeView, after: NodeView): void {
    const { isForeign, machine } = this.place(after.name);
    if (isForeign && before.unschedulable && !after.unschedulable) this.violations.push(`the cordon of a person on ${after.name} is gone`);
    if (after.tainted && !before.tainted && machine.boots === 1) this.violations.push(`${after.name} is tainted and has not booted`);
  }

  #checkGoesDown(name: string, { release, bootID }: RebootOrder): void {
    const { machine, isDisturbed } = this.place(name);
    if (bootID !== machine.bootID) this.violations.push(`${name} goes down by an order of another boot`);
    for (const { metadata, spec } of this.kernelPatches.values()) {
      const isFixed = (kernel: string) => spec.kernels.some((entry) => entry.release === kernel && (entry.state === 'Fixed' || entry.state === 'NotAffected'));
      const isLive = spec.kernels.some((entry) => entry.release === machine.release && entry.livePatch !== undefined && machine.loaded.has(entry.livePatch.name));
      if ((isFixed(machine.release) || isLive) && !isFixed(release)) this.violations.push(`${name} goes down into ${release}, which does not have the fix of ${metadata.name}`);
    }
    if (isDisturbed || !this.nodes.has(name)) return;
    const [policy] = this.policies.values();
    if (!this.node(name).unschedulable) this.violations.push(`${name} goes down and is not cordoned`);
    const pods = this.#podsOn(name).map(readPod);
    if (policy && podsLeft(simulateDrain({ pods, budgets: this.#budgets().map(readBudget), options: policy.spec.drain, now: this.now })).length > 0) this.violations.push(`${name} goes down with ${pods.map((pod) => pod.name).join()}`);
  }

  #limit(budget: 'maxInFlight' | 'maxUnavailable'): number {
    const [policy] = this.policies.values();
    return limitOf(policy?.spec.rollout[budget] ?? '0', this.places.size);
  }

  // What happens besides.

  /** It starts, whether it went down for an order, or its power was cut; neither kubelet nor agent has told yet. */
  boot(name: string): void {
    this.machine(name).start();
  }

  /** The kubelet reports, or is missed. */
  runKubelet(name: string): void {
    const node = this.nodes.get(name);
    if (node === undefined) return;
    this.nodes.set(name, this.#stamp({ ...node, status: statusOf(this.machine(name)) }));
    this.#schedule(name);
  }

  /** The agent looks once: begins what is wanted, or ends what it has begun, and reports. */
  runAgent(name: string): void {
    const place = this.place(name);
    const { machine } = place;
    const object = this.nodeKernels.get(name);
    if (!object && !machine.isDown) machine.forget();
    if (!object || machine.nature === 'Silent' || machine.isDown) return;
    const status: NodeKernelStatus = machine.look(parsedNodeKernel(object), this.now, (order) => this.#checkGoesDown(name, order));
    if (status.livePatches.every(({ state }) => state !== 'Loading' && state !== 'Unloading')) place.startedAt = undefined;
    if (machine.release === place.failed?.release && machine.isReady) place.failed = undefined;
    this.nodeKernels.set(name, this.#stamp({ ...object, status }));
  }

  /** kubectl cordon. */
  cordon(name: string): void {
    if (!this.nodes.has(name) || this.node(name).unschedulable) return;
    this.place(name).isForeign = true;
    this.#setUnschedulable(name, true);
  }

  /** kubectl uncordon. */
  uncordon(name: string): void {
    if (!this.nodes.has(name)) return;
    this.place(name).isForeign = false;
    this.place(name).isDisturbed = true;
    this.#setUnschedulable(name, false);
    this.#schedule(name);
  }

  #setUnschedulable(name: string, unschedulable: boolean): void {
    const node = found(this.nodes.get(name));
    this.nodes.set(name, this.#stamp(noted(node, { ...node, spec: { ...(node['spec'] as object), unschedulable } }, 'kubectl')));
  }

  /** Nothing holds the node's pod any more. */
  relent(name: string): void {
    if (this.place(name).pods === 'None') return;
    this.place(name).pods = 'Moves';
    for (const pod of this.#podsOn(name)) if ('deletionTimestamp' in pod.metadata) this.#pods.delete(keyOf(pod.metadata));
  }
}

/** With the API server's note of who gave the node its cordon. */
function noted(before: KubeObject, after: KubeObject, manager: string): KubeObject {
  const isCordoned = readNode(after).unschedulable;
  if (isCordoned === readNode(before).unschedulable) return after;
  return { ...after, metadata: { ...after.metadata, managedFields: isCordoned ? [{ manager, fieldsV1: { 'f:spec': { 'f:unschedulable': {} } } }] : [] } as KubeObject['metadata'] };
}

function statusOf({ release, bootID, isDown, isReady }: Machine): object {
  return { nodeInfo: { kernelVersion: release, bootID }, conditions: [{ type: 'Ready', status: isDown ? 'Unknown' : isReady ? 'True' : 'False' }] };
}

function keyOf(metadata: KubeObject['metadata']): string {
  return `${(metadata as { readonly namespace?: string }).namespace}/${metadata.name}`;
}

function nodeOf(pod: KubeObject): string {
  return (pod['spec'] as { readonly nodeName: string }).nodeName;
}

function unused(): Promise<never> {
  return Promise.reject(new KernelPatchError('Network', 'nobody asks for it'));
}

function found<T>(object: T | undefined): T {
  if (object === undefined) throw new KernelPatchError('NotFound', 'gone');
  return object;
}

function swapped(objects: ReadonlyMap<string, KubeObject>, seen: KubeObject): KubeObject {
  const stored = found(objects.get(seen.metadata.name));
  if (stored.metadata.resourceVersion !== seen.metadata.resourceVersion) throw new KernelPatchError('Conflict', 'changed');
  return stored;
}

/** RFC 7386, as written there. */
export function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}

/** The same object is parsed once. */
function parsing<T>(read: (object: KubeObject) => T): (object: KubeObject) => T {
  const known = new WeakMap<KubeObject, T>();
  return (object) => {
    const value = known.get(object) ?? read(object);
    known.set(object, value);
    return value;
  };
}
const parsedNode = parsing(readNode);
const parsedNodeKernel = parsing(readNodeKernel);
