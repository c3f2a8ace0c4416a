/** What a decision may look at: the caches as one read-only view, the clock in it. Parsing happens here, trust inside. */
import { KernelPatchSpec, KernelPatchStatus } from '../crds/kernelpatch.ts';
import type { KernelPatch } from '../crds/kernelpatch.ts';
import { NodeKernelSpec, NodeKernelStatus } from '../crds/nodekernel.ts';
import type { NodeKernel } from '../crds/nodekernel.ts';
import { PatchPolicySpec, PatchPolicyStatus } from '../crds/patchpolicy.ts';
import type { PatchPolicy } from '../crds/patchpolicy.ts';
import type { ObjectMeta } from '../crds/common.ts';
import { readCordoning } from './cordon.ts';
import type { Cordoning } from './cordon.ts';
import type { DrainReport } from './drains.ts';
import type { KubeObject } from './kube/resources.ts';
import type { Preview } from './preview.ts';
import { isTainted } from './taint.ts';
import type { Taint } from './taint.ts';

/** What we need of a Node. Its resourceVersion is left out, so that a heartbeat changes nothing here. */
export interface NodeView extends Cordoning {
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** From the kubelet; empty until it has reported. */
  readonly kernelVersion: string;
  /** From the kubelet; empty until it has reported. */
  readonly bootID: string;
  /** It has our taint (taint.ts). */
  readonly tainted: boolean;
  /** Its kubelet says so, and is heard of. */
  readonly ready: boolean;
}

export interface View {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly nodes: ReadonlyMap<string, NodeView>;
  readonly nodeKernels: ReadonlyMap<string, NodeKernel>;
  /** Oldest first. */
  readonly kernelPatches: readonly KernelPatch[];
  /** Oldest first. */
  readonly policies: readonly PatchPolicy[];
  /** By node. */
  readonly previews: ReadonlyMap<string, Preview>;
  /** By node. */
  readonly drains: ReadonlyMap<string, DrainReport>;
}

export interface Readable<T> {
  values(): Iterable<T>;
}

export interface Caches {
  readonly nodes: Readable<NodeView>;
  readonly nodeKernels: Readable<NodeKernel>;
  readonly kernelPatches: Readable<KernelPatch>;
  readonly policies: Readable<PatchPolicy>;
  readonly previews: Readable<Preview>;
  readonly drains: Readable<DrainReport>;
}

export function observe(caches: Caches, now: number): View {
  return {
    now,
    nodes: new Map(Array.from(caches.nodes.values(), (node) => [node.name, node])),
    nodeKernels: new Map(Array.from(caches.nodeKernels.values(), (nodeKernel) => [nodeKernel.metadata.name, nodeKernel])),
    kernelPatches: [...caches.kernelPatches.values()].sort(byAge),
    policies: [...caches.policies.values()].sort(byAge),
    previews: new Map(Array.from(caches.previews.values(), (preview) => [preview.node, preview])),
    drains: new Map(Array.from(caches.drains.values(), (report) => [report.task.node, report])),
  };
}

/** The order in which objects of one kind go before each other: the older one, then the name. */
export function byAge(a: { readonly metadata: ObjectMeta }, b: { readonly metadata: ObjectMeta }): number {
  const [aCreated, bCreated] = [a.metadata.creationTimestamp ?? '', b.metadata.creationTimestamp ?? ''];
  if (aCreated !== bCreated) return aCreated < bCreated ? -1 : 1;
  return a.metadata.name < b.metadata.name ? -1 : 1;
}

export function readNode(object: KubeObject): NodeView {
  const { name, uid = '', labels = {} } = object.metadata;
  const status = object['status'] as { readonly nodeInfo?: { readonly kernelVersion?: string; readonly bootID?: string }; readonly conditions?: readonly { readonly type: string; readonly status: string }[] } | undefined;
  return {
    name,
    uid,
    labels,
    kernelVersion: status?.nodeInfo?.kernelVersion ?? '',
    bootID: status?.nodeInfo?.bootID ?? '',
    tainted: isTainted(taintsOf(object)),
    ready: (status?.conditions ?? []).some((condition) => condition.type === 'Ready' && condition.status === 'True'),
    ...readCordoning(object),
  };
}

/** The taints of a Node, whoever set them. */
export function taintsOf(node: KubeObject): readonly Taint[] {
  return (node['spec'] as { readonly taints?: readonly Taint[] } | undefined)?.taints ?? [];
}

/** Throws when the spec is not what this version understands. A status of another version is as none: it is written anew. */
export function readKernelPatch(object: KubeObject): KernelPatch {
  const status = KernelPatchStatus.safeParse(object['status']);
  return { metadata: readMeta(object), spec: KernelPatchSpec.parse(object['spec']), ...(status.success && { status: status.data }) };
}

/** As readKernelPatch. */
export function readPatchPolicy(object: KubeObject): PatchPolicy {
  const status = PatchPolicyStatus.safeParse(object['status']);
  return { metadata: readMeta(object), spec: PatchPolicySpec.parse(object['spec']), ...(status.success && { status: status.data }) };
}

/** Never throws: a spec of another version is as an empty one and is written anew, a report of another version is as none. */
export function readNodeKernel(object: KubeObject): NodeKernel {
  const stored = object['spec'] ?? {};
  const spec = NodeKernelSpec.safeParse(stored);
  const status = NodeKernelStatus.safeParse(object['status']);
  return { metadata: readMeta(object), ...(spec.success ? { spec: spec.data } : { spec: {}, unread: stored as NonNullable<NodeKernel['unread']> }), ...(status.success && { status: status.data }) };
}

function readMeta({ metadata }: KubeObject): ObjectMeta {
  const { name, uid, resourceVersion, generation, creationTimestamp, labels, ownerReferences } = metadata;
  return {
    name,
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
    ...(generation !== undefined && { generation }),
    ...(creationTimestamp !== undefined && { creationTimestamp }),
    ...(labels !== undefined && { labels }),
    ...(ownerReferences !== undefined && { ownerReferences }),
  };
}
