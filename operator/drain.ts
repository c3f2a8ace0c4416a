/** What a drain of one node would do, pure: the pods of the node, the PodDisruptionBudgets of their namespaces, what the policy allows. */
import type { DrainPreview } from '../crds/nodekernel.ts';
import type { DrainOptions } from '../crds/patchpolicy.ts';
import { isOperator } from './labels.ts';
import { clip } from './plan.ts';
import { nameOf } from './pods.ts';
import type { BudgetView, PodView } from './pods.ts';
import { instant } from './instant.ts';
import { selects } from './selector.ts';

/** Operator: what carries the drain on. Evicted, it might find no other node, and this one would stay cordoned for ever. */
export type LeaveReason = 'Static' | 'DaemonSet' | 'Operator' | 'Terminated' | 'NotSelected' | 'DeletionSkipped';

/**
 * BarePod: no controller makes it again. LocalData: it has emptyDir volumes. SeveralBudgets: the API server evicts no pod with two. BudgetForbids: its budget allows
 * no disruption even when all pods are healthy. BudgetExhausted: it allows none now. BudgetFailed: the disruption controller could not judge it. BudgetNotObserved: it has not
 * done so yet. DoNotEvict: an annotation asks to leave it. Overdue: it is being deleted and should have ended.
 */
export type ObstacleReason = 'BarePod' | 'LocalData' | 'SeveralBudgets' | 'BudgetForbids' | 'BudgetExhausted' | 'BudgetFailed' | 'BudgetNotObserved' | 'DoNotEvict' | 'Overdue';

export interface Obstacle {
  /** namespace/name. */
  readonly pod: string;
  readonly reason: ObstacleReason;
  /** namespace/name; all of them, with commas, when there are several. */
  readonly pdb?: string;
  readonly message: string;
}

export function sayObstacle({ pod, message }: Obstacle): string {
  return `${pod}: ${message}`;
}

interface Rule {
  /** Time alone does not remove it. */
  readonly lasts: boolean;
  /** A drain that is to be parked does not begin with it: it would cordon the node for nothing. */
  readonly parks: boolean;
  /** onTimeout Delete passes over it. */
  readonly deletable: boolean;
}

const RULES: Readonly<Record<ObstacleReason, Rule>> = {
  BarePod: { lasts: true, parks: true, deletable: false },
  LocalData: { lasts: true, parks: true, deletable: false },
  SeveralBudgets: { lasts: true, parks: true, deletable: true },
  BudgetForbids: { lasts: true, parks: true, deletable: true },
  BudgetExhausted: { lasts: false, parks: true, deletable: true },
  BudgetFailed: { lasts: false, parks: true, deletable: true },
  BudgetNotObserved: { lasts: false, parks: false, deletable: true },
  DoNotEvict: { lasts: false, parks: false, deletable: true },
  Overdue: { lasts: false, parks: false, deletable: false },
};

/** Each pod of the node is in exactly one list, by namespace and name. */
export interface Forecast {
  /** They can be evicted. */
  readonly evict: readonly Evictable[];
  /** They are being deleted, and have time to end. */
  readonly going: readonly PodView[];
  readonly leave: readonly { readonly pod: PodView; readonly reason: LeaveReason }[];
  /** They do not go as things are. */
  readonly blocked: readonly { readonly pod: PodView; readonly obstacles: readonly Obstacle[] }[];
}

export interface Evictable {
  readonly pod: PodView;
  /** The eviction uses it up by one: so many pods of it go at once, and the others when those are healthy elsewhere. */
  readonly budget: BudgetView | undefined;
}

/** Milliseconds after the end of its grace period from which a pod that is still there is called overdue: 30 s, which a kubelet needs to unmount volumes and to tell. */
const OVERDUE_MS = 30_000;

const DAEMON_SET = 'apps/v1 DaemonSet';

