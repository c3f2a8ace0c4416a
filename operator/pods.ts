/** What a drain needs to know of Pods, PodDisruptionBudgets and VolumeAttachments. Parsing happens here, trust inside. */
import type { LabelSelector, ObjectMeta, OwnerReference } from '../crds/common.ts';
import type { KubeObject } from './kube/resources.ts';

export interface PodView {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Pending, Running, Succeeded, Failed or Unknown. */
  readonly phase: string;
  readonly ready: boolean;
  /** What makes it again when it is gone, as apps/v1 DaemonSet. */
  readonly controller: string | undefined;
  /** A static pod: its kubelet has it from a file, and the API's object is a mirror of it. */
  readonly isStatic: boolean;
  /** Names of volumes whose content goes with the pod. */
  readonly emptyDirs: readonly string[];
  /** Names of its PersistentVolumeClaims. */
  readonly claims: readonly string[];
  /** The annotation that asks not to evict it, as it is written. */
  readonly keptBy: string | undefined;
  /** Set once it is being deleted. */
  readonly deletion: Deletion | undefined;
}

export interface Deletion {
  /** When it was asked for, in milliseconds since 1970. */
  readonly since: number;
  /** When its grace period ends. */
  readonly due: number;
}

export interface BudgetView {
  readonly namespace: string;
  readonly name: string;
  /** Undefined selects nothing, an empty one every pod of the namespace. */
  readonly selector: LabelSelector | undefined;
  readonly alwaysEvictsUnhealthy: boolean;
  /** True when the status is about the spec as it is. */
  readonly observed: boolean;
  readonly disruptionsAllowed: number;
  readonly currentHealthy: number;
  readonly desiredHealthy: number;
  readonly expectedPods: number;
  /** Why the disruption controller could not judge it. */
  readonly syncFailure: string | undefined;
}

/** A volume that is attached to a node. */
export interface AttachmentView {
  readonly name: string;
  readonly node: string;
  /** The PersistentVolume; undefined for one that is written in a pod. */
  readonly volume: string | undefined;
}

/** namespace/name, as messages and statuses have it. */
export function nameOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}

/**
 * Annotations by which pods ask the autoscalers of the field to leave their node alone: cluster-autoscaler's and Karpenter's. Others only prefer it
 * (the descheduler's) or are about something else.
 */
const KEEPING = [
  ['cluster-autoscaler.kubernetes.io/safe-to-evict', 'false'],
  ['karpenter.sh/do-not-disrupt', 'true'],
] as const;

const MIRROR = 'kubernetes.io/config.mirror';

interface PodMeta extends ObjectMeta {
  readonly namespace?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly ownerReferences?: readonly (OwnerReference & { readonly controller?: boolean })[];
}

interface PodSpec {
  readonly volumes?: readonly Volume[];
}

interface Volume {
  readonly name: string;
  readonly emptyDir?: object;
  readonly ephemeral?: object;
  readonly persistentVolumeClaim?: { readonly claimName: string };
}

interface PodStatus {
  readonly phase?: string;
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
}

export function readPod({ metadata, spec, status }: KubeObject): PodView {
  const meta: PodMeta = metadata;
  const volumes = (spec as PodSpec | undefined)?.volumes ?? [];
  const { phase = 'Unknown', conditions = [] } = (status ?? {}) as PodStatus;
  const controller = meta.ownerReferences?.find((owner) => owner.controller);
  return {
    namespace: meta.namespace ?? '',
    name: meta.name,
    uid: meta.uid ?? '',
    labels: meta.labels ?? {},
    phase,
    ready: conditions.some((condition) => condition.type === 'Ready' && condition.status === 'True'),
    controller: controller && `${controller.apiVersion} ${controller.kind}`,
    isStatic: meta.annotations?.[MIRROR] !== undefined,
    emptyDirs: volumes.filter(({ emptyDir }) => emptyDir !== undefined).map(({ name }) => name),
    claims: volumes.flatMap((volume) => claimOf(meta.name, volume) ?? []),
    keptBy: keptBy(meta),
    deletion: readDeletion(meta),
  };
}

/** A generic ephemeral volume's claim is named after pod and volume. */
function claimOf(pod: string, { name, ephemeral, persistentVolumeClaim }: Volume): string | undefined {
  return ephemeral ? `${pod}-${name}` : persistentVolumeClaim?.claimName;
}

function keptBy({ annotations }: PodMeta): string | undefined {
  const keeping = KEEPING.find(([key, value]) => annotations?.[key] === value);
  return keeping && `${keeping[0]}: "${keeping[1]}"`;
}

/** The API server stores when the grace period ends. */
function readDeletion({ deletionTimestamp, deletionGracePeriodSeconds = 0 }: PodMeta): Deletion | undefined {
  if (deletionTimestamp === undefined) return undefined;
  const due = Date.parse(deletionTimestamp);
  return { since: due - deletionGracePeriodSeconds * 1000, due };
}

const NOT_JUDGED = { observedGeneration: 0, disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };

interface BudgetStatus extends Partial<typeof NOT_JUDGED> {
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason?: string; readonly message?: string }[];
}

export function readBudget({ metadata, spec, status }: KubeObject): BudgetView {
  const { namespace = '', name, generation = 0 }: PodMeta = metadata;
  const { selector, unhealthyPodEvictionPolicy } = (spec ?? {}) as { readonly selector?: LabelSelector; readonly unhealthyPodEvictionPolicy?: string };
  const { observedGeneration, conditions = [], ...counts }: BudgetStatus & typeof NOT_JUDGED = { ...NOT_JUDGED, ...(status as BudgetStatus | undefined) };
  const failed = conditions.find((each) => each.type === 'DisruptionAllowed' && each.status === 'False' && each.reason === 'SyncFailed');
  return {
    namespace,
    name,
    selector,
    alwaysEvictsUnhealthy: unhealthyPodEvictionPolicy === 'AlwaysAllow',
    observed: observedGeneration >= generation,
    disruptionsAllowed: counts.disruptionsAllowed,
    currentHealthy: counts.currentHealthy,
    desiredHealthy: counts.desiredHealthy,
    expectedPods: counts.expectedPods,
    syncFailure: failed && (failed.message ?? failed.reason),
  };
}

export function readAttachment(object: KubeObject): AttachmentView {
  const { nodeName = '', source = {} } = (object['spec'] ?? {}) as { readonly nodeName?: string; readonly source?: { readonly persistentVolumeName?: string } };
  return { name: object.metadata.name, node: nodeName, volume: source.persistentVolumeName };
}
