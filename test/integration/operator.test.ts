/** The operator's own processes against a real API server. The nodes and their agents are played (fleet.ts). */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Condition } from '../../crds/common.ts';
import type { KernelPatch } from '../../crds/kernelpatch.ts';
import type { NodeKernel } from '../../crds/nodekernel.ts';
import type { PatchPolicy } from '../../crds/patchpolicy.ts';
import { ROOT } from '../cache.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { stopAllDaemons, tailOf } from '../process.ts';
import { waitFor } from '../wait.ts';
import { Fleet } from './fleet.ts';
import { NAMESPACE, fetchText, prepareForOperator, startOperator } from './operator.ts';
import type { Operator } from './operator.ts';

const RELEASE = '6.12.107+deb13-cloud-amd64';
const FIXED_RELEASE = '6.12.117+deb13-cloud-amd64';
const GROUP = '/apis/kernelpatch.dev/v1alpha1';

const dir = mkdtempSync(join(tmpdir(), 'kernelpatch-operator-'));
let plane: ControlPlane;
let fleet: Fleet;
let operator: Operator;

/** Ready says also that it listens; a leader is ready when it has read the cluster. */
async function untilReady(daemon: Operator): Promise<void> {
  await waitFor(`${daemon.name} to be ready`, { seconds: 30, every: 50 }, async () => (await fetchText(daemon, '/readyz')).code === 200 || undefined, () => logOf(daemon));
}

async function isLeader(daemon: Operator): Promise<boolean> {
  return /^kernelpatch_leader 1$/m.test((await fetchText(daemon, '/metrics')).body);
}

function logOf(daemon: Operator): readonly { readonly msg: string; readonly [field: string]: unknown }[] {
  return readFileSync(daemon.log, 'utf8').split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as { msg: string });
}

function notServed(daemon: Operator): readonly unknown[] {
  return logOf(daemon).filter(({ msg }) => msg.startsWith('kind is not served')).map(({ kind }) => kind);
}

async function apply(kind: string, name: string, spec: object): Promise<void> {
  await plane.mustKubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], JSON.stringify({ apiVersion: 'kernelpatch.dev/v1alpha1', kind, metadata: { name }, spec }));
}

const applyPolicy = (spec: object, name = 'workers') => apply('PatchPolicy', name, spec);
const affected = (extra: object = {}) => ({ release: RELEASE, state: 'Affected', ...extra });
const livePatch = (name: string, digit: string) => ({ livePatch: { name, source: { hostPath: `/var/lib/livepatches/${name}.ko` }, sha256: digit.repeat(64) } });
const patchSpec = (kernels: readonly object[], cve = 'CVE-2026-31431') => ({ cves: [{ id: cve }], kernels });

async function get<T>(path: string): Promise<T> {
  return (await fleet.request('GET', `${GROUP}/${path}`)) as T;
}

function ready({ status }: { readonly status?: { readonly conditions?: readonly Condition[] | undefined } }): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === 'Ready');
}

/** Waits for Ready of a KernelPatch or PatchPolicy to be "status reason". */
async function untilReadyIs<T extends KernelPatch | PatchPolicy>(path: string, expected: string, seconds = 20): Promise<T> {
  let last: T | undefined;
  return waitFor(`${path} to be ${expected}`, { seconds, every: 20 }, async () => {
    last = await get<T>(path);
    const condition = ready(last);
    return `${condition?.status} ${condition?.reason}` === expected ? last : undefined;
  }, () => last?.status);
}

async function wanted(node: string): Promise<readonly string[]> {
  return ((await fleet.nodeKernel(node)).spec.livePatches ?? []).map(({ name, desired }) => `${name} ${desired}`);
}

async function daemonSet(): Promise<{ readonly spec: { readonly template: { readonly spec: { readonly affinity?: object } } }; readonly metadata: { readonly ownerReferences: readonly { readonly kind: string }[] } } | undefined> {
  const answer = await plane.kubectl(['get', 'daemonset', 'kernelpatch-agent', '-n', NAMESPACE, '-o', 'json']);
  return answer.code === 0 ? JSON.parse(answer.stdout) : undefined;
}

