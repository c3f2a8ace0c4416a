import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { test } from 'node:test';
import type { LabelSelector } from '../../../crds/common.ts';
import { BOOT_DIRECTORY, LINK_PATH, UNIT_PATH } from '../../../daemonset/boot/install.ts';
import { JOURNAL_PATH } from '../../../daemonset/journal.ts';
import { daemonSet, isAsWanted, wantsAgents } from '../../../operator/agents.ts';
import type { AgentSettings } from '../../../operator/agents.ts';
import { aNode, aPolicy, aView } from './builders.ts';

const settings: AgentSettings = {
  namespace: 'kernelpatch', image: 'registry/kernelpatch@sha256:1', imagePullPolicy: 'IfNotPresent', serviceAccount: 'kernelpatch-agent', logLevel: 'info', verification: 'Require', registry: { pullSecret: '', caConfigMap: '', mirrors: [], proxy: { https: '', noProxy: '' } }, owner: { name: 'kernelpatch-operator', uid: 'uid-1' },
};

interface PodSpec {
  readonly affinity?: { readonly nodeAffinity: { readonly requiredDuringSchedulingIgnoredDuringExecution: { readonly nodeSelectorTerms: unknown } } };
  readonly containers: readonly { readonly image: string; readonly securityContext: object; readonly command: readonly string[]; readonly env: readonly { readonly name: string }[]; readonly volumeMounts: readonly { readonly mountPath: string; readonly readOnly?: boolean }[] }[];
  readonly volumes: readonly { readonly name: string }[];
  readonly tolerations: unknown;
  readonly hostPID: boolean;
  readonly hostNetwork?: boolean;
}

function podSpecOf(selectors: readonly LabelSelector[], changes: Partial<AgentSettings> = {}): PodSpec {
  const { spec } = daemonSet(selectors, { ...settings, ...changes }) as unknown as { spec: { template: { spec: PodSpec } } };
  return spec.template.spec;
}

test('agents are wanted while some policy selects a node', () => {
  const gpu = aPolicy({ nodeSelector: { matchLabels: { pool: 'gpu' } } });
  assert.equal(wantsAgents(aView({ nodes: [aNode('n1')] })), false);
  assert.equal(wantsAgents(aView({ nodes: [aNode('n1')], policies: [gpu] })), false);
  assert.equal(wantsAgents(aView({ nodes: [aNode('n1', { labels: { pool: 'gpu' } })], policies: [gpu] })), true);
  assert.equal(wantsAgents(aView({ policies: [aPolicy()] })), false);
});

test('each policy is one alternative of the affinity', () => {
  const affinity = podSpecOf([{ matchLabels: { pool: 'gpu' } }, { matchExpressions: [{ key: 'zone', operator: 'NotIn', values: ['b'] }] }]).affinity;
  assert.deepEqual(affinity?.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms, [
    { matchExpressions: [{ key: 'pool', operator: 'In', values: ['gpu'] }] },
    { matchExpressions: [{ key: 'zone', operator: 'NotIn', values: ['b'] }] },
  ]);
});

test('a policy that selects every node leaves no affinity, since an empty term would select none', () => {
  assert.equal(podSpecOf([{ matchLabels: { pool: 'gpu' } }, {}]).affinity, undefined);
});

test('the agent is privileged, tolerates everything, sees the processes of the host and not its network', () => {
  const { containers, tolerations, hostPID, hostNetwork } = podSpecOf([{}]);
  assert.deepEqual(containers[0]?.securityContext, { privileged: true, readOnlyRootFilesystem: true, runAsUser: 0, runAsGroup: 0 });
  assert.deepEqual(tolerations, [{ operator: 'Exists' }]);
  assert.deepEqual([hostPID, hostNetwork], [true, undefined]);
  assert.deepEqual(containers[0]?.command, ['node', '--jitless', '--max-semi-space-size=1', '--max-old-space-size=24', '/app/agent.cjs']);
  assert.deepEqual(containers[0]?.env.map(({ name }) => name), ['NODE_NAME', 'HOST_ROOT', 'LOG_LEVEL', 'METRICS_PORT', 'MALLOC_MMAP_THRESHOLD_', 'VERIFICATION']);
  assert.equal(containers[0]?.image, settings.image);
});

