/** Whole drains with a clock that the test turns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { advanceDrain } from '../../../operator/advance.ts';
import type { DrainProgress } from '../../../operator/advance.ts';
import { readCordoning } from '../../../operator/cordon.ts';
import type { Cordoning } from '../../../operator/cordon.ts';
import { KernelPatchError } from '../../../operator/errors.ts';
import type { DrainMemory } from '../../../operator/evict.ts';
import { readNode } from '../../../operator/observe.ts';
import { NOW, aNode } from './builders.ts';
import { DrainedCluster } from './drained.ts';
import { aBudget, aPod, drainOptions } from './pods.ts';
import type { PodFields } from './pods.ts';

const ID = 'order-1';

interface Run {
  readonly last: DrainProgress;
  readonly messages: readonly string[];
  readonly seconds: number;
}

/** Carries the drain on until it has ended or the time is over; a forgetful leader is a new one at each look. */
async function drain(cluster: DrainedCluster, options: object = {}, { seconds = 3600, forgets = false } = {}): Promise<Run> {
  const since = cluster.now;
  const writes = cluster.writes();
  const messages: string[] = [];
  let memory: DrainMemory | undefined;
  for (;;) {
    const order = { node: readNode(cluster.node()), id: ID, since, options: drainOptions(options), memory: forgets ? undefined : memory };
    const last = await advanceDrain(order, { client: cluster.client, writes, now: () => cluster.now });
    const passed = (cluster.now - since) / 1000;
    if (last.kind !== 'Drained') messages.push(last.message);
    if (last.kind !== 'Draining' || passed >= seconds) return { last, messages, seconds: passed };
    assert.ok(last.againInMs > 0 && last.againInMs <= 5000, `${last.againInMs} ms`);
    ({ memory } = last);
    cluster.pass(last.againInMs);
  }
}

const pods = (count: number, fields: PodFields = {}, name = 'web') => Array.from({ length: count }, (_, index) => aPod(`${name}-${index}`, fields));
const verbs = ({ asked }: DrainedCluster) => asked.map(({ verb, name, code }) => `${verb} ${name} ${code}`);
const daemon = aPod('ds', { owner: 'DaemonSet' });

test('a node is cordoned, all pods that may go are evicted at once, and it is drained when they have ended', async () => {
  const cluster = new DrainedCluster().addPods([...pods(30), daemon], { endsAfter: 2 });
  const { last, seconds } = await drain(cluster);
  assert.equal(last.kind, 'Drained');
  assert.equal(verbs(cluster)[0], 'cordon n1 200');
  assert.equal(cluster.asked.filter(({ verb, at }) => verb === 'evict' && at === NOW).length, 30);
  assert.deepEqual(cluster.pods(), ['shop/ds']);
  assert.ok(seconds < 3, `${seconds} s`);
});

test('an empty node is drained by the first look', async () => {
  assert.deepEqual(await drain(new DrainedCluster().addPods([daemon])), { last: { kind: 'Drained' }, messages: [], seconds: 0 });
});

test('pods of a budget take turns, none of their evictions is refused, and the wait names pod and budget', async () => {
  const cluster = new DrainedCluster().addPods(pods(3), { endsAfter: 1, readyAfter: 10 }).addBudget(aBudget('web'), 2);
  const { last, messages } = await drain(cluster);
  assert.equal(last.kind, 'Drained');
  assert.deepEqual(verbs(cluster), ['cordon n1 200', 'evict shop/web-0 200', 'evict shop/web-1 200', 'evict shop/web-2 200']);
  assert.match(messages[0] ?? '', /^3 pods are left: .*shop\/web-1 takes its turn: PodDisruptionBudget shop\/web allows 1 at once/);
  assert.match(messages.join('\n'), /^2 pods are left: shop\/web-1: PodDisruptionBudget shop\/web allows 0 disruptions: it needs 2 healthy pods and has 2 of 3/m);
  assert.match(messages.join('\n'), /shop\/web-0 is ending since 2026-11-24T12:00:00Z, until 2026-11-24T12:00:30Z at most/);
});