async function writesButLeases(): Promise<readonly (readonly [string, number])[]> {
  return Object.entries({ ...(await apiWrites(operator)), 'NodeKernel status': fleet.writes }).filter(([key]) => !key.startsWith('Lease'));
}

async function apiWrites(daemon: Operator): Promise<Readonly<Record<string, number>>> {
  const { body } = await fetchText(daemon, '/metrics');
  const lines = body.matchAll(/^kernelpatch_api_writes_total\{kind="(\w+)",verb="([\w-]+)",outcome="Ok"\} (\d+)$/gm);
  return Object.fromEntries(Array.from(lines, ([, kind, verb, count]) => [`${kind} ${verb}`, Number(count)]));
}

before(async () => {
  plane = await startControlPlane({ dir, components: 'api' });
  await prepareForOperator(plane);
  fleet = new Fleet(plane.kubeconfig);
  await fleet.addNode('n1', RELEASE, { labels: { pool: 'a' } });
  await fleet.addNode('n2', RELEASE, { labels: { pool: 'a' } });
  fleet.start();
  operator = await startOperator(plane, dir, 'operator-1');
  await waitFor('operator-1 to lead', { seconds: 30 }, async () => (await isLeader(operator)) || undefined);
  await untilReady(operator);
});

after(async () => {
  await fleet.stop();
  await stopAllDaemons();
  await plane.stop();
  rmSync(dir, { recursive: true });
});

test('without a policy there is no agent and no NodeKernel, and a KernelPatch says what is missing', async () => {
  await apply('KernelPatch', 'fix-a', patchSpec([affected(livePatch('livepatch_a', 'a'))]));
  const { status } = await untilReadyIs<KernelPatch>('kernelpatches/fix-a', 'Unknown NoNodes');
  assert.equal(status?.closed, '0/0');
  assert.equal(await daemonSet(), undefined);
  assert.deepEqual(await fleet.nodeKernels(), []);
  await plane.mustKubectl(['delete', 'kernelpatch', 'fix-a']);
});

test('a policy brings agents to the nodes it selects, and one that selects all needs no affinity', async () => {
  await applyPolicy({ nodeSelector: { matchLabels: { pool: 'a' } }, rollout: { maxInFlight: '1' } });
  const created = await waitFor('the DaemonSet', { seconds: 10 }, daemonSet);
  assert.match(JSON.stringify(created.spec.template.spec.affinity), /"key":"pool","operator":"In","values":\["a"\]/);
  assert.deepEqual(created.metadata.ownerReferences.map(({ kind }) => kind), ['Deployment']);
  await applyPolicy({ nodeSelector: {}, rollout: { maxInFlight: '1' } });
  await waitFor('the affinity to go', { seconds: 10 }, async () => ((await daemonSet())?.spec.template.spec.affinity === undefined ? true : undefined));
  const policy = await untilReadyIs<PatchPolicy>('patchpolicies/workers', 'True AllClosed');
  assert.equal(policy.status?.closed, '2/2');
});

test('a KernelPatch reaches a node in well under a second, and the next when the first is done', async (context) => {
  fleet.turn('n1', 'Holds');
  const object = { apiVersion: 'kernelpatch.dev/v1alpha1', kind: 'KernelPatch', metadata: { name: 'fix-a' }, spec: patchSpec([affected(livePatch('livepatch_a', 'a'))]) };
  const startedAt = performance.now();
  await fleet.request('POST', `${GROUP}/kernelpatches`, object);
  await waitFor('the intent', { seconds: 5, every: 2 }, async () => ((await wanted('n1')).length > 0 ? true : undefined));
  const milliseconds = performance.now() - startedAt;
  // About 30 ms on an idle machine; the bound is for one that is busy with a build.
  assert.ok(milliseconds < 1000, `${milliseconds} ms`);
  context.diagnostic(`intent after ${milliseconds.toFixed(0)} ms`);

  const { status } = await untilReadyIs<KernelPatch>('kernelpatches/fix-a', 'False Transitioning');
  assert.deepEqual(status?.attention?.map(({ node, verdict, reason }) => `${node} ${verdict} ${reason}`), ['n1 InProgress Transitioning', 'n2 Waiting WaitingForSlot']);
  assert.deepEqual(await wanted('n2'), []);
  assert.deepEqual((await get<PatchPolicy>('patchpolicies/workers')).status?.slots?.map(({ node }) => node), ['n1']);

  fleet.turn('n1', 'Works');
  await untilReadyIs('kernelpatches/fix-a', 'True AllClosed');
  await untilReadyIs('patchpolicies/workers', 'True AllClosed');
});

