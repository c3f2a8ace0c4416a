/** Pods and PodDisruptionBudgets as the API serves them, with only what a test is about written out. */
import { PatchPolicySpec } from '../../../crds/patchpolicy.ts';
import type { DrainOptions } from '../../../crds/patchpolicy.ts';
import type { KubeObject } from '../../../operator/kube/resources.ts';

export interface PodFields {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** None is a bare pod. */
  readonly owner?: 'ReplicaSet' | 'StatefulSet' | 'DaemonSet' | 'Job' | 'Node' | 'None';
  readonly volumes?: readonly object[];
  readonly phase?: string;
  readonly ready?: boolean;
  readonly nodeName?: string;
  /** Since when, and how many seconds it may take. */
  readonly deleted?: readonly [since: string, graceSeconds: number];
}

const OWNERS = { ReplicaSet: 'apps/v1', StatefulSet: 'apps/v1', DaemonSet: 'apps/v1', Job: 'batch/v1', Node: 'v1' } as const;

/** Running and ready, of a ReplicaSet, in the namespace shop, unless told. */
export function aPod(name: string, fields: PodFields = {}): KubeObject {
  const { namespace = 'shop', labels = { app: 'web' }, annotations = {}, owner = 'ReplicaSet', volumes = [], phase = 'Running', ready = true } = fields;
  const metadata = {
    namespace,
    name,
    uid: `uid-${name}`,
    labels,
    annotations,
    ownerReferences: owner === 'None' ? [] : [{ apiVersion: OWNERS[owner], kind: owner, name: 'owner', uid: 'uid-owner', controller: true }],
    ...deletionOf(fields),
  };
  return { metadata, spec: { nodeName: fields.nodeName ?? 'n1', volumes }, status: { phase, conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] } };
}

/** The API server stores when the grace period ends. */
function deletionOf({ deleted }: PodFields): object {
  return deleted ? { deletionTimestamp: new Date(Date.parse(deleted[0]) + deleted[1] * 1000).toISOString(), deletionGracePeriodSeconds: deleted[1] } : {};
}

export interface BudgetFields {
  readonly namespace?: string;
  readonly selector?: object | null;
  readonly generation?: number;
  readonly unhealthyPodEvictionPolicy?: string;
  readonly status?: object;
}

/** Of the pods app=web in the namespace shop; allows one disruption of three, unless told. */
export function aBudget(name: string, fields: BudgetFields = {}): KubeObject {
  const { namespace = 'shop', selector = { matchLabels: { app: 'web' } }, generation = 1, unhealthyPodEvictionPolicy, status } = fields;
  const metadata = { namespace, name, generation };
  const spec = { ...(selector && { selector }), ...(unhealthyPodEvictionPolicy !== undefined && { unhealthyPodEvictionPolicy }) };
  return { metadata, spec, status: { observedGeneration: 1, disruptionsAllowed: 1, currentHealthy: 3, desiredHealthy: 2, expectedPods: 3, ...status } };
}

/** The policy's options with their defaults. */
export function drainOptions(fields: object = {}): DrainOptions {
  return PatchPolicySpec.parse({ drain: fields }).drain;
}
