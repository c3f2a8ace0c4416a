/** Cordons, evictions and deletions against a real API server, and what we foretell of each eviction beside its answer. Kubelets and the disruption controller are played. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { KubeConfig } from '@kubernetes/client-node';
import { advanceDrain, forecastDrain } from '../../operator/advance.ts';
import type { DrainProgress } from '../../operator/advance.ts';
import { CORDONED_FOR } from '../../operator/cordon.ts';
import { kindOf } from '../../operator/errors.ts';
import type { Answer } from '../../operator/evict.ts';
import { makeClient } from '../../operator/kube/client.ts';
import type { Client } from '../../operator/kube/client.ts';
import { makeDrainWrites, readPodsOf } from '../../operator/kube/drains.ts';
import type { DrainWrites } from '../../operator/kube/drains.ts';
import { Store } from '../../operator/kube/store.ts';
import { makeTransport } from '../../operator/kube/transport.ts';
import { readNode } from '../../operator/observe.ts';
import type { NodeView } from '../../operator/observe.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { drainOptions } from '../unit/operator/pods.ts';
import { Fleet } from './fleet.ts';

const dir = mkdtempSync(join(tmpdir(), 'kernelpatch-drain-'));
const ID = 'order-1';
let plane: ControlPlane;
let fleet: Fleet;
let client: Client;
let writes: DrainWrites;
let nodes: Store<NodeView>;
/** Each test has its own node and namespace, of this name. */
let place: string;
let count = 0;

before(async () => {
  plane = await startControlPlane({ dir, components: 'api' });
  fleet = new Fleet(plane.kubeconfig);
  const config = new KubeConfig();
  config.loadFromFile(plane.kubeconfig);
  client = makeClient(makeTransport(config), () => undefined);
  nodes = new Store({ project: readNode, onUnreadable: (_name, error) => assert.ifError(error) });
  writes = makeDrainWrites({ client, isLeader: () => true, nodes });
});

after(async () => {
  await plane.stop();
  rmSync(dir, { recursive: true });
});

beforeEach(async () => {
  count += 1;
  place = `place-${count}`;
  // As every kubelet gives it; of an object that is made with a name alone the API server never notes whose a field is.
  await fleet.addNode(place, '6.12.107', { labels: { 'kubernetes.io/hostname': place } });
  await fleet.request('POST', '/api/v1/namespaces', { metadata: { name: place } });
  await fleet.request('POST', `/api/v1/namespaces/${place}/serviceaccounts`, { metadata: { name: 'default' } });
});

interface PodFields {
  readonly labels?: Readonly<Record<string, string>>;
  readonly ready?: boolean;
  readonly phase?: string;
  readonly volumes?: readonly object[];
  readonly bare?: boolean;
}

/** On the test's node, Running and ready, of a ReplicaSet, unless told. */
async function addPod(name: string, { labels = { app: 'web' }, ready = true, phase = 'Running', volumes = [], bare = false }: PodFields = {}): Promise<void> {
  const ownerReferences = bare ? [] : [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'uid-web', controller: true }];
  const path = `/api/v1/namespaces/${place}/pods`;
  await fleet.request('POST', path, { metadata: { name, labels, ownerReferences }, spec: { nodeName: place, volumes, containers: [{ name: 'c', image: 'registry/web' }] } });
  await fleet.request('PATCH', `${path}/${name}/status`, { status: { phase, conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] } });
}

interface BudgetFields {
  readonly spec?: object;
  readonly status?: object;
}

/** Of the pods app=web; allows none of two, judged, unless told. */
async function addBudget(name: string, { spec, status }: BudgetFields = {}): Promise<void> {
  const path = `/apis/policy/v1/namespaces/${place}/poddisruptionbudgets`;
  await fleet.request('POST', path, { metadata: { name }, spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } }, ...spec } });
  await setBudget(name, status);
}

async function setBudget(name: string, status: object = {}): Promise<void> {
  const judged = { observedGeneration: 1, disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 2, ...status };
  await fleet.request('PATCH', `/apis/policy/v1/namespaces/${place}/poddisruptionbudgets/${name}/status`, { status: judged });
}

