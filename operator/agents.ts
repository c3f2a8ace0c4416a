/** The DaemonSet of the agents as it is to be, pure. It exists only while some policy selects a node. */
import { createHash } from 'node:crypto';
import type { LabelSelector } from '../crds/common.ts';
import { MANAGED_BY } from './labels.ts';
import type { View } from './observe.ts';
import { ownedByDeployment } from './owner.ts';
import { selects } from './selector.ts';

export const DAEMON_SET_NAME = 'kernelpatch-agent';

/** Written by the operator on its DaemonSet: the digest of what it applied. Apply leaves foreign additions alone, so without it a field that we stop setting would not be seen. */
const APPLIED_ANNOTATION = 'kernelpatch.dev/applied';

const AGENT_LABELS = { 'app.kubernetes.io/name': 'kernelpatch', 'app.kubernetes.io/component': 'agent' } as const;

/** Part of every node (FHS 5.8.5, state that needs no directory of its own), so that nothing of ours is left there without a file of ours. */
const JOURNAL_DIRECTORY = '/var/lib/misc';

/** Made by the chart from verification.keys. */
const KEYS_CONFIG_MAP = 'kernelpatch-keys';

/** The agents' /healthz and /metrics. */
const METRICS_PORT = 9102;

/** How the agents reach registries, as the chart says; empty words are for what is not set. */
export interface RegistrySettings {
  /** A Secret of type kubernetes.io/dockerconfigjson. */
  readonly pullSecret: string;
  /** A ConfigMap of certificates of authorities. */
  readonly caConfigMap: string;
  readonly mirrors: readonly { readonly source: string; readonly mirror: string }[];
  readonly proxy: { readonly https: string; readonly noProxy: string };
}

export interface AgentSettings {
  readonly namespace: string;
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly serviceAccount: string;
  readonly logLevel: string;
  /** Whether live patches must be signed; by which keys the chart's ConfigMap says. */
  readonly verification: 'Require' | 'Off';
  readonly registry: RegistrySettings;
  /** The operator's Deployment: with it the DaemonSet goes (garbage collection). */
  readonly owner: { readonly name: string; readonly uid: string };
}

export interface DaemonSet {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

/** Whether any agent is to run. */
export function wantsAgents(view: Pick<View, 'policies' | 'nodes'>): boolean {
  return view.policies.some(({ spec }) => [...view.nodes.values()].some(({ labels }) => selects(spec.nodeSelector, labels)));
}

export function daemonSet(selectors: readonly LabelSelector[], settings: AgentSettings): DaemonSet {
  const wanted = {
    metadata: {
      name: DAEMON_SET_NAME,
      namespace: settings.namespace,
      labels: { ...MANAGED_BY, ...AGENT_LABELS },
      ownerReferences: [ownedByDeployment(settings.owner.name, settings.owner.uid)],
    },
    spec: {
      selector: { matchLabels: AGENT_LABELS },
      // All at once would be as good, since an agent that is replaced disturbs no live patch; one in ten keeps image pulls apart.
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } },
      template: { metadata: { labels: { ...MANAGED_BY, ...AGENT_LABELS } }, spec: podSpec(selectors, settings) },
    },
  };
  const digest = createHash('sha256').update(JSON.stringify(wanted)).digest('hex');
  return { ...wanted, metadata: { ...wanted.metadata, annotations: { [APPLIED_ANNOTATION]: digest } } };
}

