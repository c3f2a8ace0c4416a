/** The Helm chart against a real API server: what it renders, what it refuses, which rights it gives, what it leaves behind. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { renderCrds } from '../../crds/generate.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { ROOT } from '../cache.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../wait.ts';

const CHART = join(ROOT, 'charts/kernelpatch');
const NAMESPACE = 'kernelpatch';
const dir = mkdtempSync(join(tmpdir(), 'kernelpatch-chart-'));
let plane: ControlPlane;

before(async () => {
  plane = await startControlPlane({ dir, components: 'api' });
  await plane.mustKubectl(['create', 'namespace', NAMESPACE]);
});

after(async () => {
  await plane.stop();
  rmSync(dir, { recursive: true });
});

interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: { readonly template?: { readonly spec: { readonly tolerations?: readonly object[] } } };
}

async function helm(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await plane.helm(args);
  assert.equal(code, 0, stderr);
  return stdout;
}

const template = (...values: readonly string[]) =>
  helm('template', 'kernelpatch', CHART, '--namespace', NAMESPACE, '--kube-version', '1.36.0', ...values.flatMap((value) => ['--set', value]));

/** The objects of one kind. */
async function rendered(kind: string, ...values: readonly string[]): Promise<readonly Rendered[]> {
  return parseAllDocuments(await template(...values)).map((document) => document.toJS() as Rendered).filter((object) => object.kind === kind);
}

test('chart, program and image have one version', () => {
  const chart: unknown = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'));
  assert.partialDeepStrictEqual(chart, { version: packageJson.version, appVersion: packageJson.version });
});

test('helm lint finds nothing', async () => {
  assert.match(await helm('lint', '--strict', CHART), /0 chart\(s\) failed/);
});

test('the API server accepts every object, by the strict reading of its schemas', async () => {
  const manifest = await template('replicas=3', 'imagePullSecrets[0].name=registry', 'priorityClassName=system-cluster-critical');
  const printed = await plane.mustKubectl(['apply', '--server-side', '--dry-run=server', '--validate=strict', '-f', '-'], manifest);
  assert.equal(printed.trim().split('\n').length, parseAllDocuments(manifest).length);
});

test('there is a PodDisruptionBudget with more than one replica only', async () => {
  assert.equal((await rendered('PodDisruptionBudget', 'replicas=1')).length, 0);
  assert.equal((await rendered('PodDisruptionBudget', 'replicas=2')).length, 1);
});

test('the chart makes no DaemonSet: without a policy there is no privileged pod', async () => {
  assert.ok(!(await template()).includes('privileged'));
  assert.deepEqual(await rendered('DaemonSet'), []);
});

async function resourcePolicies(...values: readonly string[]): Promise<readonly (string | undefined)[]> {
  return (await rendered('CustomResourceDefinition', ...values)).map((crd) => crd.metadata.annotations?.['helm.sh/resource-policy']);
}

test('the CustomResourceDefinitions are in the release, kept after it, or left out, as crds says', async () => {
  const none = Array.from(renderCrds(), () => undefined);
  assert.deepEqual(await resourcePolicies(), none);
  assert.deepEqual(await resourcePolicies('crds.keep=true'), none.map(() => 'keep'));
  assert.deepEqual(await resourcePolicies('crds.install=false'), []);
});

async function tolerations(...values: readonly string[]): Promise<readonly unknown[]> {
  return (await rendered('Deployment', ...values)).map(({ spec }) => spec?.template?.spec.tolerations);
}

test('the operator can be started on a node that it keeps other pods off', async () => {
  const ours = { key: 'kernelpatch.dev/unpatched', operator: 'Exists', effect: 'NoSchedule' };
  assert.deepEqual(await tolerations(), [[ours]]);
  assert.deepEqual(await tolerations('tolerations[0].key=dedicated'), [[ours, { key: 'dedicated' }]]);
});

test('a digest wins over a tag, for the operator and for the agents it starts', async () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const images = [...(await template('image.repository=registry.example/kp', 'image.tag=v1', `image.digest=${digest}`)).matchAll(/"(registry\.example.*)"/g)].map((match) => match[1]);
  assert.deepEqual(images, [`registry.example/kp@${digest}`, `registry.example/kp@${digest}`]);
});

function keysIn(manifest: string): unknown {
  const objects = parseAllDocuments(manifest).map((document) => document.toJS() as Rendered & { readonly data?: unknown });
  return objects.find(({ metadata }) => metadata.name === 'kernelpatch-keys')?.data;
}