export interface DrainedNode {
  readonly pods: readonly PodView[];
  /** Those of the namespaces of the pods. */
  readonly budgets: readonly BudgetView[];
  readonly options: DrainOptions;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export function simulateDrain({ pods, budgets, options, now }: DrainedNode): Forecast {
  const evict: Evictable[] = [];
  const going: PodView[] = [];
  const leave: Forecast['leave'][number][] = [];
  const blocked: Forecast['blocked'][number][] = [];
  for (const pod of [...pods].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))) {
    const left = whyLeft(pod, options, now);
    if (left !== undefined) {
      leave.push({ pod, reason: left });
      continue;
    }
    const ruling = ruleOf(pod, budgets);
    const obstacles = pod.deletion ? overdue(pod, now) : [...objections(pod, options), ...(ruling.kind === 'Refused' ? [ruling.obstacle] : [])];
    if (obstacles.length > 0) blocked.push({ pod, obstacles: obstacles.map((obstacle) => withEnd(obstacle, options)) });
    else if (pod.deletion) going.push(pod);
    else evict.push({ pod, budget: ruling.kind === 'Counts' ? ruling.budget : undefined });
  }
  return { evict, going, leave, blocked };
}

/** Why a pod stays on the node until it goes down; undefined when it is to go. Nothing runs in one that has terminated, and its log outlives the boot. */
function whyLeft({ isStatic, controller, phase, labels, deletion }: PodView, { podSelector, skipWaitForDeleteTimeoutSeconds }: DrainOptions, now: number): LeaveReason | undefined {
  if (isStatic) return 'Static';
  if (controller === DAEMON_SET) return 'DaemonSet';
  if (isOperator(labels)) return 'Operator';
  if (phase === 'Succeeded' || phase === 'Failed') return 'Terminated';
  if (podSelector && !selects(podSelector, labels)) return 'NotSelected';
  if (deletion && skipWaitForDeleteTimeoutSeconds > 0 && now - deletion.due > skipWaitForDeleteTimeoutSeconds * 1000) return 'DeletionSkipped';
  return undefined;
}

function overdue(pod: PodView, now: number): readonly Obstacle[] {
  const { deletion } = pod;
  if (!deletion || now - deletion.due <= OVERDUE_MS) return [];
  const message = `is being deleted since ${instant(deletion.since)} and was to be gone by ${instant(deletion.due)}: look at its finalizers and at the kubelet of its node; drain.skipWaitForDeleteTimeoutSeconds leaves such pods`;
  return [{ pod: nameOf(pod), reason: 'Overdue', message }];
}

function objections(pod: PodView, options: DrainOptions): readonly Obstacle[] {
  const { controller, emptyDirs, keptBy } = pod;
  const obstacles: Obstacle[] = [];
  const add = (reason: ObstacleReason, message: string) => obstacles.push({ pod: nameOf(pod), reason, message });
  if (controller === undefined && !options.force) add('BarePod', 'no controller would make it again elsewhere: delete it, or set drain.force: true in the policy');
  if (emptyDirs.length > 0 && !options.deleteEmptyDirData) add('LocalData', `what is in its emptyDir ${emptyDirs.join(', ')} would be lost: set drain.deleteEmptyDirData: true in the policy if that may be`);
  if (keptBy !== undefined) add('DoNotEvict', `its annotation ${keptBy} asks to leave it: it is waited for until it ends or the annotation is gone`);
  return obstacles;
}

type Ruling = { readonly kind: 'Free' } | { readonly kind: 'Counts'; readonly budget: BudgetView } | { readonly kind: 'Refused'; readonly obstacle: Obstacle };

/** What the eviction subresource of the API server would answer (pkg/registry/core/pod/storage/eviction.go). A pod that is not running yet has no protection. */
function ruleOf(pod: PodView, budgets: readonly BudgetView[]): Ruling {
  if (pod.phase === 'Pending') return { kind: 'Free' };
  const [budget, ...more] = budgets.filter(({ namespace, selector }) => namespace === pod.namespace && selector !== undefined && selects(selector, pod.labels));
  if (!budget) return { kind: 'Free' };
  if (more.length > 0) return { kind: 'Refused', obstacle: severalBudgets(pod, [budget, ...more]) };
  if (!pod.ready && (budget.alwaysEvictsUnhealthy || (budget.desiredHealthy > 0 && budget.currentHealthy >= budget.desiredHealthy))) return { kind: 'Free' };
  if (budget.observed && budget.disruptionsAllowed > 0) return { kind: 'Counts', budget };
  return { kind: 'Refused', obstacle: { pod: nameOf(pod), pdb: nameOf(budget), ...refusalOf(budget) } };
}

