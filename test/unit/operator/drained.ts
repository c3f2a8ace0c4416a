/** A cluster in memory as a drain sees it: an API server that judges evictions by its budgets, kubelets that end pods, controllers that make them again on another node. */
import { KernelPatchError } from '../../../operator/errors.ts';
import { makeDrainWrites } from '../../../operator/kube/drains.ts';
import type { DrainWrites } from '../../../operator/kube/drains.ts';
import type { Client } from '../../../operator/kube/client.ts';
import type { KubeObject, Resource } from '../../../operator/kube/resources.ts';
import { Store } from '../../../operator/kube/store.ts';
import { readNode } from '../../../operator/observe.ts';
import { readBudget, readPod } from '../../../operator/pods.ts';
import type { PodView } from '../../../operator/pods.ts';
import { selects } from '../../../operator/selector.ts';
import { NOW } from './builders.ts';

/** How a pod behaves: how long it takes to end once it is told to, and its replacement to be ready. */
export interface Habits {
  readonly endsAfter?: number;
  readonly readyAfter?: number;
}

interface Stored {
  object: KubeObject;
  readonly habits: Habits;
  readonly endsAt: number;
  readonly readyAt: number;
}

/** What the API server was asked to do to a pod or a Node, and its answer. */
export interface Asked {
  readonly at: number;
  readonly verb: 'evict' | 'delete' | 'cordon' | 'uncordon';
  readonly name: string;
  readonly code: number;
}

type Object = Readonly<Record<string, unknown>>;

export class DrainedCluster {
  now = NOW;
  readonly asked: Asked[] = [];
  /** Reads so far. */
  reads = 0;
  readonly budgets = new Map<string, KubeObject>();
  /** By name; on node n1. */
  readonly attachments = new Map<string, KubeObject>();
  readonly others = new Map<string, KubeObject>();
  /** What every eviction is answered with while it is set. */
  spoiler: KernelPatchError | undefined;
  readonly #pods = new Map<string, Stored>();
  #made = 0;

  constructor() {
    this.others.set('/api/v1/nodes/n1', { metadata: { name: 'n1', uid: 'uid-n1', resourceVersion: '1' } });
  }

  addPods(pods: readonly KubeObject[], habits: Habits = {}): this {
    for (const object of pods) this.#pods.set(keyOf(object), { object, habits, endsAt: Infinity, readyAt: 0 });
    return this;
  }

  /** With its minAvailable; what it allows follows from the pods. */
  addBudget(budget: KubeObject, desiredHealthy: number): this {
    this.budgets.set(keyOf(budget), { ...budget, status: { ...(budget['status'] as object), desiredHealthy } });
    this.#judge();
    return this;
  }

  pods(node = 'n1'): readonly string[] {
    return this.#on(node).map(({ object }) => keyOf(object));
  }

  node(): KubeObject {
    return this.#object('/api/v1/nodes/n1');
  }

  /** Time goes on by some milliseconds, in steps of 250. */
  pass(milliseconds: number): void {
    for (const end = this.now + milliseconds; this.now < end;) {
      this.now += Math.min(250, end - this.now);
      for (const [key, pod] of this.#pods) {
        if (pod.endsAt <= this.now) {
          this.#pods.delete(key);
          this.#replace(pod);
        } else if (pod.readyAt > 0 && pod.readyAt <= this.now) this.#pods.set(key, { ...pod, readyAt: 0, object: { ...pod.object, status: RUNNING } });
      }
      this.#judge();
    }
  }

  #on(node: string): readonly Stored[] {
    return [...this.#pods.values()].filter(({ object }) => (object['spec'] as { readonly nodeName: string }).nodeName === node);
  }