test('live patches must be signed by the keys of the chart, unless it says that nobody has to', async () => {
  const key = join(ROOT, 'test/unit/trust/cosign/p256.pub');
  assert.deepEqual(keysIn(await template()), {});
  const set = await helm('template', 'kernelpatch', CHART, '--namespace', NAMESPACE, '--kube-version', '1.36.0', '--set-file', `verification.keys.release\\.pub=${key}`);
  assert.deepEqual(keysIn(set), { 'release.pub': readFileSync(key, 'utf8') });
  assert.match(set, /AGENT_VERIFICATION\n\s+value: "Require"/);
  assert.match(await template('verification.policy=Off'), /AGENT_VERIFICATION\n\s+value: "Off"/);
});

const refused: readonly (readonly [string, string])[] = [
  ['replicas=0', "at '/replicas': minimum: got 0, want 1"],
  ['replicas=many', "at '/replicas': got string, want integer"],
  ['replcas=2', "additional properties 'replcas' not allowed"],
  ['image.pullPolicy=Sometimes', "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"],
  ['image.digest=latest', "at '/image/digest': 'latest' does not match pattern"],
  ['image.repository=', "at '/image/repository': minLength: got 0, want 1"],
  ['logLevel=verbose', "at '/logLevel': value must be one of 'fatal', 'error', 'warn', 'info', 'debug', 'trace'"],
  ['verification.policy=Warn', "at '/verification/policy': value must be one of 'Require', 'Off'"],
  ['verification.keys.release\\.pub=cosign', "at '/verification/keys/release.pub': 'cosign' does not match pattern"],
  ['registry.mirrors[0].source=https://a.example', "at '/registry/mirrors/0/source': 'https://a.example' does not match pattern"],
  ['registry.proxy.https=proxy.lan', "at '/registry/proxy/https': 'proxy.lan' does not match pattern"],
  ['crds.keep=maybe', "at '/crds/keep': got string, want boolean"],
  ['networkPolicy.apiServerPorts={https}', "at '/networkPolicy/apiServerPorts/0': got string, want integer"],
  ['metrics.serviceMonitor.interval=soon', "at '/metrics/serviceMonitor/interval': 'soon' does not match pattern"],
];
for (const [value, message] of refused) {
  test(`the value ${value} is refused: ${message}`, async () => {
    const { code, stderr } = await plane.helm(['template', 'kernelpatch', CHART, '--set', value]);
    assert.equal(code, 1);
    assert.ok(stderr.includes(message), stderr);
  });
}

test('a Kubernetes older than 1.32 is refused', async () => {
  const { code, stderr } = await plane.helm(['template', 'kernelpatch', CHART, '--kube-version', '1.31.9']);
  assert.equal(code, 1);
  assert.match(stderr, /requires kubeVersion: >=1\.32/);
});

/** Resources that come and go by themselves. */
const TRANSIENT = /^(leases|events|namespaces|componentstatuses|apiservices|endpointslices)\b/;

/** Every kind the API server serves, and every object of it but transient ones. */
async function everything(): Promise<readonly string[]> {
  const served = (await plane.mustKubectl(['api-resources', '--verbs=list', '-o', 'name', '--cached=false'])).trim().split('\n');
  const kinds = served.filter((name) => !TRANSIENT.test(name)).sort();
  return [...kinds, ...(await plane.mustKubectl(['get', kinds.join(','), '--all-namespaces', '-o', 'name'])).trim().split('\n').sort()];
}

async function mayI(account: string, verb: string, what: string, namespace?: string): Promise<boolean> {
  const [resource = '', subresource] = what.split(':');
  const flags = [...(subresource ? [`--subresource=${subresource}`] : []), ...(namespace ? ['--namespace', namespace] : ['--all-namespaces'])];
  const { stdout } = await plane.kubectl(['auth', 'can-i', verb, resource, `--as=system:serviceaccount:${NAMESPACE}:${account}`, ...flags]);
  return stdout.startsWith('yes');
}