test('a rollout over two nodes at once costs at most four writes a node, the agents\' included', async () => {
  await applyPolicy({ nodeSelector: {}, rollout: { maxInFlight: '100%' } });
  await plane.mustKubectl(['delete', 'kernelpatch', 'fix-a']);
  await waitFor('the nodes to want nothing', { seconds: 10, every: 50 }, async () => ((await wanted('n1')).length + (await wanted('n2')).length === 0 ? true : undefined));
  await untilReadyIs('patchpolicies/workers', 'True AllClosed');
  let last = '';
  const settled = async () => {
    const now = JSON.stringify(await writesButLeases());
    const same = now === last;
    last = now;
    return same || undefined;
  };
  // Longer than any write is held back.
  await waitFor('everything to be written', { seconds: 20, every: 3000 }, settled);
  const earlier = Object.fromEntries(await writesButLeases());
  await apply('KernelPatch', 'fix-a', patchSpec([affected(livePatch('livepatch_a', 'a'))]));
  await untilReadyIs('kernelpatches/fix-a', 'True AllClosed');
  await waitFor('everything to be written', { seconds: 20, every: 3000 }, settled);
  const writes = (await writesButLeases()).map(([key, number]) => [key, number - (earlier[key] ?? 0)] as const).filter(([, number]) => number > 0);
  assert.ok(writes.reduce((sum, [, number]) => sum + number, 0) <= 2 * 4, JSON.stringify(writes));
});

test('kubectl get tells how far it is', async () => {
  const patches = await plane.mustKubectl(['get', 'kernelpatches']);
  assert.match(patches, /^NAME +CLOSED +BLOCKED +FAILED +UNKNOWN +READY +REASON +AGE\nfix-a +2\/2 +0 +0 +0 +True +AllClosed +\S+\n$/);
  assert.match(await plane.mustKubectl(['get', 'patchpolicies']), /workers +Apply +LivePatch +2\/2 +True +AllClosed/);
  assert.match(await plane.mustKubectl(['get', 'nodekernels']), /n1 +6\.12\.107\S+ +LivePatch +Active +livepatch_a/);
  const events = await plane.mustKubectl(['get', 'events', '-n', 'default', '-o', 'jsonpath={range .items[*]}{.involvedObject.name} {.type} {.reason}{"\\n"}{end}']);
  assert.deepEqual(events.trim().split('\n').filter((line) => line.startsWith('fix-a')), ['fix-a Normal AllClosed', 'fix-a Normal AllClosed']);
});

test('a node that has booted is tainted until it is as patched as before, and taints of others stay', async () => {
  const taints = async (node: string) => ((await fleet.request('GET', `/api/v1/nodes/${node}`)) as { readonly spec: { readonly taints?: readonly { readonly key: string }[] } }).spec.taints?.map(({ key }) => key) ?? [];
  const untilTaintIs = (there: boolean) => waitFor(`the taint to be ${there ? 'set' : 'removed'}`, { seconds: 10, every: 20 }, async () => ((await taints('n1')).includes('kernelpatch.dev/unpatched') === there ? true : undefined));
  const foreign = await taints('n2');
  await applyPolicy({ nodeSelector: {}, rollout: { maxInFlight: '100%' }, livePatch: { taintUntilPatched: true } });
  await plane.mustKubectl(['taint', 'node', 'n1', 'example.com/dedicated=db:NoSchedule']);
  fleet.turn('n1', 'Holds');
  await fleet.boot('n1', 'b1f0c8a2-0000-4000-8000-000000000002');
  await untilTaintIs(true);
  await untilReadyIs('kernelpatches/fix-a', 'False Transitioning');
  let plan: NodeKernel['spec']['plan'];
  // A plan alone may wait two seconds (operator/pace.ts).
  await waitFor('the plan to name who holds the taint', { seconds: 10, every: 20 }, async () => {
    ({ plan } = (await fleet.nodeKernel('n1')).spec);
    return plan?.patches.every(({ kernelPatch, holdsTaint }) => kernelPatch === 'fix-a' && holdsTaint === true) || undefined;
  }, () => plan);
  assert.deepEqual(await wanted('n1'), ['livepatch_a Loaded'], 'it was asked for throughout');
  await plane.mustKubectl(['taint', 'node', 'n1', 'example.com/broken:NoExecute']);
  fleet.turn('n1', 'Works');
  await untilTaintIs(false);
  assert.deepEqual(new Set(await taints('n1')), new Set([...foreign, 'example.com/dedicated', 'example.com/broken']));
  assert.deepEqual(await taints('n2'), foreign);
  await untilReadyIs('kernelpatches/fix-a', 'True AllClosed');
  const events = await plane.mustKubectl(['describe', 'node', 'n1']);
  for (const reason of ['UnpatchedSinceBoot', 'UnpatchedTaintRemoved']) assert.match(events, new RegExp(reason));
});