function podSpec(selectors: readonly LabelSelector[], settings: AgentSettings): object {
  const affinity = nodeAffinity(selectors);
  return {
    serviceAccountName: settings.serviceAccount,
    priorityClassName: 'system-node-critical',
    hostPID: true,
    // insmod and rmmod are given 60 s (kernel/livepatch.ts): an agent that is told to end lets the one that runs come back.
    terminationGracePeriodSeconds: 90,
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [{ operator: 'Exists' }],
    ...(affinity && { affinity }),
    containers: [container(settings)],
    volumes: [
      { name: 'host', hostPath: { path: '/', type: 'Directory' } },
      { name: 'sys', hostPath: { path: '/sys', type: 'Directory' } },
      { name: 'journal', hostPath: { path: JOURNAL_DIRECTORY, type: 'DirectoryOrCreate' } },
      // Not /etc/systemd/system, which a node without systemd has not: its pod would not start.
      { name: 'etc', hostPath: { path: '/etc', type: 'Directory' } },
      // Without it no key is installed, and the agent says so.
      { name: 'keys', configMap: { name: KEYS_CONFIG_MAP, optional: true } },
      ...registryOf(settings.registry).volumes,
      { name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
    ],
  };
}

/**
 * Without a compiler at run time and with the smallest nursery (MiB) the agent holds 18 MiB and not 23 after 40 changes, and takes no more
 * processor time (measured); a privileged process that never writes code to run is also harder to take over. Of its heap 8 MiB are in use: without
 * a bound of that order nothing is collected before there are many times as much.
 */
const AGENT_COMMAND = ['node', '--jitless', '--max-semi-space-size=1', '--max-old-space-size=24', '/app/agent.cjs'];
/** Bytes from which on what is freed goes back to the node at once: else the allocator raises this to the size of a module, and keeps a MiB and more. */
const MMAP_THRESHOLD = '32768';

function container(settings: AgentSettings): object {
  return {
    name: 'agent',
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    command: AGENT_COMMAND,
    env: [
      { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
      { name: 'HOST_ROOT', value: '/host' },
      { name: 'LOG_LEVEL', value: settings.logLevel },
      { name: 'METRICS_PORT', value: String(METRICS_PORT) },
      { name: 'MALLOC_MMAP_THRESHOLD_', value: MMAP_THRESHOLD },
      { name: 'VERIFICATION', value: settings.verification },
      ...registryOf(settings.registry).env,
    ],
    ports: [{ name: 'metrics', containerPort: METRICS_PORT, protocol: 'TCP' }],
    livenessProbe: { httpGet: { path: '/healthz', port: 'metrics' }, periodSeconds: 30, timeoutSeconds: 10, failureThreshold: 3 },
    // The agent's working set is 72 MiB (make bench), 51 of them clean pages that the kernel can drop; a limit above it would only end agents that still work.
    resources: { requests: { cpu: '10m', memory: '64Mi' } },
    // The image's own user is nobody; loading a module needs root's capabilities.
    securityContext: { privileged: true, readOnlyRootFilesystem: true, runAsUser: 0, runAsGroup: 0 },
    volumeMounts: [
      { name: 'host', mountPath: '/host', mountPropagation: 'HostToContainer', readOnly: true },
      // What of the node is written to: /sys/kernel/livepatch/NAME/enabled. The container's own /sys is read-only, privileged or not.
      { name: 'sys', mountPath: '/host/sys' },
      // And the directory of the load journal, a file that is there only while something depends on it, and of what is loaded at boot.
      { name: 'journal', mountPath: `/host${JOURNAL_DIRECTORY}` },
      // And the unit that loads it, kernelpatch-boot.service. A node whose /etc is read-only goes without it (NodeKernel status.boot).
      { name: 'etc', mountPath: '/host/etc' },
      { name: 'keys', mountPath: '/etc/kernelpatch/keys', readOnly: true },
      ...registryOf(settings.registry).mounts,
      { name: 'run', mountPath: '/run/kernelpatch' },
    ],
  };
}

const CREDENTIALS_DIRECTORY = '/etc/kernelpatch/credentials';
const AUTHORITIES_DIRECTORY = '/etc/kernelpatch/authorities';

/** Nothing, where nothing is named. */
function named<T>(name: string, each: T): readonly T[] {
  return name === '' ? [] : [each];
}

/** What is named and not there keeps no agent from running: the registry then says what it wants. */
function registryOf({ pullSecret, caConfigMap, mirrors, proxy }: RegistrySettings): { readonly env: readonly object[]; readonly volumes: readonly object[]; readonly mounts: readonly object[] } {
  const pairs = mirrors.map(({ source, mirror }) => `${source}=${mirror}`).join(',');
  return {
    env: [
      ...named(pullSecret, { name: 'REGISTRY_CREDENTIALS', value: `${CREDENTIALS_DIRECTORY}/config.json` }),
      ...named(caConfigMap, { name: 'REGISTRY_CERTIFICATES', value: AUTHORITIES_DIRECTORY }),
      ...named(pairs, { name: 'REGISTRY_MIRRORS', value: pairs }),
      ...named(proxy.https, { name: 'REGISTRY_PROXY', value: proxy.https }),
      ...named(proxy.noProxy, { name: 'REGISTRY_NO_PROXY', value: proxy.noProxy }),
    ],
    volumes: [
      // 0444: oras reads it as nobody.
      ...named(pullSecret, { name: 'credentials', secret: { secretName: pullSecret, optional: true, defaultMode: 0o444, items: [{ key: '.dockerconfigjson', path: 'config.json' }] } }),
      ...named(caConfigMap, { name: 'authorities', configMap: { name: caConfigMap, optional: true } }),
    ],
    mounts: [
      ...named(pullSecret, { name: 'credentials', mountPath: CREDENTIALS_DIRECTORY, readOnly: true }),
      ...named(caConfigMap, { name: 'authorities', mountPath: AUTHORITIES_DIRECTORY, readOnly: true }),
    ],
  };
}

/** One term for each policy; terms are alternatives. None at all when a policy selects every node: a term without expressions would select none. */
function nodeAffinity(selectors: readonly LabelSelector[]): object | undefined {
  const terms = selectors.map((selector) => [
    ...Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({ key, operator: 'In', values: [value] })),
    ...(selector.matchExpressions ?? []),
  ]);
  if (terms.some((expressions) => expressions.length === 0)) return undefined;
  return { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms.map((matchExpressions) => ({ matchExpressions })) } } };
}

/** True when everything wanted is there as wanted. What the API server and others add does not count; lists are compared as a whole. */
export function isAsWanted(wanted: unknown, live: unknown): boolean {
  if (Array.isArray(wanted)) return Array.isArray(live) && live.length === wanted.length && wanted.every((each, index) => isAsWanted(each, live[index]));
  if (typeof wanted !== 'object' || wanted === null) return wanted === live;
  if (typeof live !== 'object' || live === null) return false;
  return Object.entries(wanted).every(([key, value]) => isAsWanted(value, (live as Readonly<Record<string, unknown>>)[key]));
}
