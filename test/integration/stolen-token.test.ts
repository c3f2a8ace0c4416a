/** What a token of the agents is worth to whoever takes it from a node: asked of a real API server with the chart's roles and admission policy, row by row. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { IncomingMessage } from 'node:http';
import type { NodeKernel, NodeKernelStatus } from '../../crds/nodekernel.ts';
import { ROOT } from '../cache.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../wait.ts';

const NAMESPACE = 'kernelpatch';
const AGENT = 'kernelpatch-agent';
const OPERATOR = 'kernelpatch-operator';
const NODE_KERNELS = '/apis/kernelpatch.dev/v1alpha1/nodekernels';
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const IN_NAMESPACE = `/api/v1/namespaces/${NAMESPACE}`;

const dir = mkdtempSync(join(tmpdir(), 'kernelpatch-token-'));
let plane: ControlPlane;
let connections: Agent;
/** That of the agent's pod on node-a, as a pod there has it mounted. */
let stolen = '';

interface Answer {
  readonly code: number;
  readonly body: string;
}

interface Ask {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

/** As curl with this token would. */
async function ask(token: string, { method, path, body, headers = {} }: Ask): Promise<Answer> {
  const payload = body === undefined ? '' : JSON.stringify(body);
  const patch = Array.isArray(body) ? 'application/json-patch+json' : 'application/merge-patch+json';
  const contentType = method === 'PATCH' ? patch : 'application/json';
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request({
      host: '127.0.0.1', port: plane.port, method, path, agent: connections, timeout: 20_000,
      headers: { authorization: `Bearer ${token}`, 'content-length': Buffer.byteLength(payload), ...(payload && { 'content-type': contentType }), ...headers },
    });
    outgoing.on('response', resolve).on('error', reject).on('timeout', () => outgoing.destroy(new Error(`${method} ${path} is not answered`)));
    outgoing.end(payload);
  });
  return { code: response.statusCode ?? 0, body: await text(response) };
}

const STATUS: NodeKernelStatus = {
  agentVersion: 'stolen',
  bootID: 'b1f0c8a2-0000-4000-8000-000000000001',
  kernel: { release: '6.12.117', buildID: 'unknown', taint: 0, taintFlags: '', lockdown: 'none', livePatching: 'Available', kexec: 'Available' },
  installedKernels: [],
  state: 'Idle',
  active: '',
  livePatches: [],
};

/** What the agent itself sends. */
const report = (node: string): Ask => ({ method: 'PATCH', path: `${NODE_KERNELS}/${node}/status`, body: [{ op: 'add', path: '/status', value: STATUS }] });
const nodeKernel = (name: string) => ({ apiVersion: 'kernelpatch.dev/v1alpha1', kind: 'NodeKernel', metadata: { name }, spec: {} });

/** A pod that is there and was never started. */
async function makePod(name: string, nodeName: string | undefined, { namespace = NAMESPACE, account = AGENT } = {}): Promise<void> {
  const spec = { serviceAccountName: account, ...(nodeName && { nodeName }), containers: [{ name: 'agent', image: 'registry/kernelpatch' }] };
  await plane.mustKubectl(['apply', '--server-side', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace }, spec }));
}

/** By TokenRequest, as a kubelet asks for it. */
async function tokenOf(account: string, ...more: readonly string[]): Promise<string> {
  return (await plane.mustKubectl(['create', 'token', account, ...(more.includes('--namespace') ? [] : ['--namespace', NAMESPACE]), ...more])).trim();
}

const boundTo = (pod: string) => ['--bound-object-kind', 'Pod', '--bound-object-name', pod];