test('a withdrawn KernelPatch is removed from the nodes, which are open again', async () => {
  await plane.mustKubectl(['patch', 'kernelpatch', 'fix-a', '--type=merge', '-p', '{"spec":{"withdrawn":true}}']);
  await untilReadyIs('kernelpatches/fix-a', 'False Withdrawn');
  for (const node of ['n1', 'n2']) {
    await waitFor(`${node} to be without it`, { seconds: 10, every: 20 }, () => (fleet.nodes.get(node)?.loaded.size === 0 ? true : undefined));
    assert.deepEqual(await wanted(node), ['livepatch_a Absent']);
  }
  await plane.mustKubectl(['delete', 'kernelpatch', 'fix-a']);
});

test('what is planned: not listed, fixed, a kexec that is not allowed and then is, a digest that is refused', async () => {
  await fleet.addNode('n3', '6.1.0-unlisted');
  await fleet.addNode('n4', FIXED_RELEASE);
  await fleet.addNode('n5', '6.12.100+old', { installedKernels: ['6.12.100+old', FIXED_RELEASE] });
  fleet.turn('n2', 'Refuses');
  const old = { release: '6.12.100+old', state: 'Affected', rebootInto: FIXED_RELEASE };
  await apply('KernelPatch', 'fix-b', patchSpec([affected(livePatch('livepatch_b', 'b')), { release: FIXED_RELEASE, state: 'Fixed' }, old]));
  const planned = async () => Object.fromEntries((await fleet.nodeKernels()).map(({ metadata, spec }) => [metadata.name, `${spec.plan?.action} ${spec.plan?.reason}`]));
  const untilPlanned = async (expected: Readonly<Record<string, string>>) => {
    let last: unknown;
    await waitFor('the plans', { seconds: 10, every: 50 }, async () => {
      last = await planned();
      return Object.entries(expected).every(([node, plan]) => (last as typeof expected)[node] === plan) || undefined;
    }, () => last);
  };
  const livePatched = 'LivePatch LivePatchAvailable';
  await untilPlanned({ n1: livePatched, n2: livePatched, n3: 'Unknown KernelNotListed', n4: 'None KernelFixed', n5: 'Blocked DisruptionNotAllowed' });
  const { status } = await untilReadyIs<KernelPatch>('kernelpatches/fix-b', 'False NodesBlocked');
  assert.deepEqual(status?.attention?.map(({ node, reason }) => `${node} ${reason}`), ['n2 DigestMismatch', 'n5 DisruptionNotAllowed', 'n3 KernelNotListed']);

  await applyPolicy({ nodeSelector: {}, maxDisruption: 'Kexec', rollout: { maxInFlight: '1' } });
  await untilPlanned({ n5: 'Kexec KexecAvailable', n1: livePatched });
  fleet.turn('n2', 'Works');
});

