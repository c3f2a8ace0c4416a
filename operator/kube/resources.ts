/** The kinds the operator reads and writes, and where the API serves them. */
import { GROUP, VERSION } from '../../crds/common.ts';
import type { KindDefinition, ObjectMeta } from '../../crds/common.ts';
import { kernelPatchDefinition } from '../../crds/kernelpatch.ts';
import { nodeKernelDefinition } from '../../crds/nodekernel.ts';
import { patchPolicyDefinition } from '../../crds/patchpolicy.ts';

export interface Resource {
  readonly kind: string;
  readonly apiVersion: string;
  /** The path of the collection; an object's is this, a slash and its name. */
  readonly path: string;
}

/** An object as the API serves it: metadata is certain, the rest is parsed where it is read. */
export interface KubeObject {
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

function ours({ kind, plural }: KindDefinition): Resource {
  return { kind, apiVersion: `${GROUP}/${VERSION}`, path: `/apis/${GROUP}/${VERSION}/${plural}` };
}

export const KERNEL_PATCHES = ours(kernelPatchDefinition);
export const PATCH_POLICIES = ours(patchPolicyDefinition);
export const NODE_KERNELS = ours(nodeKernelDefinition);
export const NODES: Resource = { kind: 'Node', apiVersion: 'v1', path: '/api/v1/nodes' };
/** Events about cluster-scoped objects live in the namespace default, as those about Nodes do. */
export const EVENTS: Resource = { kind: 'Event', apiVersion: 'events.k8s.io/v1', path: '/apis/events.k8s.io/v1/namespaces/default/events' };
export const PODS: Resource = { kind: 'Pod', apiVersion: 'v1', path: '/api/v1/pods' };
export const POD_DISRUPTION_BUDGETS: Resource = { kind: 'PodDisruptionBudget', apiVersion: 'policy/v1', path: '/apis/policy/v1/poddisruptionbudgets' };
export const CSI_NODES: Resource = { kind: 'CSINode', apiVersion: 'storage.k8s.io/v1', path: '/apis/storage.k8s.io/v1/csinodes' };
export const VOLUME_ATTACHMENTS: Resource = { kind: 'VolumeAttachment', apiVersion: 'storage.k8s.io/v1', path: '/apis/storage.k8s.io/v1/volumeattachments' };
export const PERSISTENT_VOLUMES: Resource = { kind: 'PersistentVolume', apiVersion: 'v1', path: '/api/v1/persistentvolumes' };

export function podsIn(namespace: string): Resource {
  return { ...PODS, path: `/api/v1/namespaces/${namespace}/pods` };
}
export function budgetsIn(namespace: string): Resource {
  return { ...POD_DISRUPTION_BUDGETS, path: `/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets` };
}
/** Creating one is what evicts the pod. */
export function evictionOf(namespace: string, pod: string): Resource {
  return { kind: 'Eviction', apiVersion: 'policy/v1', path: `/api/v1/namespaces/${namespace}/pods/${pod}/eviction` };
}
export function daemonSetsIn(namespace: string): Resource {
  return { kind: 'DaemonSet', apiVersion: 'apps/v1', path: `/apis/apps/v1/namespaces/${namespace}/daemonsets` };
}
export function deploymentsIn(namespace: string): Resource {
  return { kind: 'Deployment', apiVersion: 'apps/v1', path: `/apis/apps/v1/namespaces/${namespace}/deployments` };
}
export function leasesIn(namespace: string): Resource {
  return { kind: 'Lease', apiVersion: 'coordination.k8s.io/v1', path: `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases` };
}