function severalBudgets(pod: PodView, budgets: readonly BudgetView[]): Obstacle {
  const pdb = budgets.map(nameOf).sort().join(', ');
  return { pod: nameOf(pod), reason: 'SeveralBudgets', pdb, message: `PodDisruptionBudgets ${pdb} all select it, and the API server evicts no such pod: narrow their selectors until one is left` };
}

function refusalOf(budget: BudgetView): Pick<Obstacle, 'reason' | 'message'> {
  const { observed, disruptionsAllowed, currentHealthy, desiredHealthy, expectedPods, syncFailure } = budget;
  const name = `PodDisruptionBudget ${nameOf(budget)}`;
  if (!observed) return { reason: 'BudgetNotObserved', message: `${name} has changed and the disruption controller has not looked at it since: look at kube-controller-manager if this stays` };
  if (syncFailure !== undefined) return { reason: 'BudgetFailed', message: `${name} allows ${disruptionsAllowed} disruptions since the disruption controller can not judge it: ${syncFailure}` };
  const numbers = `allows ${disruptionsAllowed} disruptions: it needs ${desiredHealthy} healthy pods and has ${currentHealthy} of ${expectedPods}`;
  if (expectedPods > 0 && desiredHealthy >= expectedPods) return { reason: 'BudgetForbids', message: `${name} ${numbers}, so it never allows one: run more replicas, or let the budget allow one` };
  return { reason: 'BudgetExhausted', message: `${name} ${numbers}: it is waited for until more are healthy` };
}

function withEnd(obstacle: Obstacle, { onTimeout, timeoutSeconds }: DrainOptions): Obstacle {
  return onTimeout === 'Delete' && RULES[obstacle.reason].deletable ? { ...obstacle, message: `${obstacle.message}; the pod is deleted ${timeoutSeconds} s after the drain has begun` } : obstacle;
}

/**
 * Why a drain does not begin; empty when it may. Nothing has been touched then: the node is not cordoned and no pod was moved in vain. What time alone removes does
 * not keep a drain from beginning that waits or deletes.
 */
export function obstaclesToBegin({ blocked }: Forecast, { onTimeout }: DrainOptions): readonly Obstacle[] {
  const obstacles = blocked.flatMap((each) => each.obstacles);
  return obstacles.filter(({ reason }) => {
    const { lasts, parks, deletable } = RULES[reason];
    if (onTimeout === 'Delete' && deletable) return false;
    return onTimeout === 'Park' ? parks : lasts;
  });
}

/** True when onTimeout Delete deletes the pod: it is held by nothing else than what was to give way in time. */
export function isDeletable(obstacles: readonly Obstacle[]): boolean {
  return obstacles.every(({ reason }) => RULES[reason].deletable);
}

/** The list `blocked` holds 10 entries (crds/nodekernel.ts), and its `pdb` 1024 characters. */
const MAX_BLOCKED = 10;

/** The forecast as the plan of the NodeKernel shows it. Counts are of pods that run or are about to: those that have terminated come and go with every Job. */
export function describeForecast({ evict, going, leave, blocked }: Forecast): DrainPreview {
  return {
    evict: evict.length + going.length,
    leave: leave.filter(({ reason }) => reason !== 'Terminated').length,
    blockedPods: blocked.length,
    blocked: blocked
      .flatMap(({ obstacles }) => obstacles)
      .slice(0, MAX_BLOCKED)
      .map(({ pod, reason, pdb, message }) => ({ pod, reason, ...(pdb !== undefined && { pdb: clip(pdb) }), message: clip(message) })),
  };
}
