/** Rights and pods as docs/security.md lists them: what the chart renders is compared with it, and the API server's own judgement is asked. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { daemonSet } from '../../operator/agents.ts';
import type { AgentSettings } from '../../operator/agents.ts';
import { ROOT } from '../cache.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { tableOf } from '../docs.ts';

const NAMESPACE = 'kernelpatch';
const CHART = join(ROOT, 'charts/kernelpatch');
const LEVELS = ['restricted', 'baseline', 'privileged'] as const;

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels: Readonly<Record<string, string>> };
  readonly rules?: readonly Rule[];
  readonly spec?: { readonly template: { readonly metadata: object; readonly spec: object } };
}

const dir = mkdtempSync(join(tmpdir(), 'kernelpatch-security-'));
let plane: ControlPlane;
let objects: readonly Rendered[];

async function render(...values: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await plane.helm(['template', 'kernelpatch', CHART, '--namespace', NAMESPACE, '--kube-version', '1.36.0', ...values.flatMap((value) => ['--set', value])]);
  assert.equal(code, 0, stderr);
  return stdout;
}

before(async () => {
  plane = await startControlPlane({ dir, components: 'api' });
  objects = parseAllDocuments(await render()).map((document) => document.toJS() as Rendered);
  for (const level of LEVELS) {
    await plane.mustKubectl(['create', 'namespace', level]);
    await plane.mustKubectl(['label', 'namespace', level, `pod-security.kubernetes.io/enforce=${level}`]);
    for (const account of ['kernelpatch-operator', 'kernelpatch-agent']) await plane.mustKubectl(['create', 'serviceaccount', account, '--namespace', level]);
  }
});

after(async () => {
  await plane.stop();
  rmSync(dir, { recursive: true });
});

/** One line for each verb on each resource. */
const linesOf = (who: string, where: string, { apiGroups, resources, resourceNames = [''], verbs }: Rule) =>
  apiGroups.flatMap((group) => resources.flatMap((resource) => resourceNames.flatMap((name) => verbs.map((verb) => `${who} ${where} ${verb} ${group}/${resource} ${name}`))));

test('the rights that the chart gives are those in the table, verb by verb, and each has its reason', () => {
  const given = objects.filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole').flatMap(({ metadata, rules = [] }) => {
    const where = metadata.namespace === undefined ? 'all' : metadata.namespace === NAMESPACE ? 'own' : metadata.namespace;
    return rules.flatMap((rule) => linesOf(metadata.labels['app.kubernetes.io/component'] ?? '', where, rule));
  });
  const said = tableOf('docs/security.md', 'who', 'where', 'resources', 'verbs', 'why').flatMap(([who = '', where = '', what = '', verbs = '', why = '']) => {
    assert.ok(why.length > 5, `${who} ${what} has no reason`);
    const [, group = '', resources = '', name = ''] = /^(?:(\S+): )?([^"]+?)(?: "(.+)")?$/.exec(what) ?? [];
    return linesOf(who, where, { apiGroups: [group], resources: resources.split(', '), resourceNames: [name], verbs: verbs.split(', ') });
  });
  assert.deepEqual(said.sort(), given.sort());
});

test('no right is for everything, none is for secrets or roles', () => {
  for (const { rules = [] } of objects) {
    for (const { apiGroups, resources, verbs } of rules) assert.doesNotMatch([...apiGroups, ...resources, ...verbs].join(' '), /\*|secrets|roles|serviceaccounts|impersonate|escalate|bind|deletecollection/);
  }
});

async function submit(pod: { readonly metadata: object; readonly spec: object }, level: string): Promise<string> {
  const object = { apiVersion: 'v1', kind: 'Pod', metadata: { ...pod.metadata, name: 'pod', namespace: level }, spec: pod.spec };
  const { stdout, stderr } = await plane.kubectl(['create', '--dry-run=server', '-f', '-'], JSON.stringify(object));
  return `${stdout}${stderr}`;
}

test("the operator's pod meets the Pod Security level restricted", async () => {
  const template = objects.find(({ kind }) => kind === 'Deployment')?.spec?.template;
  assert.ok(template);
  for (const level of LEVELS) assert.match(await submit(template, level), /created \(server dry run\)/);
});

test("the agents' pods are refused by restricted and baseline, and need privileged", async () => {
  const settings: AgentSettings = { namespace: NAMESPACE, image: 'registry/kernelpatch', imagePullPolicy: 'Always', serviceAccount: 'kernelpatch-agent', logLevel: 'info', verification: 'Require', registry: { pullSecret: 'registry', caConfigMap: 'authorities', mirrors: [], proxy: { https: '', noProxy: '' } }, owner: { name: 'kernelpatch-operator', uid: 'uid-1' } };
  const { spec } = daemonSet([{}], settings) as unknown as { readonly spec: NonNullable<Rendered['spec']> };
  assert.match(await submit(spec.template, 'restricted'), /violates PodSecurity "restricted:latest": .*privileged/);
  assert.match(await submit(spec.template, 'baseline'), /violates PodSecurity "baseline:latest": host namespaces \(hostPID=true\), hostPath volumes \(.*\), privileged/);
  assert.match(await submit(spec.template, 'privileged'), /created \(server dry run\)/);
});

test('the operator may look at the DaemonSet of the agents, and at no other', async () => {
  await plane.mustKubectl(['create', 'namespace', NAMESPACE]);
  const { code, stderr } = await plane.helm(['install', 'kernelpatch', CHART, '--namespace', NAMESPACE]);
  assert.equal(code, 0, stderr);
  const as = ['--as', `system:serviceaccount:${NAMESPACE}:kernelpatch-operator`, '--namespace', NAMESPACE];
  assert.equal((await plane.kubectl(['get', 'daemonsets', '--field-selector', 'metadata.name=kernelpatch-agent', ...as])).code, 0);
  for (const more of [[], ['--field-selector', 'metadata.name=other'], ['other']]) assert.match((await plane.kubectl(['get', 'daemonsets', ...more, ...as])).stderr, /Forbidden/);
});

test('NetworkPolicies are there when they are asked for, and the API server takes them', async () => {
  assert.ok(!objects.some(({ kind }) => kind === 'NetworkPolicy'));
  const manifest = await render('networkPolicy.enabled=true', 'networkPolicy.apiServerPorts={443}', 'networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.a=b', 'networkPolicy.agentEgress[0].ports[0].port=5000');
  const policies = parseAllDocuments(manifest).map((document) => document.toJS() as Rendered).filter(({ kind }) => kind === 'NetworkPolicy');
  assert.deepEqual(policies.map(({ spec }) => spec), [['agent', 9102, [{ ports: [{ port: 5000 }] }]], ['operator', 9101, []]].map(([component, port, more]) => ({
    podSelector: { matchLabels: { 'app.kubernetes.io/name': 'kernelpatch', 'app.kubernetes.io/component': component } },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [{ ports: [{ port, protocol: 'TCP' }], from: [{ namespaceSelector: { matchLabels: { a: 'b' } } }] }],
    egress: [{ ports: [{ port: 443, protocol: 'TCP' }] }, ...(more as object[])],
  })));
  const printed = await plane.mustKubectl(['apply', '--server-side', '--dry-run=server', '--validate=strict', '-f', '-'], policies.map((policy) => JSON.stringify(policy)).join('\n---\n'));
  assert.equal(printed.trim().split('\n').length, 2);
});
