/** A drain by the operator beside `kubectl drain` in one cluster: how long it takes, and how often it is refused. Kubelets and agents are played: thirty pods that end at once are more than an emulated node can do. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import type { Say } from '../fleet/fleet.ts';
import { Fleet } from '../integration/fleet.ts';
import { fetchText, prepareForOperator, startOperator } from '../integration/operator.ts';
import type { Operator } from '../integration/operator.ts';
import { waitFor } from '../wait.ts';
import { percentile, round } from './figure.ts';
import type { Figure } from './figure.ts';

const ROUNDS = 3;
const PODS = 30;
/** Pods of each node that a budget holds, and for how long. */
const HELD = 5;
const HELD_SECONDS = 60;
const RELEASE = '6.12.107+deb13-cloud-amd64';
const FIXED_RELEASE = '6.12.117+deb13-cloud-amd64';
const NAMESPACE = 'shop';
const PODS_PATH = `/api/v1/namespaces/${NAMESPACE}/pods`;
const BUDGETS_PATH = `/apis/policy/v1/namespaces/${NAMESPACE}/poddisruptionbudgets`;

interface Bench {
  readonly plane: ControlPlane;
  readonly fleet: Fleet;
  readonly operator: Operator;
}

export async function drainCost(say: Say): Promise<readonly Figure[]> {
  const dir = mkdtempSync(join(tmpdir(), 'kernelpatch-drains-'));
  const plane = await startControlPlane({ dir, components: 'api' });
  const fleet = new Fleet(plane.kubeconfig);
  const kubelets = new AbortController();
  try {
    await prepareForOperator(plane);
    await fleet.request('POST', '/api/v1/namespaces', { metadata: { name: NAMESPACE } });
    await fleet.request('POST', `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { metadata: { name: 'default' } });
    const operator = await startOperator(plane, dir, 'operator');
    fleet.start();
    void endPods(fleet, kubelets.signal);
    const bench = { plane, fleet, operator };
    await apply(bench, 'KernelPatch', 'fix', { cves: [{ id: 'CVE-2026-31431' }], kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }, { release: FIXED_RELEASE, state: 'Fixed' }] });
    const figures = [await drainTime(bench, say), await refusals(bench, say)];
    await operator.stop();
    return figures;
  } finally {
    kubelets.abort();
    await fleet.stop();
    await plane.stop();
    rmSync(dir, { recursive: true });
  }
}

async function drainTime(bench: Bench, say: Say): Promise<Figure> {
  const ours: number[] = [];
  const kubectl: number[] = [];
  for (let count = 1; count <= ROUNDS; count++) {
    kubectl.push(await drainByKubectl(bench, `kubectl-${count}`));
    ours.push(await drainByOperator(bench, `ours-${count}`));
    say(`drain of ${PODS} pods: kubectl ${kubectl.at(-1)?.toFixed(2)} s, ours ${ours.at(-1)?.toFixed(2)} s`);
  }
  const p50 = { ours: round(percentile(ours, 0.5)), kubectl: round(percentile(kubectl, 0.5)) };
  const value = round(p50.ours / p50.kubectl);
  return {
    name: 'drain-of-30-pods', value, unit: 'of kubectl drain', goal: '<= 0.3', ok: value <= 0.3,
    baseline: `p50 of ${ROUNDS}: kubectl drain ${p50.kubectl} s, held back by its client; ours ${p50.ours} s, from the order to drain until all pods have gone; pods of played kubelets, which end them at once`,
  };
}

async function drainByKubectl({ plane, fleet }: Bench, node: string): Promise<number> {
  await addNode(fleet, node);
  await addPods(fleet, node, PODS);
  const begun = performance.now();
  await plane.mustKubectl(['drain', node, '--ignore-daemonsets']);
  return (performance.now() - begun) / 1000;
}

async function drainByOperator(bench: Bench, node: string): Promise<number> {
  await addNode(bench.fleet, node);
  await addPods(bench.fleet, node, PODS);
  await consent(bench, node, {});
  const begun = await untilPhase(bench, node, 'Draining');
  return (await untilPhase(bench, node, 'Rebooting') - begun) / 1000;
}

/** Both at once: the API server counts all refusals, the operator its own. */
async function refusals(bench: Bench, say: Say): Promise<Figure> {
  const { plane, fleet } = bench;
  const nodes = ['kubectl-held', 'ours-held'];
  for (const node of nodes) {
    await addNode(fleet, node);
    await addPods(fleet, node, HELD, { app: 'held' });
  }
  await fleet.request('POST', BUDGETS_PATH, { metadata: { name: 'held' }, spec: { minAvailable: nodes.length * HELD, selector: { matchLabels: { app: 'held' } } } });
  // One more is somewhere and not healthy: once it is, one may go.
  const healthy = { currentHealthy: nodes.length * HELD, desiredHealthy: nodes.length * HELD, expectedPods: nodes.length * HELD + 1 };
  await fleet.request('PATCH', `${BUDGETS_PATH}/held/status`, { status: { observedGeneration: 1, disruptionsAllowed: 0, ...healthy } });
  await consent(bench, 'ours-held', { onTimeout: 'Wait' });
  await untilPhase(bench, 'ours-held', 'Draining');
  const before = await countRefused(bench);
  await plane.kubectl(['drain', 'kubectl-held', '--ignore-daemonsets', `--timeout=${HELD_SECONDS}s`]);
  const after = await countRefused(bench);
  const perPodAndMinute = (count: number) => round((count / HELD / HELD_SECONDS) * 60);
  const ours = perPodAndMinute(after.ours - before.ours);
  const kubectl = perPodAndMinute(after.all - before.all - (after.ours - before.ours));
  say(`evictions refused a minute and pod: kubectl ${kubectl}, ours ${ours}`);
  return { name: 'refused-evictions', value: ours, unit: 'a minute and pod', baseline: `kubectl drain ${kubectl} under the same PodDisruptionBudget, which allows none, in the same ${HELD_SECONDS} s`, goal: '<= 12', ok: ours <= 12 };
}

async function countRefused({ plane, operator }: Bench): Promise<{ readonly all: number; readonly ours: number }> {
  const metrics = await plane.mustKubectl(['get', '--raw', '/metrics']);
  const { body } = await fetchText(operator, '/metrics');
  return { all: sumOf(metrics, /^apiserver_request_total\{.*code="429".*subresource="eviction".*\} (\d+)$/gm), ours: sumOf(body, /^kernelpatch_api_writes_total\{kind="Eviction",verb="create",outcome="TooMany"\} (\d+)$/gm) };
}

function sumOf(metrics: string, lines: RegExp): number {
  return Array.from(metrics.matchAll(lines), ([, value]) => Number(value)).reduce((sum, value) => sum + value, 0);
}

async function apply({ plane }: Pick<Bench, 'plane'>, kind: string, name: string, spec: object): Promise<void> {
  await plane.mustKubectl(['apply', '--server-side', '-f', '-'], JSON.stringify({ apiVersion: 'kernelpatch.dev/v1alpha1', kind, metadata: { name }, spec }));
}

/** To drain this node and no other. */
function consent(bench: Bench, node: string, drain: object): Promise<void> {
  return apply(bench, 'PatchPolicy', node, { nodeSelector: { matchLabels: { bench: node } }, maxDisruption: 'Kexec', drain });
}

function addNode(fleet: Fleet, name: string): Promise<void> {
  return fleet.addNode(name, RELEASE, { labels: { bench: name }, installedKernels: [RELEASE, FIXED_RELEASE], ready: true });
}

/** Running and ready, of a controller that makes no others. */
async function addPods(fleet: Fleet, node: string, count: number, labels: Readonly<Record<string, string>> = { app: 'web' }): Promise<void> {
  const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'uid-web', controller: true }];
  for (let number = 1; number <= count; number++) {
    const name = `${node}-${number}`;
    await fleet.request('POST', PODS_PATH, { metadata: { name, labels, ownerReferences }, spec: { nodeName: node, containers: [{ name: 'c', image: 'registry/web' }] } });
    await fleet.request('PATCH', `${PODS_PATH}/${name}/status`, { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } });
  }
}

/** The kubelets: what is being deleted has ended within 50 ms. */
async function endPods(fleet: Fleet, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { items } = (await fleet.request('GET', PODS_PATH)) as { readonly items: readonly { readonly metadata: { readonly name: string; readonly deletionTimestamp?: string } }[] };
    const ending = items.filter(({ metadata }) => metadata.deletionTimestamp !== undefined);
    await Promise.all(ending.map(({ metadata }) => fleet.request('DELETE', `${PODS_PATH}/${metadata.name}`, { gracePeriodSeconds: 0 })));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** When the node's order was seen in this phase, on the monotonic clock. */
function untilPhase({ fleet }: Pick<Bench, 'fleet'>, node: string, phase: string): Promise<number> {
  let seen: object | undefined;
  return waitFor(`${node} to be ${phase}`, { seconds: 60, every: 10 }, async () => {
    const { spec } = await fleet.nodeKernel(node);
    seen = spec;
    return spec.reboot?.phase === phase ? performance.now() : undefined;
  }, () => seen);
}
