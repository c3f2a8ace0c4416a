/** The loop around decide.ts and apply.ts, with an API server that takes everything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { KernelPatchError } from '../../../operator/errors.ts';
import type { Client } from '../../../operator/kube/client.ts';
import type { KubeObject } from '../../../operator/kube/resources.ts';
import { Store } from '../../../operator/kube/store.ts';
import { makeMetrics } from '../../../operator/metrics.ts';
import { makeReconciler } from '../../../operator/reconcile.ts';
import { waitFor } from '../../wait.ts';
import { aNode, aPolicy } from './builders.ts';

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
  const lease = { held: false, isHeld: () => lease.held, acquire: async () => undefined, release: async () => undefined, lost: new Promise<never>(() => undefined) };
  const reconciler = makeReconciler({
    config: { podName: 'p', namespace: 'ns', deploymentName: 'd', agentImage: 'i', agentImagePullPolicy: 'Never', agentServiceAccount: 's', logLevel: 'info', metricsPort: 0, leaseName: 'l' },
    client,
    lease,
    log: pino({ level: 'silent' }),
    metrics,
    cluster: {
      nodes: cacheOf({ 'node-1': aNode('node-1') }),
      policies: cacheOf({ [policy.metadata.name]: policy }),
      nodeKernels: cacheOf({}),
      kernelPatches: cacheOf({}),
      daemonSets: cacheOf({}),
      notSynced: () => [],
      start: () => undefined,
      stop: async () => undefined,
    },
    now: () => Date.now(),
  });
  return { reconciler, lease, metrics, applied, created };
}

test('what changed while the lease was not held is done once it is held again, without another change', async (t) => {
  const { reconciler, lease, metrics, applied, created } = makeScene();
  t.after(() => reconciler.stop());
  reconciler.wake();
  await waitFor('refused attempts', { seconds: 5, every: 10 }, async () => (await metrics.reconcileErrors.get()).values.some(({ labels, value }) => labels.code === 'LeaseLost' && value >= 3) || undefined);
  assert.deepEqual([applied, created], [[], []]);
  lease.held = true;
  await waitFor('agents and intent', { seconds: 5, every: 10 }, () => (applied.length > 0 && created.includes('NodeKernel')) || undefined, () => ({ applied, created }));
  assert.deepEqual(applied, ['kernelpatch-agent']);
});