test('before anybody consents to a kexec, the plan says what a drain would run into', async () => {
  await applyPolicy({ nodeSelector: {}, maxDisruption: 'Kexec', mode: 'Plan', rollout: { maxInFlight: '1' } });
  const pods = '/api/v1/namespaces/default/pods';
  const budgets = '/apis/policy/v1/namespaces/default/poddisruptionbudgets';
  await fleet.request('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'uid-web', controller: true }];
  for (const [name, metadata] of [['web-1', { labels: { app: 'web' }, ownerReferences }], ['free-1', { ownerReferences }], ['bare', {}]] as const) {
    await fleet.request('POST', pods, { metadata: { name, ...metadata }, spec: { nodeName: 'n5', containers: [{ name: 'c', image: 'registry/web' }] } });
    await fleet.request('PATCH', `${pods}/${name}/status`, { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } });
  }
  await fleet.request('POST', budgets, { metadata: { name: 'web' }, spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } } } });
  await fleet.request('PATCH', `${budgets}/web/status`, { status: { observedGeneration: 1, disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 } });

  // Another plan is looked at at once, the same one after five minutes.
  await applyPolicy({ nodeSelector: {}, maxDisruption: 'Kexec', mode: 'Plan', rollout: { maxInFlight: '1' }, drain: { timeoutSeconds: 600 } });
  let plan: NodeKernel['spec']['plan'];
  await waitFor('the preview', { seconds: 10, every: 50 }, async () => {
    ({ plan } = (await fleet.nodeKernel('n5')).spec);
    return plan?.drain?.blockedPods === 2 || undefined;
  }, () => plan);
  assert.deepEqual([plan?.action, plan?.mode, plan?.drain?.evict, plan?.drain?.leave], ['Kexec', 'Plan', 1, 0]);
  assert.deepEqual(plan?.drain?.blocked.map(({ pod, reason, pdb }) => `${pod} ${reason} ${pdb ?? ''}`), ['default/bare BarePod ', 'default/web-1 BudgetForbids default/web']);
  assert.match(await plane.mustKubectl(['describe', 'nodekernel', 'n5']), /Message: +PodDisruptionBudget default\/web allows 0 disruptions: it needs 1 healthy pods and has 1 of 1, so it never allows one/);
  assert.equal((await fleet.nodeKernel('n1')).spec.plan?.drain, undefined);
});

test('in mode Plan everything is shown and nothing is wanted', async () => {
  await applyPolicy({ nodeSelector: {}, maxDisruption: 'Kexec', mode: 'Plan', rollout: { maxInFlight: '1' } });
  await apply('KernelPatch', 'fix-c', patchSpec([affected(livePatch('livepatch_c', 'c'))], 'CVE-2026-31999'));
  await waitFor('the plan', { seconds: 10, every: 50 }, async () => ((await fleet.nodeKernel('n1')).spec.plan?.patches.some(({ kernelPatch, action }) => kernelPatch === 'fix-c' && action === 'LivePatch') ? true : undefined));
  const { spec } = await fleet.nodeKernel('n1');
  assert.deepEqual([spec.plan?.mode, spec.livePatches], ['Plan', []]);
  assert.ok(fleet.nodes.get('n1')?.loaded.has('livepatch_b'), 'what was loaded before is left alone');
  await plane.mustKubectl(['delete', 'kernelpatch', 'fix-b', 'fix-c']);
  await applyPolicy({ nodeSelector: { matchLabels: { pool: 'a' } }, rollout: { maxInFlight: '1' } });
  await waitFor('the other nodes to be let go', { seconds: 10 }, async () => ((await fleet.nodeKernels()).length === 2 ? true : undefined));
});

