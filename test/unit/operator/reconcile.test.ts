/** The loop around decide.ts and apply.ts, with an API server that takes everything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { pino } from 'pino';
import type { KernelPatch } from '../../../crds/kernelpatch.ts';
import type { NodeKernel } from '../../../crds/nodekernel.ts';
import type { Config } from '../../../operator/config.ts';
import { KernelPatchError } from '../../../operator/errors.ts';
import type { Client } from '../../../operator/kube/client.ts';
import type { KubeObject } from '../../../operator/kube/resources.ts';
import { Store } from '../../../operator/kube/store.ts';
import type { Cache } from '../../../operator/kube/store.ts';
import { makeMetrics } from '../../../operator/metrics.ts';
import { makeReconciler } from '../../../operator/reconcile.ts';
import { waitFor } from '../../wait.ts';
import { FIXED_RELEASE, RELEASE, aKernelPatch, aNode, aNodeKernel, aPolicy, anOrder } from './builders.ts';
import { World } from './world.ts';

/** A cache with these values under their names, and with what is written to it later. */
function cacheOf<T>(values: Readonly<Record<string, T>>): Store<T> {
  const store = new Store<T>({ project: (object) => values[object.metadata.name] ?? (object as T), onUnreadable: (_name, error) => assert.ifError(error) });
  for (const name of Object.keys(values)) store.upsert({ metadata: { name, resourceVersion: '1' } });
  return store;
}

const take = async (_resource: unknown, object: object): Promise<KubeObject> => object as KubeObject;

function makeScene() {
  const metrics = makeMetrics();
  const policy = aPolicy();
  const applied: string[] = [];
  const created: string[] = [];
  const client: Client = {
    get: async (_resource, name) => ({ metadata: { name, uid: 'u1' } }),
    create: async (resource, object) => {
      created.push(resource.kind);
      return take(resource, object);
    },
    apply: async (resource, object) => {
      applied.push(object.metadata.name);
      return take(resource, object);
    },
    replaceStatus: take,
    replace: take,
    merge: async (_resource, name) => ({ metadata: { name } }),
    delete: async () => undefined,
    listPage: async () => Promise.reject(new KernelPatchError('Network', 'not asked')),
    watch: async () => Promise.reject(new KernelPatchError('Network', 'not asked')),
  };
  const lease = aLease(false);
  const cluster = { nodes: cacheOf({ 'node-1': aNode('node-1') }), policies: cacheOf({ [policy.metadata.name]: policy }), nodeKernels: cacheOf<NodeKernel>({}), kernelPatches: cacheOf<KernelPatch>({}) };
  const reconciler = makeReconciler({ config: CONFIG, client, lease, log: pino({ level: 'silent' }), metrics, cluster: { ...cluster, ...IDLE }, now: () => Date.now() });
  return { reconciler, lease, metrics, applied, created };
}

const CONFIG: Config = { podName: 'p', namespace: 'ns', deploymentName: 'd', agentImage: 'i', agentImagePullPolicy: 'Never', agentServiceAccount: 's', agentVerification: 'Require', agentRegistry: { pullSecret: '', caConfigMap: '', mirrors: [], proxy: { https: '', noProxy: '' } }, logLevel: 'info', metricsPort: 0, leaseName: 'l' };
const IDLE = { daemonSets: cacheOf<KubeObject>({}), notSynced: () => [], start: () => undefined, stop: async () => undefined };

function aLease(held: boolean) {
  const lease = { held, isHeld: () => lease.held, acquire: async () => undefined, release: async () => undefined, lost: new Promise<never>(() => undefined) };
  return lease;
}

test('what changed while the lease was not held is done once it is held again, without another change', async (t) => {
  const { reconciler, lease, metrics, applied, created } = makeScene();
  t.after(() => reconciler.stop());
  reconciler.wake();
  await waitFor('refused attempts', { seconds: 60, every: 10 }, async () => (await metrics.reconcileErrors.get()).values.some(({ labels, value }) => labels.code === 'LeaseLost' && value >= 3) || undefined);
  assert.deepEqual([applied, created], [[], []]);
  lease.held = true;
  await waitFor('agents and intent', { seconds: 60, every: 10 }, () => (applied.length > 0 && created.includes('NodeKernel')) || undefined, () => ({ applied, created }));
  assert.deepEqual(applied, ['kernelpatch-agent']);
});

/** What a world shows at each moment. */
function watching<T>(view: () => ReadonlyMap<string, T>): Cache<T> {
  return {
    get: (name) => view().get(name),
    values: () => view().values(),
    async writing(_name, write) {
      await write();
    },
  };
}

/** The writes of an operator that finds a node in the middle of a drain, and another one of which nothing can be written. */
function aDrain(t: TestContext, policy: object): { readonly world: World; readonly made: readonly string[] } {
  const world = new World();
  world.addNode('n0', { pods: 'Moves' });
  world.addNode('n1');
  world.putPolicy(aPolicy({ maxDisruption: 'Kexec', ...policy }));
  world.putKernelPatch(aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }] }));
  const { metadata, spec } = aNodeKernel('n0', { spec: { reboot: anOrder({ phase: 'Draining' }) } });
  world.nodeKernels.set('n0', { metadata, spec });
  world.runAgent('n0');
  const made: string[] = [];
  const client = world.client(async (make, what) => {
    if (what === 'create NodeKernel') throw new KernelPatchError('Invalid', 'never');
    const object = make();
    made.push(what);
    return object;
  });
  const cluster = { nodes: watching(() => world.view().nodes), nodeKernels: watching(() => world.view().nodeKernels), kernelPatches: watching(() => world.kernelPatches), policies: watching(() => world.policies) };
  const reconciler = makeReconciler({ config: CONFIG, client, lease: aLease(true), log: pino({ level: 'silent' }), metrics: makeMetrics(), cluster: { ...cluster, ...IDLE }, now: () => world.now });
  t.after(() => reconciler.stop());
  reconciler.wake();
  return { world, made };
}

test('a node is drained and told to go down although something else can not be written', async (t) => {
  const { world, made } = aDrain(t, {});
  await waitFor('the node to be told', { seconds: 60, every: 10 }, () => world.order('n0')?.phase === 'Rebooting' || undefined, () => made);
  assert.deepEqual([made.includes('merge Node'), made.includes('create Eviction'), world.node('n0').unschedulable], [true, true, true]);
});

test('a node that is not to be drained any more is uncordoned and stays so', async (t) => {
  const { world, made } = aDrain(t, { mode: 'Plan' });
  await waitFor('the order to be taken back', { seconds: 60, every: 10 }, () => (world.order('n0') === undefined && !world.node('n0').unschedulable) || undefined, () => made);
  assert.equal(made.includes('create Eviction'), false);
});
