/** The drains beside the decisions: what they tell, when they are looked at again, and what is left of one whose order has gone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeDrains } from '../../../operator/drains.ts';
import type { DrainTask } from '../../../operator/drains.ts';
import { readNode } from '../../../operator/observe.ts';
import type { KubeObject } from '../../../operator/kube/resources.ts';
import { DrainedCluster } from './drained.ts';
import { NOW } from './builders.ts';
import { aBudget, aPod, drainOptions } from './pods.ts';

const TASK: DrainTask = { node: 'n1', id: 'order-1', kind: 'Drain', since: NOW, options: drainOptions() };
const SIMULATION: DrainTask = { ...TASK, kind: 'Simulate' };

function aScene(cluster = new DrainedCluster()) {
  const seen = { changes: 0 };
  const drains = makeDrains({
    client: cluster.client,
    writes: cluster.writes(),
    now: () => cluster.now,
    nodeOf: (name) => (name === 'n1' ? readNode(cluster.node()) : undefined),
    onChange: () => {
      seen.changes += 1;
    },
  });
  const state = () => [...drains.values()].map((report) => report.state?.kind ?? 'not looked at').join();
  const verbs = () => cluster.asked.map(({ verb }) => verb);
  return { cluster, drains, seen, state, verbs };
}

function setNode(cluster: DrainedCluster, spec: object, annotations: Readonly<Record<string, string>> = {}): void {
  const node: KubeObject = { metadata: { ...cluster.node().metadata, annotations }, spec };
  cluster.others.set('/api/v1/nodes/n1', node);
}

test('a simulation touches nothing and says whether a drain could end', async () => {
  const free = aScene(new DrainedCluster().addPods([aPod('web-1')]));
  assert.deepEqual([free.drains.assign([SIMULATION]), free.state()], [['n1'], 'not looked at']);
  await free.drains.advance('n1');
  assert.deepEqual([free.state(), free.verbs(), free.seen.changes], ['Possible', [], 1]);

  const held = aScene(new DrainedCluster().addPods(['a', 'b', 'c', 'd'].map((name) => aPod(`web-${name}`))).addBudget(aBudget('web'), 4));
  held.drains.assign([SIMULATION]);
  await held.drains.advance('n1');
  const [report] = held.drains.values();
  assert.equal(report?.state?.kind, 'Blocked');
  assert.match('message' in report.state ? report.state.message : '', /^shop\/web-a: PodDisruptionBudget shop\/web allows 0 .*; shop\/web-c: .*; and 1 more$/);
});

test('a drain cordons, evicts, tells how far it is, and is looked at again until it has ended', async () => {
  const { cluster, drains, seen, state, verbs } = aScene(new DrainedCluster().addPods([aPod('web-1')]));
  drains.assign([TASK]);
  const again = await drains.advance('n1');
  assert.deepEqual([state(), verbs(), again], ['Draining', ['cordon', 'evict'], 250]);
  cluster.pass(2000);
  const afterwards = await drains.advance('n1');
  assert.deepEqual([state(), afterwards], ['Drained', 5000], 'an answer that is not acted on grows old');
  const { changes } = seen;
  await drains.advance('n1');
  assert.equal(seen.changes, changes, 'nothing has changed');
});

test('the same task goes on, another one begins with nothing known', async () => {
  const { drains, state } = aScene();
  drains.assign([TASK]);
  await drains.advance('n1');
  assert.deepEqual([drains.assign([{ ...TASK }]), state()], [[], 'Drained']);
  assert.deepEqual([drains.assign([{ ...TASK, options: drainOptions({ force: true }) }]), state()], [['n1'], 'not looked at']);
  assert.deepEqual([drains.assign([]), state(), await drains.advance('n1')], [[], '', undefined]);
});

test('where somebody uncordons a drained node, it is cordoned and looked at again, and the decisions are made anew', async () => {
  const { cluster, drains, seen, state, verbs } = aScene();
  drains.assign([TASK]);
  await drains.advance('n1');
  setNode(cluster, {}, { 'kernelpatch.dev/cordoned-for': 'order-1' });
  cluster.addPods([aPod('web-1')]);
  const { changes } = seen;
  await drains.advance('n1');
  assert.deepEqual([state(), verbs()], ['Draining', ['cordon', 'cordon', 'evict']]);
  assert.ok(seen.changes > changes);
});

test('a cordon that lands when its order has gone is not left: the decisions are made anew after it', async () => {
  const { drains, seen, verbs } = aScene();
  drains.assign([TASK]);
  const look = drains.advance('n1');
  drains.assign([]);
  await look;
  assert.deepEqual([verbs(), [...drains.values()], seen.changes], [['cordon'], [], 1]);
});

test('so it is when a read fails after the cordon', async () => {
  const { cluster, drains, seen } = aScene();
  cluster.client.listPage = () => Promise.reject(new Error('no answer'));
  drains.assign([TASK]);
  await assert.rejects(drains.advance('n1'), /no answer/);
  assert.equal(seen.changes, 1);
});

test('a node that is gone has no drain', async () => {
  const { drains, verbs } = aScene();
  drains.assign([{ ...TASK, node: 'n2' }]);
  assert.deepEqual([await drains.advance('n2'), verbs()], [undefined, []]);
});