before(async () => {
  plane = await startControlPlane({ dir, components: 'api' });
  connections = new Agent({ ca: readFileSync(plane.authority.ca), keepAlive: true });
  await plane.mustKubectl(['create', 'namespace', NAMESPACE]);
  await plane.mustKubectl(['create', 'namespace', 'other']);
  const { code, stderr } = await plane.helm(['install', 'kernelpatch', join(ROOT, 'charts/kernelpatch'), '--namespace', NAMESPACE]);
  assert.equal(code, 0, stderr);
  await plane.mustKubectl(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
  for (const name of ['node-a', 'node-b']) {
    await plane.mustKubectl(['create', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name } }));
    await waitFor('NodeKernels to be served', { seconds: 30 }, async () => (await plane.kubectl(['create', '-f', '-'], JSON.stringify(nodeKernel(name)))).code === 0 || undefined);
  }
  await makePod('agent-a', 'node-a');
  await makePod('agent-b', 'node-b');
  stolen = await tokenOf(AGENT, ...boundTo('agent-a'));
  await waitFor('the admission policy to hold', { seconds: 30 }, async () => (await ask(stolen, report('node-b'))).code === 403 || undefined);
});

after(async () => {
  connections.destroy();
  await plane.stop();
  rmSync(dir, { recursive: true });
});

test('with it the agent does what it is there for', async () => {
  const own = `${NODE_KERNELS}?fieldSelector=metadata.name%3Dnode-a`;
  assert.equal((await ask(stolen, { method: 'GET', path: own })).code, 200);
  assert.equal((await ask(stolen, { method: 'GET', path: `${own}&watch=true&timeoutSeconds=1` })).code, 200);
  const written = await ask(stolen, report('node-a'));
  assert.equal(written.code, 200, written.body);
});

test('and what it can read of other nodes, since no role can tell the agents of two nodes apart', async () => {
  const { code, body } = await ask(stolen, { method: 'GET', path: NODE_KERNELS });
  assert.equal(code, 200);
  assert.deepEqual((JSON.parse(body) as { readonly items: readonly NodeKernel[] }).items.map(({ metadata }) => metadata.name), ['node-a', 'node-b']);
});

test('what every account of a cluster may is all it may besides', async () => {
  assert.equal((await ask(stolen, { method: 'GET', path: '/version' })).code, 200);
  const mine = await ask(stolen, { method: 'POST', path: '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace: NAMESPACE } } });
  const { status } = JSON.parse(mine.body) as { readonly status: { readonly resourceRules: readonly { readonly verbs: readonly string[]; readonly apiGroups: readonly string[]; readonly resources: readonly string[] }[] } };
  const rules = status.resourceRules.filter(({ apiGroups }) => !apiGroups.every((group) => /^(authentication|authorization)\.k8s\.io$/.test(group)));
  const has = rules.map(({ verbs, apiGroups, resources }) => `${verbs.join()} ${apiGroups.join()} ${resources.join()}`);
  assert.deepEqual(has.sort(), ['list,watch kernelpatch.dev nodekernels', 'patch kernelpatch.dev nodekernels/status']);
});

const bindToAdmin = (name: string, account: string) => ({
  apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
  subjects: [{ kind: 'ServiceAccount', name: account, namespace: NAMESPACE }],
});
const aPod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'evil' }, spec: { serviceAccountName: AGENT, nodeName: 'node-b', containers: [{ name: 'evil', image: 'evil' }] } };
const tokenRequest = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
const impersonating = (header: Readonly<Record<string, string>>): Ask => ({ method: 'GET', path: `${IN_NAMESPACE}/secrets`, headers: header });