/** The kubelet: pods that are being deleted have ended. */
async function endPods(): Promise<void> {
  for (const { namespace, name, uid, deletion } of await readPodsOf(client, place)) {
    if (deletion) await client.delete({ kind: 'Pod', apiVersion: 'v1', path: `/api/v1/namespaces/${namespace}/pods` }, name, uid, { gracePeriodSeconds: 0 });
  }
}

async function node(): Promise<{ readonly annotations: Readonly<Record<string, string>> | undefined; readonly unschedulable: boolean | undefined; readonly view: NodeView }> {
  const object = await client.get({ kind: 'Node', apiVersion: 'v1', path: '/api/v1/nodes' }, place);
  return { annotations: object.metadata.annotations, unschedulable: (object['spec'] as { readonly unschedulable?: boolean }).unschedulable, view: readNode(object) };
}

async function evictOnly(name: string): Promise<Answer> {
  const pod = (await readPodsOf(client, place)).find((each) => each.name === name);
  assert.ok(pod);
  return writes.evict(pod, drainOptions());
}

const cordonedByHand = () => fleet.request('PATCH', `/api/v1/nodes/${place}`, { spec: { unschedulable: true } });

test('owner and cordon come in one write and go in one, and other annotations stay', async () => {
  await fleet.request('PATCH', `/api/v1/nodes/${place}`, { metadata: { annotations: { 'example.com/rack': '7' } } });
  await writes.cordon((await node()).view, ID);
  const cordoned = await node();
  assert.deepEqual([cordoned.unschedulable, cordoned.annotations], [true, { 'example.com/rack': '7', [CORDONED_FOR]: ID }]);
  assert.deepEqual([nodes.get(place)?.unschedulable, nodes.get(place)?.cordonedFor], [true, ID]);
  await writes.uncordon(cordoned.view, 'order-2');
  assert.equal((await node()).unschedulable, true, "another order's uncordon does nothing");
  await writes.uncordon(cordoned.view, ID);
  const given = await node();
  assert.deepEqual([given.unschedulable, given.annotations], [undefined, { 'example.com/rack': '7' }]);
});

test('a cordon of a person is neither marked as ours nor undone', async () => {
  await cordonedByHand();
  const { view } = await node();
  await writes.cordon(view, ID);
  await writes.uncordon(view, ID);
  const { unschedulable, annotations } = await node();
  assert.deepEqual([unschedulable, annotations], [true, undefined]);
});

test('after a person has uncordoned, our mark goes with the uncordon, and a cordon of theirs that came later stays theirs for any other order', async () => {
  await writes.cordon((await node()).view, ID);
  await plane.mustKubectl(['uncordon', place]);
  assert.equal((await node()).annotations?.[CORDONED_FOR], ID, 'kubectl leaves the mark');
  await cordonedByHand();
  await writes.cordon((await node()).view, 'order-2');
  await writes.uncordon((await node()).view, 'order-2');
  assert.equal((await node()).unschedulable, true);
});

test('a person who uncordons the node of an order and cordons it again keeps that cordon when the order ends', async () => {
  await writes.cordon((await node()).view, ID);
  await plane.mustKubectl(['uncordon', place]);
  await plane.mustKubectl(['cordon', place]);
  await writes.uncordon((await node()).view, ID);
  const { unschedulable, annotations } = await node();
  assert.deepEqual([unschedulable, annotations], [true, undefined]);
});

interface Case {
  readonly pod?: PodFields;
  readonly budgets?: readonly (readonly [name: string, fields: BudgetFields])[];
  /** What the API server answers, and in part what it says. */
  readonly answer: 'Accepted' | 'Refused';
  readonly said?: RegExp;
  readonly retryAfterMs?: number;
  /** Evict, or the reason that is foretold. */
  readonly foretold: string;
}