test('an operator that is killed and started again in the middle of a rollout changes nothing and carries on', async () => {
  fleet.turn('n1', 'Holds');
  await apply('KernelPatch', 'fix-d', patchSpec([affected(livePatch('livepatch_d', 'd'))]));
  await untilReadyIs('kernelpatches/fix-d', 'False Transitioning');
  const slots = (await get<PatchPolicy>('patchpolicies/workers')).status?.slots;
  const generations = async () => (await fleet.nodeKernels()).map(({ metadata }) => metadata.generation);
  const unchanged = await generations();
  await operator.stop('SIGKILL');
  const [second, third] = [await startOperator(plane, dir, 'operator-2'), await startOperator(plane, dir, 'operator-3')];
  await Promise.all([untilReady(second), untilReady(third)]);
  operator = await waitFor('one of the standbys to lead', { seconds: 30, every: 100 }, async () => {
    for (const each of [second, third]) if (await isLeader(each)) return each;
    return undefined;
  });
  await untilReady(operator);
  assert.equal((await Promise.all([second, third].map(isLeader))).filter(Boolean).length, 1);
  await waitFor('the new leader to have looked', { seconds: 10 }, async () => (/kernelpatch_reconcile_seconds_count [1-9]/.test((await fetchText(operator, '/metrics')).body) ? true : undefined));
  assert.deepEqual(await generations(), unchanged);
  assert.deepEqual((await get<PatchPolicy>('patchpolicies/workers')).status?.slots, slots);
  assert.deepEqual(Object.keys(await apiWrites(operator)).filter((key) => !key.startsWith('Lease')), []);

  fleet.turn('n1', 'Works');
  await untilReadyIs('kernelpatches/fix-d', 'True AllClosed');
  const standby = operator === second ? third : second;
  await standby.stop();
});

test('an API server that is restarted under it is no matter', async () => {
  await plane.stopApi();
  await plane.startApi();
  await apply('KernelPatch', 'fix-e', patchSpec([affected(livePatch('livepatch_e', 'e'))], 'CVE-2026-31555'));
  await plane.mustKubectl(['delete', 'kernelpatch', 'fix-d']);
  await untilReadyIs('kernelpatches/fix-e', 'True AllClosed', 40);
  assert.ok(operator.running());
});

test('when as many nodes fail as the budget has, no further node is tried', async () => {
  fleet.turn('n1', 'Fails');
  await apply('KernelPatch', 'fix-f', patchSpec([affected(livePatch('livepatch_f', 'f'))], 'CVE-2026-31555'));
  await plane.mustKubectl(['delete', 'kernelpatch', 'fix-e']);
  const { status } = await untilReadyIs<KernelPatch>('kernelpatches/fix-f', 'False InsmodFailed');
  await waitFor('the halt', { seconds: 10 }, async () => ((await get<KernelPatch>('kernelpatches/fix-f')).status?.attention?.[1]?.reason === 'RolloutHalted' ? true : undefined), () => status);
  assert.ok(!(await wanted('n2')).includes('livepatch_f Loaded'));
  fleet.turn('n1', 'Works');
});

test('without a policy the agents and the NodeKernels go', async () => {
  await plane.mustKubectl(['delete', 'patchpolicy', 'workers']);
  await waitFor('the DaemonSet to go', { seconds: 10 }, async () => ((await daemonSet()) === undefined ? true : undefined));
  await waitFor('the NodeKernels to go', { seconds: 10 }, async () => ((await fleet.nodeKernels()).length === 0 ? true : undefined));
});

test('kinds that are deleted under it are waited for, and it says so once for each', async () => {
  await plane.mustKubectl(['delete', 'crd', '--all']);
  await waitFor('the log', { seconds: 20 }, () => (notServed(operator).length === 3 ? true : undefined), () => logOf(operator).slice(-10));
  await plane.mustKubectl(['apply', '--server-side', '-f', join(ROOT, 'crds/generated')]);
  await plane.mustKubectl(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
  await waitFor('the kinds to be served', { seconds: 20 }, () => applyPolicy({ rollout: { maxInFlight: '1' } }).then(() => true));
  await untilReadyIs('patchpolicies/workers', 'True AllClosed', 40);
  assert.deepEqual(new Set(notServed(operator)), new Set(['KernelPatch', 'NodeKernel', 'PatchPolicy']));
  assert.equal(notServed(operator).length, 3);
});

test('asked to end, it gives its lease back', async () => {
  assert.ok(operator.running(), tailOf(operator));
  await operator.stop('SIGTERM');
  assert.equal(logOf(operator).at(-1)?.msg, 'stopped', tailOf(operator));
  assert.equal(await plane.mustKubectl(['get', 'lease', 'kernelpatch-operator', '-n', NAMESPACE, '-o', 'jsonpath={.spec.holderIdentity}']), '');
});
