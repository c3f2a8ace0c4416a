/** What the operator changes in the cluster. Each write is refused with LeaseLost when we do not hold the lease. A write of our own kinds, or of a Node, is in the caches when it returns. */
import { isActive } from '../../crds/nodekernel.ts';
import type { ObjectMeta } from '../../crds/common.ts';
import type { KernelPatch, KernelPatchStatus } from '../../crds/kernelpatch.ts';
import type { NodeKernel, NodeKernelSpec } from '../../crds/nodekernel.ts';
import type { PatchPolicy, PatchPolicyStatus } from '../../crds/patchpolicy.ts';
import { KernelPatchError } from '../errors.ts';
import { taintsOf } from '../observe.ts';
import type { NodeView } from '../observe.ts';
import { withTaint } from '../taint.ts';
import type { Client } from './client.ts';
import { EVENTS, KERNEL_PATCHES, NODES, NODE_KERNELS, PATCH_POLICIES, daemonSetsIn } from './resources.ts';
import { makeDrainWrites } from './drains.ts';
import type { DrainWrites } from './drains.ts';
import { mergePatch } from './merge.ts';
import { readNodeKernelNow } from './orders.ts';
import type { Cache } from './store.ts';

/** All throw Conflict when the object has changed since it was seen, and NotFound when it is gone. */
export interface Writes extends DrainWrites {
  /** Throws Conflict also when a slot would go whose order is stored as active. */
  setPolicyStatus(policy: PatchPolicy, status: PatchPolicyStatus): Promise<void>;
  setKernelPatchStatus(kernelPatch: KernelPatch, status: KernelPatchStatus): Promise<void>;
  createNodeKernel(node: NodeView, labels: Readonly<Record<string, string>>, spec: NodeKernelSpec): Promise<void>;
  setNodeKernelSpec(nodeKernel: NodeKernel, spec: NodeKernelSpec): Promise<void>;
  deleteNodeKernel(nodeKernel: NodeKernel): Promise<void>;
  /** The node has our taint, or not; its other taints are as they were at that moment. */
  setTaint(node: NodeView, wanted: boolean): Promise<void>;
  createEvent(event: object): Promise<void>;
}

/** The DaemonSet's watch alone brings these into its cache: both may be repeated until it has. */
export interface AgentWrites {
  /** Server-side apply in the operator's namespace. */
  applyDaemonSet(daemonSet: { readonly metadata: { readonly name: string } }): Promise<void>;
  deleteDaemonSet(metadata: ObjectMeta): Promise<void>;
}

export interface WritesOptions {
  readonly client: Client;
  readonly isLeader: () => boolean;
  /** Where the agents run. */
  readonly namespace: string;
  readonly caches: {
    readonly nodes: Cache<NodeView>;
    readonly policies: Cache<PatchPolicy>;
    readonly kernelPatches: Cache<KernelPatch>;
    readonly nodeKernels: Cache<NodeKernel>;
  };
}

export function makeWrites({ client, isLeader, namespace, caches }: WritesOptions): Writes & AgentWrites {
  const daemonSets = daemonSetsIn(namespace);

  function leading(): void {
    if (!isLeader()) throw new KernelPatchError('LeaseLost', 'nothing was written: this process leads no more');
  }

  /** One order is read for each slot that goes. A node that is of another policy meanwhile holds its slot there. */
  async function refuseEarlyRelease({ metadata: { name: policy }, status: before }: PatchPolicy, after: PatchPolicyStatus): Promise<void> {
    const kept = new Set(after.rebootSlots?.map(({ order }) => order));
    for (const { node, order } of (before?.rebootSlots ?? []).filter((slot) => !kept.has(slot.order))) {
      const { plan, reboot } = (await readNodeKernelNow(client, node))?.spec ?? {};
      if (reboot?.id === order && isActive(reboot) && plan?.policy === policy) throw new KernelPatchError('Conflict', `node ${node} keeps its slot: order ${order} is in phase ${reboot.phase}`);
    }
  }

  return {
    ...makeDrainWrites({ client, isLeader, nodes: caches.nodes }),
    async setPolicyStatus(policy, status) {
      leading();
      await refuseEarlyRelease(policy, status);
      await caches.policies.writing(policy.metadata.name, () => client.replaceStatus(PATCH_POLICIES, swap(policy, status)));
    },
    async setKernelPatchStatus(kernelPatch, status) {
      leading();
      await caches.kernelPatches.writing(kernelPatch.metadata.name, () => client.replaceStatus(KERNEL_PATCHES, swap(kernelPatch, status)));
    },
    async createNodeKernel(node, labels, spec) {
      leading();
      const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: node.name, uid: node.uid }];
      await caches.nodeKernels.writing(node.name, () => client.create(NODE_KERNELS, { metadata: { name: node.name, labels, ownerReferences }, spec }));
    },
    async setNodeKernelSpec({ metadata: { name, resourceVersion }, spec: before, unread = before }, spec) {
      leading();
      await caches.nodeKernels.writing(name, () => client.merge(NODE_KERNELS, name, { metadata: { resourceVersion }, spec: mergePatch(unread, spec) }));
    },
    async deleteNodeKernel({ metadata: { name, uid = '' } }) {
      leading();
      await client.delete(NODE_KERNELS, name, uid);
    },
    async setTaint({ name }, wanted) {
      leading();
      await caches.nodes.writing(name, async () => {
        const node = await client.get(NODES, name);
        return client.merge(NODES, name, { metadata: { resourceVersion: node.metadata.resourceVersion }, spec: { taints: withTaint(taintsOf(node), wanted) } });
      });
    },
    async createEvent(event) {
      leading();
      await client.create(EVENTS, event);
    },
    async applyDaemonSet(daemonSet) {
      leading();
      await client.apply(daemonSets, daemonSet);
    },
    async deleteDaemonSet({ name, uid = '' }) {
      leading();
      await client.delete(daemonSets, name, uid);
    },
  };
}

/** The status for exactly the version of the object that it was judged on. */
function swap({ metadata: { name, resourceVersion } }: KernelPatch | PatchPolicy, status: object) {
  return { metadata: { name, resourceVersion }, status };
}