/** In any minute. */
function mostRefusedPerMinute(cluster: DrainedCluster): number {
  const refused = cluster.asked.filter(({ verb, code }) => verb === 'evict' && code !== 200);
  return Math.max(0, ...refused.map(({ at, name }) => refused.filter((each) => each.name === name && each.at >= at && each.at < at + 60_000).length));
}

for (const [sentence, retryAfterSeconds, most] of [
  ['a pod whose eviction is refused is tried 12 times a minute at most', undefined, 12],
  ['a Retry-After of the API server is kept to', 20, 3],
] as const) {
  test(sentence, async () => {
    const cluster = new DrainedCluster().addPods(pods(2), {}).addPods([daemon]);
    cluster.spoiler = new KernelPatchError('TooMany', 'POST: 429', { said: 'The disruption budget web needs 2 healthy pods and has 2 currently', retryAfterSeconds });
    const { last, messages } = await drain(cluster, {}, { seconds: 300 });
    assert.equal(last.kind, 'Draining');
    const refused = mostRefusedPerMinute(cluster);
    assert.ok(refused > 1 && refused <= most, `${refused}`);
    assert.match(messages.at(-1) ?? '', /^2 pods are left: shop\/web-0: The disruption budget web needs 2 healthy pods and has 2 currently/);
    cluster.spoiler = undefined;
    assert.equal((await drain(cluster)).last.kind, 'Drained');
  });
}

test('a look costs two reads, and when nothing goes on there are 12 a minute', async () => {
  const cluster = new DrainedCluster().addPods(pods(2)).addBudget(aBudget('web'), 2);
  await drain(cluster, {}, { seconds: 600 });
  const looks = (cluster.reads - 1) / 2;
  assert.ok(looks <= 10 * 12 + 20, `${looks}`);
  assert.deepEqual(verbs(cluster), ['cordon n1 200']);
});

const held = () => new DrainedCluster().addPods([...pods(1), ...pods(1, { labels: { app: 'other' } }, 'other')]).addBudget(aBudget('web'), 1);

test('a drain that has taken too long is parked, with the pod and the budget', async () => {
  const { last, seconds } = await drain(held(), { timeoutSeconds: 60 });
  assert.equal(last.kind, 'Parked');
  assert.equal(seconds, 60);
  assert.match(last.kind === 'Parked' ? last.message : '', /^1 pod is left 60 s after 2026-11-24T12:00:00Z: shop\/web-0: PodDisruptionBudget shop\/web allows 0 disruptions: it needs 1 healthy pods and has 1 of 1/);
});

test('a drain that may wait goes on past its time, says so, and ends when the budget allows it', async () => {
  const cluster = held();
  const waiting = await drain(cluster, { timeoutSeconds: 60, onTimeout: 'Wait' }, { seconds: 1000 });
  assert.equal(waiting.last.kind, 'Draining');
  assert.match(waiting.messages.at(-1) ?? '', /^1 pod is left 60 s after 2026-11-24T12:00:00Z: shop\/web-0: /);
  cluster.addPods(pods(1, { nodeName: 'n2' }, 'more'));
  cluster.pass(250);
  assert.equal((await drain(cluster, { onTimeout: 'Wait' })).last.kind, 'Drained');
});

test('a drain that may delete deletes what its budgets hold once its time is over, and not before', async () => {
  const cluster = held();
  const { last, seconds } = await drain(cluster, { timeoutSeconds: 60, onTimeout: 'Delete' });
  assert.equal(last.kind, 'Drained');
  assert.deepEqual(verbs(cluster), ['cordon n1 200', 'evict shop/other-0 200', 'delete shop/web-0 200']);
  assert.ok(seconds >= 60 && seconds < 65, `${seconds} s`);
});

test('a drain that may delete never deletes a bare pod or local data, and is parked after twice its time', async () => {
  const cluster = new DrainedCluster().addPods([aPod('bare', { owner: 'None' }), aPod('web-0', { volumes: [{ name: 'cache', emptyDir: {} }] })]);
  const { last, seconds } = await drain(cluster, { timeoutSeconds: 60, onTimeout: 'Delete' });
  assert.deepEqual([last.kind, seconds], ['Parked', 120]);
  assert.deepEqual(verbs(cluster), ['cordon n1 200']);
});

const stuck = () => new DrainedCluster().addPods([aPod('web-0')], { endsAfter: Infinity });