test('whether live patches must be signed, and the keys, come from the chart', () => {
  const { containers } = podSpecOf([{}]);
  assert.deepEqual(containers[0]?.env.at(-1), { name: 'VERIFICATION', value: 'Require' });
  assert.deepEqual(containers[0]?.volumeMounts.find(({ mountPath }) => mountPath === '/etc/kernelpatch/keys'), { name: 'keys', mountPath: '/etc/kernelpatch/keys', readOnly: true });
});

test('registries are reached as the chart says, and what it does not say is not there', () => {
  const registry = { pullSecret: 'registry', caConfigMap: 'authority', mirrors: [{ source: 'a.example', mirror: 'b.lan' }, { source: 'c.example/x', mirror: 'd.lan/y' }], proxy: { https: 'http://proxy.lan:3128', noProxy: '.lan' } };
  const { containers, volumes } = podSpecOf([{}], { registry });
  assert.deepEqual(containers[0]?.env.slice(6), [
    { name: 'REGISTRY_CREDENTIALS', value: '/etc/kernelpatch/credentials/config.json' },
    { name: 'REGISTRY_CERTIFICATES', value: '/etc/kernelpatch/authorities' },
    { name: 'REGISTRY_MIRRORS', value: 'a.example=b.lan,c.example/x=d.lan/y' },
    { name: 'REGISTRY_PROXY', value: 'http://proxy.lan:3128' },
    { name: 'REGISTRY_NO_PROXY', value: '.lan' },
  ]);
  assert.ok(volumes.some(({ name }) => name === 'credentials') && volumes.some(({ name }) => name === 'authorities'));
  assert.deepEqual(podSpecOf([{}]).volumes.map(({ name }) => name), ['host', 'sys', 'journal', 'etc', 'keys', 'run']);
});

test('of the node only /sys, /etc and the directory of the journal can be written to, where the agent keeps what it keeps', () => {
  const writable = podSpecOf([{}]).containers[0]?.volumeMounts.filter(({ mountPath, readOnly }) => mountPath.startsWith('/host') && !readOnly).map(({ mountPath }) => mountPath);
  assert.deepEqual(writable, ['/host/sys', `/host${dirname(JOURNAL_PATH)}`, '/host/etc']);
  assert.equal(dirname(BOOT_DIRECTORY), dirname(JOURNAL_PATH));
  for (const path of [UNIT_PATH, LINK_PATH]) assert.match(path, /^\/etc\//);
});

test('what the API server adds is no difference, a changed or missing field is', () => {
  const wanted = daemonSet([{}], settings);
  const served = structuredClone({ ...wanted, status: {} }) as unknown as { metadata: Record<string, unknown>; spec: { revisionHistoryLimit?: number; template: { spec: { hostPID: boolean; tolerations: object[] } } } };
  served.metadata['generation'] = 3;
  served.spec.revisionHistoryLimit = 10;
  assert.equal(isAsWanted(wanted, served), true);
  assert.equal(isAsWanted(wanted, undefined), false);
  served.spec.template.spec.tolerations.push({ key: 'more' });
  assert.equal(isAsWanted(wanted, served), false);
  served.spec.template.spec.tolerations.pop();
  served.spec.template.spec.hostPID = false;
  assert.equal(isAsWanted(wanted, served), false);
});

test('an affinity that is wanted no more is a difference, although nothing that is wanted is missing', () => {
  const before = daemonSet([{ matchLabels: { pool: 'gpu' } }], settings);
  assert.equal(isAsWanted(daemonSet([{}], settings), before), false);
});