  /** A pod with a controller comes again on n2. */
  #replace({ object, habits }: Stored): void {
    if (readPod(object).controller === undefined) return;
    this.#made += 1;
    const { namespace = '', labels = {}, ownerReferences = [] } = object.metadata as { readonly namespace?: string } & KubeObject['metadata'];
    const name = `made-${this.#made}`;
    const made: KubeObject = { metadata: { namespace, name, uid: `uid-${name}`, labels, ownerReferences } as KubeObject['metadata'], spec: { nodeName: 'n2' }, status: { phase: 'Running', conditions: [] } };
    this.#pods.set(keyOf(made), { object: made, habits, endsAt: Infinity, readyAt: this.now + (habits.readyAfter ?? 2) * 1000 });
  }

  /** The disruption controller. */
  #judge(): void {
    for (const [key, object] of this.budgets) {
      const { namespace, selector, desiredHealthy } = readBudget(object);
      const own = [...this.#pods.values()].map((pod) => readPod(pod.object)).filter((pod) => pod.namespace === namespace && selector && selects(selector, pod.labels) && !pod.deletion);
      const currentHealthy = own.filter(({ ready }) => ready).length;
      const status = { ...(object['status'] as object), currentHealthy, expectedPods: own.length, disruptionsAllowed: Math.max(0, currentHealthy - desiredHealthy) };
      this.budgets.set(key, { ...object, status });
    }
  }

  writes(): DrainWrites {
    const nodes = new Store({ project: readNode, onUnreadable: (_name, error) => { throw error; } });
    nodes.upsert(this.node());
    return makeDrainWrites({ client: this.client, isLeader: () => true, nodes });
  }

  readonly client: Pick<Client, 'get' | 'listPage' | 'create' | 'delete' | 'merge'> = {
    get: async (resource, name) => {
      this.reads += 1;
      return resource.kind === 'VolumeAttachment' ? found(this.attachments.get(name)) : this.#object(`${resource.path}/${name}`);
    },
    listPage: async (resource, query) => {
      this.reads += 1;
      return { items: this.#list(resource, query['fieldSelector']), resourceVersion: '1', next: '' };
    },
    create: async ({ path }, object) => {
      const [, namespace = '', name = ''] = /namespaces\/([^/]+)\/pods\/([^/]+)\/eviction$/.exec(path) ?? [];
      this.#told('evict', `${namespace}/${name}`, () => this.#evict(`${namespace}/${name}`, (object as Object)['deleteOptions'] as Object));
      return { metadata: { name } };
    },
    delete: async ({ path }, name, uid, options = {}) => {
      const key = `${/namespaces\/([^/]+)\/pods$/.exec(path)?.[1]}/${name}`;
      this.#told('delete', key, () => this.#end(key, uid, options.gracePeriodSeconds));
    },
    merge: async (_resource, name, fields) => {
      const { metadata, spec } = fields as { readonly metadata: Object; readonly spec?: { readonly unschedulable: boolean | null } };
      const node = this.node();
      const version = String(Number(node.metadata.resourceVersion) + 1);
      this.#told(spec?.unschedulable ? 'cordon' : 'uncordon', name, () => {
        if (metadata['resourceVersion'] !== node.metadata.resourceVersion) throw new KernelPatchError('Conflict', 'changed');
      });
      const annotations = merged({ ...node.metadata.annotations, ...(metadata['annotations'] as Object) }) as Record<string, string>;
      const changed = { metadata: { ...node.metadata, annotations, resourceVersion: version }, spec: merged({ ...(node['spec'] as object), ...spec }) };
      this.others.set('/api/v1/nodes/n1', changed);
      return changed;
    },
  };

  #list({ kind, path }: Resource, fieldSelector = ''): readonly KubeObject[] {
    const namespace = /namespaces\/([^/]+)\//.exec(path)?.[1];
    switch (kind) {
      case 'Pod':
        return this.#on(fieldSelector.replace('spec.nodeName=', '')).map(({ object }) => object);
      case 'PodDisruptionBudget':
        return [...this.budgets.values()].filter((object) => namespace === undefined || readBudget(object).namespace === namespace);
      case 'VolumeAttachment':
        return [...this.attachments.values()];
      default:
        throw new Error(`nobody lists ${kind}`);
    }
  }

  #object(path: string): KubeObject {
    return found(this.others.get(path));
  }

  #told(verb: Asked['verb'], name: string, act: () => void): void {
    try {
      act();
      this.asked.push({ at: this.now, verb, name, code: 200 });
    } catch (error) {
      this.asked.push({ at: this.now, verb, name, code: error instanceof KernelPatchError ? CODES[error.code] ?? 500 : 500 });
      throw error;
    }
  }

  #evict(key: string, options: Object): void {
    if (this.spoiler) throw this.spoiler;
    const pod = readPod(found(this.#pods.get(key)).object);
    this.#spend(pod);
    this.#end(key, (options['preconditions'] as { readonly uid: string }).uid, options['gracePeriodSeconds'] as number | undefined);
  }

  /** As the eviction subresource judges it; throws when it refuses. */
  #spend(pod: PodView): void {
    if (pod.phase !== 'Running' || pod.deletion) return;
    const own = [...this.budgets].filter(([, object]) => {
      const { namespace, selector } = readBudget(object);
      return namespace === pod.namespace && selector && selects(selector, pod.labels);
    });
    if (own.length > 1) throw new KernelPatchError('ServerError', 'more than one PodDisruptionBudget');
    for (const [key, object] of own) {
      const { disruptionsAllowed, currentHealthy, desiredHealthy, name } = readBudget(object);
      if (!pod.ready && desiredHealthy > 0 && currentHealthy >= desiredHealthy) return;
      if (disruptionsAllowed <= 0) throw new KernelPatchError('TooMany', 'refused', { said: `The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently` });
      this.budgets.set(key, { ...object, status: { ...(object['status'] as object), disruptionsAllowed: disruptionsAllowed - 1 } });
    }
  }

  #end(key: string, uid: string, grace = 30): void {
    const pod = found(this.#pods.get(key));
    if (pod.object.metadata.uid !== uid) throw new KernelPatchError('Conflict', 'another pod');
    const deletion = { deletionTimestamp: new Date(this.now + grace * 1000).toISOString(), deletionGracePeriodSeconds: grace };
    this.#pods.set(key, { ...pod, object: { ...pod.object, metadata: { ...pod.object.metadata, ...deletion } }, endsAt: this.now + (pod.habits.endsAfter ?? 1) * 1000 });
  }
}

const RUNNING = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
const CODES: Readonly<Partial<Record<string, number>>> = { TooMany: 429, NotFound: 404, Conflict: 409 };

function keyOf({ metadata }: KubeObject): string {
  return `${(metadata as { readonly namespace?: string }).namespace}/${metadata.name}`;
}

function found<T>(object: T | undefined): T {
  if (object === undefined) throw new KernelPatchError('NotFound', 'gone');
  return object;
}

function merged(fields: Object): Object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}