test('a pod that does not end is told, and skipped when the policy says when', async () => {
  const parked = await drain(stuck(), { timeoutSeconds: 120 });
  assert.match(parked.messages.at(-1) ?? '', /^1 pod is left 120 s after .*: shop\/web-0: is being deleted since 2026-11-24T12:00:00Z and was to be gone by 2026-11-24T12:00:30Z/);
  const skipped = await drain(stuck(), { timeoutSeconds: 120, skipWaitForDeleteTimeoutSeconds: 10 });
  assert.equal(skipped.last.kind, 'Drained');
  assert.ok(skipped.seconds > 40 && skipped.seconds <= 45.25, `${skipped.seconds} s`);
});

test('the grace period of the policy is the one that pods get', async () => {
  const cluster = new DrainedCluster().addPods([aPod('web-0')], { endsAfter: Infinity });
  const { messages } = await drain(cluster, { gracePeriodSeconds: 5 }, { seconds: 2 });
  assert.match(messages.at(-1) ?? '', /is ending since 2026-11-24T12:00:00Z, until 2026-11-24T12:00:05Z at most/);
});

function withVolumes(): DrainedCluster {
  const cluster = new DrainedCluster().addPods([aPod('db-0', { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data-db-0' } }] }), aPod('ds', { owner: 'DaemonSet', volumes: [{ name: 'log', persistentVolumeClaim: { claimName: 'log' } }] })]);
  for (const [name, volume, claim] of [['csi-1', 'pv-1', 'data-db-0'], ['csi-2', 'pv-2', 'log'], ['csi-3', 'pv-3', 'far']] as const) {
    cluster.attachments.set(name, { metadata: { name }, spec: { nodeName: name === 'csi-3' ? 'n2' : 'n1', source: { persistentVolumeName: volume } } });
    cluster.others.set(`/api/v1/persistentvolumes/${volume}`, { metadata: { name: volume }, spec: { claimRef: { namespace: 'shop', name: claim } } });
  }
  return cluster;
}

test('a node is drained when the volumes of its pods are detached, other nodes and pods that stay aside', async () => {
  const cluster = withVolumes();
  cluster.others.set('/apis/storage.k8s.io/v1/csinodes/n1', { metadata: { name: 'n1' }, spec: { drivers: [{ name: 'csi.example.com' }] } });
  const waiting = await drain(cluster, {}, { seconds: 30 });
  assert.equal(waiting.last.kind, 'Draining');
  assert.match(waiting.messages.at(-1) ?? '', /^all pods have gone: volume pv-1 is still attached \(VolumeAttachment csi-1\)$/);
  cluster.attachments.delete('csi-1');
  assert.equal((await drain(cluster)).last.kind, 'Drained');
});

test('without a CSI driver on the node no volume is waited for', async () => {
  const cluster = withVolumes();
  const { last, seconds } = await drain(cluster);
  assert.equal(last.kind, 'Drained');
  assert.ok(seconds < 2, `${seconds} s`);
});

test('a leader that knows nothing of the drain brings it to the same end', async () => {
  const cluster = new DrainedCluster().addPods([...pods(4), daemon], { readyAfter: 5 }).addBudget(aBudget('web'), 3);
  const { last } = await drain(cluster, {}, { forgets: true });
  assert.equal(last.kind, 'Drained');
  assert.equal(cluster.asked.filter(({ verb }) => verb === 'evict').length, 4);
});

/** Open: pods are scheduled here. Ours: cordoned for this order. Foreign: cordoned, and not for this order. */
function cordonOf({ unschedulable, cordonedFor }: Cordoning, id: string): 'Open' | 'Ours' | 'Foreign' {
  if (!unschedulable) return 'Open';
  return cordonedFor === id ? 'Ours' : 'Foreign';
}

test('a cordon is ours only with our order, and only then it is undone', async () => {
  const cluster = new DrainedCluster();
  const writes = cluster.writes();
  const cordon = () => cordonOf(readCordoning(cluster.node()), ID);
  await writes.cordon(aNode('n1'), ID);
  assert.equal(cordon(), 'Ours');
  await writes.uncordon(aNode('n1'), 'order-2');
  assert.equal(cordon(), 'Ours');
  await writes.uncordon(aNode('n1'), ID);
  assert.deepEqual([cordon(), cluster.node().metadata.annotations], ['Open', {}]);

  cluster.others.set('/api/v1/nodes/n1', { metadata: { name: 'n1', resourceVersion: '5' }, spec: { unschedulable: true } });
  await writes.cordon(aNode('n1'), ID);
  await writes.uncordon(aNode('n1'), ID);
  assert.equal(cordon(), 'Foreign');
  assert.deepEqual(verbs(cluster), ['cordon n1 200', 'uncordon n1 200']);
});

test('a node that somebody has cordoned is drained without touching the cordon', async () => {
  const cluster = new DrainedCluster().addPods(pods(1));
  cluster.others.set('/api/v1/nodes/n1', { metadata: { name: 'n1', resourceVersion: '5' }, spec: { unschedulable: true } });
  assert.equal((await drain(cluster)).last.kind, 'Drained');
  assert.deepEqual(verbs(cluster), ['evict shop/web-0 200']);
});

const podArbitrary = fc.record({
  app: fc.constantFrom('a', 'b', 'c'),
  owner: fc.constantFrom('ReplicaSet', 'StatefulSet', 'DaemonSet', 'None'),
  ready: fc.boolean(),
  local: fc.boolean(),
  endsAfter: fc.constantFrom(0.25, 3, 29),
  readyAfter: fc.constantFrom(0.5, 20, 200),
});
const drainArbitrary = fc.record({
  pods: fc.array(podArbitrary, { maxLength: 12 }),
  minAvailable: fc.record({ a: fc.option(fc.nat(4)), b: fc.option(fc.nat(4)) }),
  onTimeout: fc.constantFrom('Park', 'Wait', 'Delete'),
  force: fc.boolean(),
  deleteEmptyDirData: fc.boolean(),
  forgets: fc.boolean(),
});

function indexOf(pod: string): number {
  return Number(/p-(\d+)$/.exec(pod)?.[1]);
}

/** True of a request that the options do not allow to be made about the pod. */
function isForbidden(verb: string, pod: { readonly owner: string; readonly local: boolean } | undefined, options: { readonly onTimeout: string; readonly force: boolean; readonly deleteEmptyDirData: boolean }): boolean {
  if (!pod) return false;
  return pod.owner === 'DaemonSet' || (pod.owner === 'None' && !options.force) || (pod.local && !options.deleteEmptyDirData) || (verb === 'delete' && options.onTimeout !== 'Delete');
}

test('whatever runs there, a drain evicts nothing that was to stay, keeps every budget, and ends or says what it waits for', async () => {
  await fc.assert(
    fc.asyncProperty(drainArbitrary, async ({ pods: given, minAvailable, onTimeout, force, deleteEmptyDirData, forgets }) => {
      const cluster = new DrainedCluster();
      for (const [index, { app, owner, ready, local, ...habits }] of given.entries()) {
        cluster.addPods([aPod(`p-${index}`, { labels: { app }, owner, ready, volumes: local ? [{ name: 'tmp', emptyDir: {} }] : [] })], habits);
      }
      for (const [app, desired] of Object.entries(minAvailable)) if (desired !== null) cluster.addBudget(aBudget(app, { selector: { matchLabels: { app } } }), desired);
      const { last, messages } = await drain(cluster, { onTimeout, force, deleteEmptyDirData, timeoutSeconds: 300 }, { seconds: 900, forgets });

      assert.deepEqual(cluster.asked.filter(({ name, verb }) => isForbidden(verb, given[indexOf(name)], { onTimeout, force, deleteEmptyDirData })), []);
      assert.deepEqual(cluster.asked.filter(({ code }) => code !== 200), [], 'a budget was tried that allows nothing');
      const staying = given.flatMap(({ owner }, index) => (owner === 'DaemonSet' ? [`shop/p-${index}`] : []));
      if (last.kind === 'Drained') assert.deepEqual(cluster.pods().toSorted(), staying.toSorted());
      else assert.match(messages.at(-1) ?? '', /^\d+ pods? (is|are) left 300 s after .*: shop\/(p-\d+|made)/);
    }),
    { numRuns: Number(process.env['FAST_CHECK_RUNS'] ?? 40) },
  );
});