/** Another node's part, and its own beyond the report. */
const SPEAKING_FOR_OTHERS: readonly (readonly [what: string, ask: Ask])[] = [
  ['the status of another node', report('node-b')],
  ['the status of another node, by merge', { method: 'PATCH', path: `${NODE_KERNELS}/node-b/status`, body: { status: STATUS } }],
  ['the status of another node, by apply', { method: 'PATCH', path: `${NODE_KERNELS}/node-b/status?fieldManager=x&force=true`, body: { ...nodeKernel('node-b'), status: STATUS }, headers: { 'content-type': 'application/apply-patch+yaml' } }],
  ['its own intent', { method: 'PATCH', path: `${NODE_KERNELS}/node-a`, body: { spec: { loadAtBoot: true } } }],
  ['the intent of another node', { method: 'PATCH', path: `${NODE_KERNELS}/node-b`, body: { spec: { loadAtBoot: true } } }],
  ['its own labels', { method: 'PATCH', path: `${NODE_KERNELS}/node-a`, body: { metadata: { labels: { a: 'b' } } } }],
  ['its own finalizers', { method: 'PATCH', path: `${NODE_KERNELS}/node-a`, body: { metadata: { finalizers: ['kernelpatch.dev/never'] } } }],
  ['its own owner', { method: 'PATCH', path: `${NODE_KERNELS}/node-a`, body: { metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'node-b', uid: 'x' }] } } }],
  ['a NodeKernel that is not there', { method: 'POST', path: NODE_KERNELS, body: nodeKernel('node-c') }],
  ['a NodeKernel that is not there, by apply', { method: 'PATCH', path: `${NODE_KERNELS}/node-c?fieldManager=x`, body: nodeKernel('node-c'), headers: { 'content-type': 'application/apply-patch+yaml' } }],
  ['the end of its own NodeKernel', { method: 'DELETE', path: `${NODE_KERNELS}/node-a` }],
  ['the end of that of another node', { method: 'DELETE', path: `${NODE_KERNELS}/node-b` }],
  ['the end of all NodeKernels', { method: 'DELETE', path: NODE_KERNELS }],
];