const one = { disruptionsAllowed: 1, currentHealthy: 2 };
const cases: readonly (readonly [sentence: string, given: Case])[] = [
  ['without a budget', { answer: 'Accepted', foretold: 'Evict' }],
  ['under a budget that allows one', { budgets: [['web', { status: one }]], answer: 'Accepted', foretold: 'Evict' }],
  ['under a budget that allows none', { budgets: [['web', {}]], answer: 'Refused', said: /The disruption budget web needs 1 healthy pods and has 1 currently/, retryAfterMs: 0, foretold: 'BudgetExhausted' }],
  ['under a budget that never allows one', { budgets: [['web', { status: { desiredHealthy: 2, currentHealthy: 2 } }]], answer: 'Refused', foretold: 'BudgetForbids' }],
  ['under a budget that was not looked at', { budgets: [['web', { status: { observedGeneration: 0 } }]], answer: 'Refused', said: /still being processed/, retryAfterMs: 10_000, foretold: 'BudgetNotObserved' }],
  ['under two budgets', { budgets: [['web', { status: one }], ['all', { spec: { selector: {} }, status: one }]], answer: 'Refused', said: /more than one PodDisruptionBudget/, foretold: 'SeveralBudgets' }],
  ['under a budget of other pods', { budgets: [['db', { spec: { selector: { matchLabels: { app: 'db' } } } }]], answer: 'Accepted', foretold: 'Evict' }],
  ['under a budget with an expression', { budgets: [['web', { spec: { selector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['x'] }] } } }]], answer: 'Refused', foretold: 'BudgetExhausted' }],
  ['pending, under two budgets that allow none', { pod: { phase: 'Pending', ready: false }, budgets: [['web', {}], ['all', { spec: { selector: {} } }]], answer: 'Accepted', foretold: 'Evict' }],
  ['unready, while enough are healthy', { pod: { ready: false }, budgets: [['web', {}]], answer: 'Accepted', foretold: 'Evict' }],
  ['unready, while too few are healthy', { pod: { ready: false }, budgets: [['web', { status: { currentHealthy: 0 } }]], answer: 'Refused', foretold: 'BudgetExhausted' }],
  ['unready, under AlwaysAllow', { pod: { ready: false }, budgets: [['web', { spec: { unhealthyPodEvictionPolicy: 'AlwaysAllow' }, status: { currentHealthy: 0 } }]], answer: 'Accepted', foretold: 'Evict' }],
  ['unready, while none is needed', { pod: { ready: false }, budgets: [['web', { status: { currentHealthy: 0, desiredHealthy: 0 } }]], answer: 'Refused', foretold: 'BudgetExhausted' }],
];
for (const [sentence, { pod, budgets = [], answer, said = /(?:)/, retryAfterMs, foretold }] of cases) {
  test(`a pod ${sentence}: we foretell what the API server answers, ${answer}`, async () => {
    await addPod('web-1', pod);
    for (const [name, fields] of budgets) await addBudget(name, fields);
    const { evict, blocked } = await forecastDrain(client, place, drainOptions(), Date.now());
    assert.deepEqual([...evict.map(() => 'Evict'), ...blocked.flatMap(({ obstacles }) => obstacles.map(({ reason }) => reason))], [foretold]);
    const given = await evictOnly('web-1');
    assert.equal(given.kind, answer, JSON.stringify(given));
    if (given.kind !== 'Refused') return;
    assert.match(given.message, said);
    if (retryAfterMs !== undefined) assert.equal(given.retryAfterMs, retryAfterMs);
  });
}

test('a pod that is gone is gone, and one of the same name that came after it is left alone', async () => {
  await addPod('web-1');
  const [pod] = await readPodsOf(client, place);
  assert.ok(pod);
  assert.equal((await writes.evict({ ...pod, name: 'web-2' }, drainOptions())).kind, 'Gone');
  for (const verb of ['evict', 'remove'] as const) {
    const answer: Answer = await writes[verb]({ ...pod, uid: 'uid-before' }, drainOptions());
    assert.match(answer.kind === 'Refused' ? answer.message : answer.kind, /UID in the precondition/);
  }
  assert.equal((await readPodsOf(client, place))[0]?.deletion, undefined);
  assert.deepEqual(await writes.remove(pod, drainOptions({ gracePeriodSeconds: 7 })), { kind: 'Accepted' });
  const [deleted] = await readPodsOf(client, place);
  assert.equal((deleted?.deletion?.due ?? 0) - (deleted?.deletion?.since ?? 0), 7000);
});

