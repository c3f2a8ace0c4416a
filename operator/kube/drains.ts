/** What a drain reads and changes in the cluster. Pods and budgets are read for one node when they are needed: no cache holds them. */
import type { DrainOptions } from '../../crds/patchpolicy.ts';
import { cordoned, readCordoning, uncordoned } from '../cordon.ts';
import type { CordonFields } from '../cordon.ts';
import { KernelPatchError, kindOf } from '../errors.ts';
import type { Answer } from '../evict.ts';
import type { NodeView } from '../observe.ts';
import { isCordoned } from '../reboot.ts';
import { nameOf, readAttachment, readBudget, readPod } from '../pods.ts';
import type { AttachmentView, BudgetView, PodView } from '../pods.ts';
import type { Client } from './client.ts';
import { listAll } from './list.ts';
import { readNodeKernelNow } from './orders.ts';
import { CSI_NODES, NODES, PERSISTENT_VOLUMES, PODS, POD_DISRUPTION_BUDGETS, VOLUME_ATTACHMENTS, budgetsIn, evictionOf, podsIn } from './resources.ts';
import type { KubeObject } from './resources.ts';
import type { Cache } from './store.ts';

export type Reader = Pick<Client, 'get' | 'listPage'>;

export function readPodsOf(client: Reader, node: string): Promise<readonly PodView[]> {
  return listAll(client, PODS, { fieldSelector: `spec.nodeName=${node}` }, readPod);
}

/** Those of the given namespaces. */
export async function readBudgetsOf(client: Reader, namespaces: ReadonlySet<string>): Promise<readonly BudgetView[]> {
  const lists = await Promise.all([...namespaces].map((namespace) => listAll(client, budgetsIn(namespace), {}, readBudget)));
  return lists.flat();
}

export function readAllBudgets(client: Reader): Promise<readonly BudgetView[]> {
  return listAll(client, POD_DISRUPTION_BUDGETS, {}, readBudget);
}

/**
 * The volumes that are attached to the node for none of the pods that stay there. Empty on a node without a CSI driver: nothing is attached there that another node waits for.
 * VolumeAttachments can not be selected by node, so all are listed; whoever waits asks `stillAttached` from then on.
 */
export async function readAttachments(client: Reader, node: string, staying: readonly PodView[]): Promise<readonly AttachmentView[]> {
  const csiNode = await unlessGone(client.get(CSI_NODES, node));
  const drivers = (csiNode?.['spec'] as { readonly drivers?: readonly object[] | null } | undefined)?.drivers ?? [];
  if (drivers.length === 0) return [];
  const attached = await listAll(client, VOLUME_ATTACHMENTS, {}, (object) => {
    const attachment = readAttachment(object);
    return attachment.node === node ? attachment : undefined;
  });
  const kept = new Set(staying.flatMap(({ namespace, claims }) => claims.map((name) => nameOf({ namespace, name }))));
  const claims = await Promise.all(attached.map(({ volume }) => claimOf(client, volume)));
  return attached.filter((_, index) => !kept.has(claims[index] ?? ''));
}

export async function stillAttached(client: Reader, attachments: readonly AttachmentView[]): Promise<readonly AttachmentView[]> {
  const found = await Promise.all(attachments.map(({ name }) => unlessGone(client.get(VOLUME_ATTACHMENTS, name))));
  return attachments.filter((_, index) => found[index] !== undefined);
}

async function claimOf(client: Reader, volume: string | undefined): Promise<string | undefined> {
  if (volume === undefined) return undefined;
  const object = await unlessGone(client.get(PERSISTENT_VOLUMES, volume));
  const claim = (object?.['spec'] as { readonly claimRef?: { readonly namespace: string; readonly name: string } } | undefined)?.claimRef;
  return claim && nameOf(claim);
}

async function unlessGone(read: Promise<KubeObject>): Promise<KubeObject | undefined> {
  try {
    return await read;
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
    return undefined;
  }
}

/** All throw LeaseLost when we do not lead. */
export interface DrainWrites {
  /**
   * The node is cordoned afterwards, and in the cache. Owner and cordon are one write, so that none of ours is ever without its owner. Throws Conflict when the
   * node has changed meanwhile, NotFound when it is gone.
   */
  cordon(node: NodeView, id: string): Promise<void>;
  /** No cordon of this order is left; somebody else's is as it was. As cordon, and throws Conflict while the order is stored in a phase in which the node is to be cordoned. */
  uncordon(node: NodeView, id: string): Promise<void>;
  evict(pod: PodView, options: DrainOptions): Promise<Answer>;
  /** Deletes the pod past its budgets. */
  remove(pod: PodView, options: DrainOptions): Promise<Answer>;
}

export interface DrainWritesOptions {
  readonly client: Pick<Client, 'get' | 'merge' | 'create' | 'delete'>;
  readonly isLeader: () => boolean;
  readonly nodes: Cache<NodeView>;
}

export function makeDrainWrites({ client, isLeader, nodes }: DrainWritesOptions): DrainWrites {
  function leading(): void {
    if (!isLeader()) throw new KernelPatchError('LeaseLost', 'nothing was written: this process leads no more');
  }

  /** Merges what `change` says of the Node as it is now, if anything. */
  async function changeNode(name: string, change: (node: KubeObject) => CordonFields | undefined): Promise<KubeObject> {
    const node = await client.get(NODES, name);
    const fields = change(node);
    if (!fields) return node;
    return client.merge(NODES, name, { ...fields, metadata: { ...fields.metadata, resourceVersion: node.metadata.resourceVersion } });
  }

  return {
    async cordon({ name }, id) {
      leading();
      await nodes.writing(name, () => changeNode(name, (before) => (readCordoning(before).unschedulable ? undefined : cordoned(id))));
    },
    async uncordon({ name }, id) {
      leading();
      const order = (await readNodeKernelNow(client, name))?.spec.reboot;
      if (order?.id === id && isCordoned(order)) throw new KernelPatchError('Conflict', `node ${name} stays cordoned: order ${id} is in phase ${order.phase}`);
      await nodes.writing(name, () => changeNode(name, (before) => uncordoned(before, id)));
    },
    async evict({ namespace, name, uid }, { gracePeriodSeconds }) {
      leading();
      const deleteOptions = { preconditions: { uid }, ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }) };
      return answerOf(client.create(evictionOf(namespace, name), { metadata: { namespace, name }, deleteOptions }));
    },
    async remove({ namespace, name, uid }, { gracePeriodSeconds }) {
      leading();
      return answerOf(client.delete(podsIn(namespace), name, uid, gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }));
    },
  };
}

/** Every error of the API is an answer: the pod is waited for and tried again, with what was said as the reason. */
async function answerOf(write: Promise<unknown>): Promise<Answer> {
  try {
    await write;
    return { kind: 'Accepted' };
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    if (error.code === 'NotFound') return { kind: 'Gone' };
    return { kind: 'Refused', message: error.said ?? error.message, retryAfterMs: (error.retryAfterSeconds ?? 0) * 1000 };
  }
}