const rights: readonly (readonly [account: string, verb: string, what: string, namespace: string | undefined, allowed: boolean])[] = [
  ['kernelpatch-operator', 'watch', 'kernelpatches', undefined, true],
  ['kernelpatch-operator', 'get', 'kernelpatches', undefined, false],
  ['kernelpatch-operator', 'update', 'kernelpatches', undefined, false],
  ['kernelpatch-operator', 'update', 'kernelpatches:status', undefined, true],
  ['kernelpatch-operator', 'update', 'patchpolicies:status', undefined, true],
  ['kernelpatch-operator', 'create', 'nodekernels', undefined, true],
  ['kernelpatch-operator', 'patch', 'nodekernels:status', undefined, false],
  ['kernelpatch-operator', 'watch', 'nodes', undefined, true],
  ['kernelpatch-operator', 'patch', 'nodes', undefined, true],
  ['kernelpatch-operator', 'update', 'nodes', undefined, false],
  ['kernelpatch-operator', 'create', 'daemonsets', NAMESPACE, true],
  ['kernelpatch-operator', 'patch', 'daemonsets/kernelpatch-agent', NAMESPACE, true],
  ['kernelpatch-operator', 'patch', 'daemonsets/other', NAMESPACE, false],
  ['kernelpatch-operator', 'create', 'daemonsets', 'kube-system', false],
  ['kernelpatch-operator', 'get', 'deployments/kernelpatch-operator', NAMESPACE, true],
  ['kernelpatch-operator', 'update', 'leases.coordination.k8s.io/kernelpatch-operator', NAMESPACE, true],
  ['kernelpatch-operator', 'update', 'leases.coordination.k8s.io/other', NAMESPACE, false],
  ['kernelpatch-operator', 'create', 'events.events.k8s.io', 'default', true],
  ['kernelpatch-operator', 'list', 'pods', undefined, true],
  ['kernelpatch-operator', 'watch', 'pods', undefined, false],
  ['kernelpatch-operator', 'create', 'pods', NAMESPACE, false],
  ['kernelpatch-operator', 'delete', 'pods', NAMESPACE, true],
  ['kernelpatch-operator', 'create', 'pods:eviction', NAMESPACE, true],
  ['kernelpatch-operator', 'update', 'pods', NAMESPACE, false],
  ['kernelpatch-operator', 'list', 'poddisruptionbudgets', undefined, true],
  ['kernelpatch-operator', 'patch', 'poddisruptionbudgets', NAMESPACE, false],
  ['kernelpatch-operator', 'get', 'secrets', NAMESPACE, false],
  ['kernelpatch-agent', 'watch', 'nodekernels', undefined, true],
  ['kernelpatch-agent', 'get', 'nodekernels', undefined, false],
  ['kernelpatch-agent', 'patch', 'nodekernels:status', undefined, true],
  ['kernelpatch-agent', 'patch', 'nodekernels', undefined, false],
  ['kernelpatch-agent', 'get', 'nodes', undefined, false],
  ['kernelpatch-agent', 'get', 'secrets', NAMESPACE, false],
];

test('installed it gives the rights that are used and no others; uninstalled it leaves nothing behind', async () => {
  const clean = await everything();
  const notes = await helm('install', 'kernelpatch', CHART, '--namespace', NAMESPACE, '--set', 'replicas=2');
  assert.match(notes, /Live patches must be signed, and no key is installed/);
  assert.match(notes, new RegExp(`kubectl label namespace ${NAMESPACE} --overwrite pod-security.kubernetes.io/enforce=privileged`));
  for (const [account, verb, what, namespace, allowed] of rights) {
    assert.equal(await mayI(account, verb, what, namespace), allowed, `${account} ${verb} ${what} in ${namespace ?? 'the cluster'}`);
  }
  await plane.mustKubectl(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
  await plane.mustKubectl(['apply', '-f', join(ROOT, 'crds/samples/kernelpatch-live-patch.yaml'), '-f', join(ROOT, 'crds/samples/patchpolicy-default.yaml')]);

  await helm('uninstall', 'kernelpatch', '--namespace', NAMESPACE);
  let now: readonly string[] = [];
  await waitFor('the cluster to be as it was before the install', { seconds: 30, every: 500 }, async () => {
    now = await everything();
    return now.join() === clean.join() || undefined;
  }, () => now.filter((name) => !clean.includes(name)));
});

test('a namespace that is labelled for the agents is not asked to be labelled again', async () => {
  await plane.mustKubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=privileged']);
  const notes = await helm('install', 'kernelpatch', CHART, '--namespace', NAMESPACE, '--dry-run=server');
  assert.ok(!notes.includes('kubectl label namespace'), notes);
});