test('without the lease nothing is written', async () => {
  await addPod('web-1');
  const [pod] = await readPodsOf(client, place);
  assert.ok(pod);
  const standby = makeDrainWrites({ client, isLeader: () => false, nodes });
  const { view } = await node();
  for (const write of [() => standby.cordon(view, ID), () => standby.uncordon(view, ID), () => standby.evict(pod, drainOptions()), () => standby.remove(pod, drainOptions())]) {
    await assert.rejects(write(), (error) => kindOf(error) === 'LeaseLost');
  }
  assert.equal((await node()).unschedulable, undefined);
});

/** Looks until the drain has ended; kubelets end pods after each look, and `meanwhile` is told the message. */
async function drain(options: object, meanwhile: (message: string) => Promise<void>): Promise<DrainProgress> {
  let memory;
  const since = Date.now();
  for (let look = 0; look < 20; look += 1) {
    const progress = await advanceDrain({ node: (await node()).view, id: ID, since, options: drainOptions(options), memory }, { client, writes, now: () => Date.now() });
    if (progress.kind !== 'Draining') return progress;
    ({ memory } = progress);
    await endPods();
    await meanwhile(progress.message);
  }
  throw new Error('the drain does not end');
}

test('a whole drain: cordoned, what may go goes at once, a budget is waited for by name, and what stays stays', async () => {
  await addPod('job-1', { labels: { app: 'job' } });
  await addPod('web-1');
  await addPod('bare', { labels: {}, bare: true, phase: 'Succeeded' });
  await addBudget('web');
  const messages: string[] = [];
  const progress = await drain({}, async (message) => {
    messages.push(message);
    if (messages.length === 3) await setBudget('web', one);
  });
  assert.deepEqual(progress, { kind: 'Drained' });
  assert.match(messages[0] ?? '', new RegExp(`^2 pods are left: ${place}/web-1: PodDisruptionBudget ${place}/web allows 0 disruptions: .*; ${place}/job-1 is being evicted$`));
  assert.match(messages[1] ?? '', /^1 pod is left: /);
  assert.deepEqual((await readPodsOf(client, place)).map(({ name }) => name), ['bare']);
  assert.deepEqual([(await node()).unschedulable, (await node()).annotations?.[CORDONED_FOR]], [true, ID]);
});

test('volumes of evicted pods are waited for on a node with a CSI driver', async () => {
  await fleet.request('POST', '/apis/storage.k8s.io/v1/csinodes', { metadata: { name: place }, spec: { drivers: [{ name: 'csi.example.com', nodeID: place, topologyKeys: null }] } });
  await fleet.request('POST', '/api/v1/persistentvolumes', {
    metadata: { name: place },
    spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], csi: { driver: 'csi.example.com', volumeHandle: 'v1' }, claimRef: { namespace: place, name: 'data' } },
  });
  await fleet.request('POST', '/apis/storage.k8s.io/v1/volumeattachments', { metadata: { name: `csi-${place}` }, spec: { attacher: 'csi.example.com', nodeName: place, source: { persistentVolumeName: place } } });
  await addPod('db-0', { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }] });
  const messages: string[] = [];
  const progress = await drain({}, async (message) => {
    messages.push(message);
    if (messages.length === 3) await fleet.request('DELETE', `/apis/storage.k8s.io/v1/volumeattachments/csi-${place}`);
  });
  assert.deepEqual(progress, { kind: 'Drained' });
  assert.equal(messages[2], `all pods have gone: volume ${place} is still attached (VolumeAttachment csi-${place})`);
});
