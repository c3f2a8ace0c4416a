/** The informers of everything the operator reads, as one. */
import type { Logger } from 'pino';
import type { KernelPatch } from '../crds/kernelpatch.ts';
import type { NodeKernel } from '../crds/nodekernel.ts';
import type { PatchPolicy } from '../crds/patchpolicy.ts';
import { DAEMON_SET_NAME } from './agents.ts';
import type { Client, Query } from './kube/client.ts';
import { TIMING, makeInformer } from './kube/informer.ts';
import type { Restart } from './kube/informer.ts';
import { KERNEL_PATCHES, NODES, NODE_KERNELS, PATCH_POLICIES, daemonSetsIn } from './kube/resources.ts';
import type { KubeObject, Resource } from './kube/resources.ts';
import type { Cache } from './kube/store.ts';
import { readKernelPatch, readNode, readNodeKernel, readPatchPolicy } from './observe.ts';
import type { NodeView } from './observe.ts';

export interface ClusterOptions {
  readonly client: Client;
  readonly namespace: string;
  /** Called on every change of what the caches show. */
  readonly onChange: () => void;
  readonly onRestart: (restart: Restart) => void;
  readonly log: Pick<Logger, 'warn'>;
}

export interface Cluster {
  readonly nodes: Cache<NodeView>;
  readonly nodeKernels: Cache<NodeKernel>;
  readonly kernelPatches: Cache<KernelPatch>;
  readonly policies: Cache<PatchPolicy>;
  /** Holds at most the agents' DaemonSet. */
  readonly daemonSets: Cache<KubeObject>;
  /** Kinds that were not listed yet; until there is none, nothing may be decided. */
  notSynced(): readonly string[];
  start(): void;
  stop(): Promise<void>;
}

export function makeCluster({ client, namespace, onChange, onRestart, log }: ClusterOptions): Cluster {
  const shared = { client, onChange, onRestart: restartLogger(log, onRestart), onUnreadable: unreadableLogger(log), timing: TIMING, random: Math.random };
  const informer = <T>(resource: Resource, project: (object: KubeObject) => T, query: Query = {}) =>
    makeInformer({ ...shared, resource, project, query });
  const nodes = informer(NODES, readNode);
  const nodeKernels = informer(NODE_KERNELS, readNodeKernel);
  const kernelPatches = informer(KERNEL_PATCHES, readKernelPatch);
  const policies = informer(PATCH_POLICIES, readPatchPolicy);
  const daemonSets = informer(daemonSetsIn(namespace), ({ metadata, spec }): KubeObject => ({ metadata, spec }), { fieldSelector: `metadata.name=${DAEMON_SET_NAME}` });
  const all = [nodes, nodeKernels, kernelPatches, policies, daemonSets];
  return {
    nodes: nodes.cache,
    nodeKernels: nodeKernels.cache,
    kernelPatches: kernelPatches.cache,
    policies: policies.cache,
    daemonSets: daemonSets.cache,
    notSynced: () => all.filter((each) => !each.hasSynced()).map(({ kind }) => kind),
    start() {
      for (const each of all) each.start();
    },
    async stop() {
      await Promise.all(all.map((each) => each.stop()));
    },
  };
}

/** Passes every restart on, and logs the first of those that follow each other for the same reason. */
function restartLogger(log: ClusterOptions['log'], onRestart: ClusterOptions['onRestart']): ClusterOptions['onRestart'] {
  const last = new Map<string, string>();
  return (restart) => {
    const { kind, code, error, failures } = restart;
    onRestart(restart);
    if (failures > 1 && last.get(kind) === code) return;
    last.set(kind, code);
    log.warn({ kind, code, err: error }, code === 'NotFound' ? 'kind is not served: install the CRDs of the chart' : 'watch is opened anew');
  };
}

function unreadableLogger(log: ClusterOptions['log']): (kind: string, name: string, error: unknown) => void {
  return (kind, name, error) => log.warn({ kind, name, err: error }, 'object is passed over: this version does not understand it; compare the installed CRDs with the operator');
}