const ELSEWHERE: readonly (readonly [what: string, ask: Ask])[] = [
  ['its own status, replaced', { method: 'PUT', path: `${NODE_KERNELS}/node-a/status`, body: { ...nodeKernel('node-a'), status: STATUS } }],
  ['its own NodeKernel by name', { method: 'GET', path: `${NODE_KERNELS}/node-a` }],
  ['its own NodeKernel, replaced', { method: 'PUT', path: `${NODE_KERNELS}/node-a`, body: nodeKernel('node-a') }],
  ['KernelPatches', { method: 'GET', path: '/apis/kernelpatch.dev/v1alpha1/kernelpatches' }],
  ['a new KernelPatch', { method: 'POST', path: '/apis/kernelpatch.dev/v1alpha1/kernelpatches', body: { apiVersion: 'kernelpatch.dev/v1alpha1', kind: 'KernelPatch', metadata: { name: 'x' }, spec: { kernels: [] } } }],
  ['the status of a KernelPatch', { method: 'PATCH', path: '/apis/kernelpatch.dev/v1alpha1/kernelpatches/x/status', body: { status: {} } }],
  ['PatchPolicies', { method: 'GET', path: '/apis/kernelpatch.dev/v1alpha1/patchpolicies' }],
  ['a new PatchPolicy', { method: 'POST', path: '/apis/kernelpatch.dev/v1alpha1/patchpolicies', body: { apiVersion: 'kernelpatch.dev/v1alpha1', kind: 'PatchPolicy', metadata: { name: 'x' }, spec: {} } }],
  ['the slots of a PatchPolicy', { method: 'PATCH', path: '/apis/kernelpatch.dev/v1alpha1/patchpolicies/x/status', body: { status: { slots: [] } } }],
  ['secrets of its namespace', { method: 'GET', path: `${IN_NAMESPACE}/secrets` }],
  ['secrets of the cluster', { method: 'GET', path: '/api/v1/secrets' }],
  ['one secret', { method: 'GET', path: `${IN_NAMESPACE}/secrets/sh.helm.release.v1.kernelpatch.v1` }],
  ['configmaps', { method: 'GET', path: `${IN_NAMESPACE}/configmaps` }],
  ['a new configmap', { method: 'POST', path: `${IN_NAMESPACE}/configmaps`, body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' } } }],
  ['a token of its own account', { method: 'POST', path: `${IN_NAMESPACE}/serviceaccounts/${AGENT}/token`, body: tokenRequest }],
  ["a token of the operator's account", { method: 'POST', path: `${IN_NAMESPACE}/serviceaccounts/${OPERATOR}/token`, body: tokenRequest }],
  ['serviceaccounts', { method: 'GET', path: `${IN_NAMESPACE}/serviceaccounts` }],
  ['pods of its node', { method: 'GET', path: '/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a' }],
  ['its own pod', { method: 'GET', path: `${IN_NAMESPACE}/pods/agent-a` }],
  ['a pod of its account on another node', { method: 'POST', path: `${IN_NAMESPACE}/pods`, body: aPod }],
  ['the end of the pod on another node', { method: 'DELETE', path: `${IN_NAMESPACE}/pods/agent-b` }],
  ['an eviction', { method: 'POST', path: `${IN_NAMESPACE}/pods/agent-b/eviction`, body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'agent-b', namespace: NAMESPACE } } }],
  ['exec in the pod on another node', { method: 'POST', path: `${IN_NAMESPACE}/pods/agent-b/exec?command=id&stdout=true` }],
  ['attach to it', { method: 'POST', path: `${IN_NAMESPACE}/pods/agent-b/attach?stdin=true` }],
  ['a port of it', { method: 'POST', path: `${IN_NAMESPACE}/pods/agent-b/portforward` }],
  ['its logs', { method: 'GET', path: `${IN_NAMESPACE}/pods/agent-b/log` }],
  ['a debug container in it', { method: 'PATCH', path: `${IN_NAMESPACE}/pods/agent-b/ephemeralcontainers`, body: { spec: { ephemeralContainers: [] } } }],
  ['the proxy to a pod', { method: 'GET', path: `${IN_NAMESPACE}/pods/agent-b:9102/proxy/metrics` }],
  ['the proxy to a service', { method: 'GET', path: `${IN_NAMESPACE}/services/kernelpatch-operator-metrics:9101/proxy/metrics` }],
  ['the proxy to a kubelet', { method: 'GET', path: '/api/v1/nodes/node-a/proxy/pods' }],
  ['nodes', { method: 'GET', path: '/api/v1/nodes' }],
  ['its own node', { method: 'GET', path: '/api/v1/nodes/node-a' }],
  ['a cordon', { method: 'PATCH', path: '/api/v1/nodes/node-b', body: { spec: { unschedulable: true } } }],
  ['a label of its node', { method: 'PATCH', path: '/api/v1/nodes/node-a', body: { metadata: { labels: { a: 'b' } } } }],
  ['the status of its node', { method: 'PATCH', path: '/api/v1/nodes/node-a/status', body: { status: { nodeInfo: {} } } }],
  ["the operator's lease", { method: 'GET', path: `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/${OPERATOR}` }],
  ["the operator's lease, taken", { method: 'POST', path: `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases`, body: { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: OPERATOR } } }],
  ['the DaemonSet of the agents', { method: 'PATCH', path: `/apis/apps/v1/namespaces/${NAMESPACE}/daemonsets/${AGENT}`, body: { spec: {} } }],
  ['another DaemonSet', { method: 'POST', path: `/apis/apps/v1/namespaces/${NAMESPACE}/daemonsets`, body: { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'x' } } }],
  ["the operator's Deployment", { method: 'PATCH', path: `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/${OPERATOR}`, body: { spec: { replicas: 0 } } }],
  ['a job', { method: 'POST', path: `/apis/batch/v1/namespaces/${NAMESPACE}/jobs`, body: { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'x' } } }],
  ['all rights by a binding', { method: 'POST', path: `${RBAC}/clusterrolebindings`, body: bindToAdmin('evil', AGENT) }],
  ['more rights in its own role', { method: 'PATCH', path: `${RBAC}/clusterroles/${AGENT}`, body: { rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] } }],
  ['a role in its namespace', { method: 'POST', path: `${RBAC}/namespaces/${NAMESPACE}/roles`, body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'x' }, rules: [] } }],
  ['to be an admin (impersonate user)', impersonating({ 'impersonate-user': 'kubernetes-admin' })],
  ['to be of the masters (impersonate group)', impersonating({ 'impersonate-user': 'x', 'impersonate-group': 'system:masters' })],
  ['to be the operator (impersonate account)', impersonating({ 'impersonate-user': `system:serviceaccount:${NAMESPACE}:${OPERATOR}` })],
  ['to be on another node (impersonate extra)', { ...report('node-b'), headers: { 'impersonate-user': `system:serviceaccount:${NAMESPACE}:${AGENT}`, 'impersonate-extra-authentication.kubernetes.io%2fnode-name': 'node-b' } }],
  ['the kind itself', { method: 'PATCH', path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodekernels.kernelpatch.dev', body: { spec: {} } }],
  ['the end of the kind', { method: 'DELETE', path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodekernels.kernelpatch.dev' }],
  ['the end of the admission policy', { method: 'DELETE', path: `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/${AGENT}` }],
  ['the end of its binding', { method: 'DELETE', path: `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/${AGENT}` }],
  ['a webhook', { method: 'POST', path: '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', body: { apiVersion: 'admissionregistration.k8s.io/v1', kind: 'MutatingWebhookConfiguration', metadata: { name: 'x' } } }],
  ['a certificate of a node', { method: 'POST', path: '/apis/certificates.k8s.io/v1/certificatesigningrequests', body: { apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest', metadata: { name: 'x' } } }],
  ['events', { method: 'POST', path: '/apis/events.k8s.io/v1/namespaces/default/events', body: { apiVersion: 'events.k8s.io/v1', kind: 'Event', metadata: { name: 'x' } } }],
  ['a new namespace', { method: 'POST', path: '/api/v1/namespaces', body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'x' } } }],
  ['the label of its namespace', { method: 'PATCH', path: `/api/v1/namespaces/${NAMESPACE}`, body: { metadata: { labels: { a: 'b' } } } }],
  ["the API server's metrics", { method: 'GET', path: '/metrics' }],
  ["the API server's logs", { method: 'GET', path: '/logs/' }],
];

for (const [what, asked] of [...SPEAKING_FOR_OTHERS, ...ELSEWHERE]) {
  test(`a stolen token does not get: ${what}`, async () => {
    const { code, body } = await ask(stolen, asked);
    assert.equal(code, 403, body);
  });
}

test('what else is sent with the status is not taken', async () => {
  const { spec, metadata } = JSON.parse(await plane.mustKubectl(['get', 'nodekernel', 'node-a', '-o', 'json'])) as NodeKernel & { readonly metadata: { readonly finalizers?: unknown } };
  const more = { metadata: { labels: { a: 'b' }, finalizers: ['kernelpatch.dev/never'], ownerReferences: [] }, spec: { loadAtBoot: true }, status: STATUS };
  const { code, body } = await ask(stolen, { method: 'PATCH', path: `${NODE_KERNELS}/node-a/status`, body: more });
  assert.equal(code, 200, body);
  const stored = JSON.parse(body) as NodeKernel & { readonly metadata: { readonly finalizers?: unknown } };
  assert.deepEqual([stored.spec, stored.metadata.labels, stored.metadata.finalizers, stored.metadata.generation], [spec, metadata.labels, metadata.finalizers, metadata.generation]);
});

test('the refusal says whose token it is', async () => {
  const { body } = await ask(stolen, report('node-b'));
  assert.match(body, /this token is that of the agent on node node-a, which does not write the NodeKernel of another node/);
});

test('that of a pod on another node speaks for that node only', async () => {
  const other = await tokenOf(AGENT, ...boundTo('agent-b'));
  assert.equal((await ask(other, report('node-b'))).code, 200);
  assert.equal((await ask(other, report('node-a'))).code, 403);
});

test('a token that is bound to no pod, or to one that is on no node, speaks for none', async () => {
  await makePod('pending', undefined);
  for (const token of [await tokenOf(AGENT), await tokenOf(AGENT, ...boundTo('pending'))]) {
    for (const node of ['node-a', 'node-b']) {
      const { code, body } = await ask(token, report(node));
      assert.equal(code, 403);
      assert.match(body, /this token of the agents names no node/);
    }
  }
});

test('an account of the same name in another namespace is nobody', async () => {
  await plane.mustKubectl(['create', 'serviceaccount', AGENT, '--namespace', 'other']);
  await makePod('agent-a', 'node-a', { namespace: 'other' });
  const token = await tokenOf(AGENT, '--namespace', 'other', ...boundTo('agent-a'));
  assert.equal((await ask(token, report('node-a'))).code, 403);
  assert.equal((await ask(token, { method: 'GET', path: NODE_KERNELS })).code, 403);
});

test('a token for others than the API server is none here', async () => {
  const token = await tokenOf(AGENT, '--audience', 'registry.example', ...boundTo('agent-a'));
  assert.equal((await ask(token, report('node-a'))).code, 401);
});

test('the token of a pod that is deleted dies with it', async () => {
  await makePod('replaced', 'node-a');
  const token = await tokenOf(AGENT, ...boundTo('replaced'));
  assert.equal((await ask(token, report('node-a'))).code, 200);
  await plane.mustKubectl(['delete', 'pod', 'replaced', '--namespace', NAMESPACE, '--force', '--grace-period=0']);
  await waitFor('the token to be refused', { seconds: 20 }, async () => (await ask(token, report('node-a'))).code === 401 || undefined);
});

test('the operator does not speak for a node, and no role lets it', async () => {
  const { code, body } = await ask(await tokenOf(OPERATOR), report('node-a'));
  assert.equal(code, 403);
  assert.match(body, /cannot patch resource .{0,4}nodekernels\/status/);
});

/** An account with every right is left with the policy; and without that nothing refuses it. */
test('the policy alone refuses each of these, whatever roles somebody binds; without it all are done', async () => {
  for (const account of [AGENT, OPERATOR]) await plane.mustKubectl(['create', '-f', '-'], JSON.stringify(bindToAdmin(`${account}-admin`, account)));
  const unbound = await tokenOf(AGENT);
  const operator = await tokenOf(OPERATOR);
  await waitFor('the rights to be there', { seconds: 20 }, async () => (await ask(operator, { method: 'GET', path: '/api/v1/secrets' })).code === 200 || undefined);
  const asks: readonly (readonly [what: string, token: string, ask: Ask, said: RegExp])[] = [
    ...SPEAKING_FOR_OTHERS.map(([what, asked]) => [what, stolen, asked, /the agent on node node-a, which|an agent writes the status of its NodeKernel and nothing else/] as const),
    ['its own status with a token of no pod', unbound, report('node-a'), /this token of the agents names no node/],
    ['a status by the operator', operator, report('node-a'), /only the agent of a node writes the status of its NodeKernel, and system:serviceaccount:kernelpatch:kernelpatch-operator is none/],
  ];
  for (const [what, token, asked, said] of asks) {
    const { code, body } = await ask(token, asked);
    assert.equal(code, 403, `${what}: ${body}`);
    assert.match(body, said, what);
  }
  const admin = await plane.kubectl(['patch', 'nodekernel', 'node-a', '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: STATUS })]);
  assert.match(admin.stderr, /only the agent of a node writes the status of its NodeKernel, and kubernetes-admin is none/);

  await plane.mustKubectl(['delete', 'validatingadmissionpolicybinding', AGENT]);
  await waitFor('the policy to hold no more', { seconds: 30 }, async () => (await ask(stolen, report('node-b'))).code === 200 || undefined);
  for (const [what, asked] of SPEAKING_FOR_OTHERS) {
    const { code, body } = await ask(stolen, asked);
    assert.ok(code < 300 || code === 404, `${what}: ${code} ${body}`);
  }
  assert.equal(await plane.mustKubectl(['get', 'nodekernels', '-o', 'name']), 'nodekernel.kernelpatch.dev/node-a\n', 'all are gone but the one that the finalizer holds');
});
