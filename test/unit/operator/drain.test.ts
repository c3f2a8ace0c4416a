/** What a drain would do, pod by pod. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeForecast, isDeletable, obstaclesToBegin, simulateDrain } from '../../../operator/drain.ts';
import type { Forecast } from '../../../operator/drain.ts';
import type { KubeObject } from '../../../operator/kube/resources.ts';
import { readBudget, readPod } from '../../../operator/pods.ts';
import { NOW } from './builders.ts';
import { aBudget, aPod, drainOptions } from './pods.ts';

interface Given {
  readonly pod?: KubeObject;
  readonly budgets?: readonly KubeObject[];
  readonly options?: object;
}

const simulate = (pods: readonly KubeObject[], budgets: readonly KubeObject[] = [], options: object = {}) =>
  simulateDrain({ pods: pods.map(readPod), budgets: budgets.map(readBudget), options: drainOptions(options), now: NOW });

/** What becomes of the one pod: "Evict", "Evict shop/web" under that budget, "Going", "Leave reason", or the reasons why it does not go. */
function fateOf({ evict, going, leave, blocked }: Forecast): string {
  return [
    ...evict.map(({ budget }) => (budget ? `Evict ${budget.namespace}/${budget.name}` : 'Evict')),
    ...going.map(() => 'Going'),
    ...leave.map(({ reason }) => `Leave ${reason}`),
    ...blocked.map(({ obstacles }) => obstacles.map(({ reason }) => reason).join(' ')),
  ].join();
}

const none = aBudget('web', { status: { disruptionsAllowed: 0, currentHealthy: 2 } });
const cache = [{ name: 'cache', emptyDir: {} }];
const ago = (seconds: number) => new Date(NOW - seconds * 1000).toISOString();
const deleted = (seconds: number, grace = 30) => aPod('web-1', { deleted: [ago(seconds), grace] });

const table: readonly (readonly [sentence: string, given: Given, fate: string])[] = [
  ['a pod of a ReplicaSet is evicted', {}, 'Evict'],
  ['a pod of a Job is evicted', { pod: aPod('job-1', { owner: 'Job' }) }, 'Evict'],
  ['a pod with a volume of its claim is evicted', { pod: aPod('db-0', { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data-db-0' } }] }) }, 'Evict'],
  ['a pod of a DaemonSet stays', { pod: aPod('ds-1', { owner: 'DaemonSet', volumes: cache }) }, 'Leave DaemonSet'],
  ['a pod of a DaemonSet stays although it is being deleted', { pod: aPod('ds-1', { owner: 'DaemonSet', deleted: [ago(5), 30] }) }, 'Leave DaemonSet'],
  ['a pod of the operator stays, so that the drain goes on', { pod: aPod('kernelpatch-1', { labels: { 'app.kubernetes.io/name': 'kernelpatch', 'app.kubernetes.io/component': 'operator' } }) }, 'Leave Operator'],
  ['a static pod stays', { pod: aPod('etcd-n1', { owner: 'Node', annotations: { 'kubernetes.io/config.mirror': 'abc' } }) }, 'Leave Static'],
  ['a pod that has succeeded stays, bare and with local data', { pod: aPod('done', { owner: 'None', phase: 'Succeeded', volumes: cache }) }, 'Leave Terminated'],
  ['a pod that has failed stays', { pod: aPod('failed', { owner: 'None', phase: 'Failed' }) }, 'Leave Terminated'],
  ['a pod that podSelector does not select stays', { options: { podSelector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] } } }, 'Leave NotSelected'],
  ['a pod that podSelector selects goes', { options: { podSelector: { matchLabels: { app: 'web' } } } }, 'Evict'],

  ['a bare pod does not go', { pod: aPod('bare', { owner: 'None' }) }, 'BarePod'],
  ['a bare pod goes with force', { pod: aPod('bare', { owner: 'None' }), options: { force: true } }, 'Evict'],
  ['a pod with an emptyDir does not go', { pod: aPod('web-1', { volumes: cache }) }, 'LocalData'],
  ['a pod with an emptyDir in memory does not go, as with kubectl', { pod: aPod('web-1', { volumes: [{ name: 'ram', emptyDir: { medium: 'Memory' } }] }) }, 'LocalData'],
  ['a pod with an emptyDir goes with deleteEmptyDirData', { pod: aPod('web-1', { volumes: cache }), options: { deleteEmptyDirData: true } }, 'Evict'],
  ['force is not about local data', { pod: aPod('bare', { owner: 'None', volumes: cache }), options: { force: true } }, 'LocalData'],
  ['all that keeps a pod is said at once', { pod: aPod('bare', { owner: 'None', volumes: cache }), budgets: [none] }, 'BarePod LocalData BudgetExhausted'],
  ['cluster-autoscaler is told to leave it, and so are we', { pod: aPod('web-1', { annotations: { 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false' } }) }, 'DoNotEvict'],
  ['Karpenter is told to leave it, and so are we', { pod: aPod('web-1', { annotations: { 'karpenter.sh/do-not-disrupt': 'true' } }) }, 'DoNotEvict'],
  ['an annotation that says the opposite keeps nothing', { pod: aPod('web-1', { annotations: { 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true', 'karpenter.sh/do-not-disrupt': 'false' } }) }, 'Evict'],

  ['a budget that allows one lets a pod go', { budgets: [aBudget('web')] }, 'Evict shop/web'],
  ['a budget that allows none keeps it', { budgets: [none] }, 'BudgetExhausted'],
  ['a budget that would allow none with all pods healthy is told apart', { budgets: [aBudget('web', { status: { disruptionsAllowed: 0, currentHealthy: 3, desiredHealthy: 3 } })] }, 'BudgetForbids'],
  ['a budget that could not be judged is told apart', { budgets: [aBudget('web', { status: { disruptionsAllowed: 0, conditions: [{ type: 'DisruptionAllowed', status: 'False', reason: 'SyncFailed', message: 'found no controller' }] } })] }, 'BudgetFailed'],
  ['a budget that was not looked at since it changed keeps it', { budgets: [aBudget('web', { generation: 2 })] }, 'BudgetNotObserved'],
  ['a budget without a status keeps it', { budgets: [{ metadata: aBudget('web').metadata, spec: aBudget('web')['spec'] }] }, 'BudgetNotObserved'],
  ['a budget of another namespace does not concern it', { budgets: [aBudget('web', { namespace: 'other', status: { disruptionsAllowed: 0 } })] }, 'Evict'],
  ['a budget of other pods does not concern it', { budgets: [aBudget('db', { selector: { matchLabels: { app: 'db' } }, status: { disruptionsAllowed: 0 } })] }, 'Evict'],
  ['a budget with an empty selector is of all pods of its namespace', { budgets: [aBudget('all', { selector: {}, status: { disruptionsAllowed: 0, currentHealthy: 2 } })] }, 'BudgetExhausted'],
  ['a budget without a selector is of none', { budgets: [aBudget('none', { selector: null, status: { disruptionsAllowed: 0 } })] }, 'Evict'],
  ['two budgets of one pod keep it, whatever they allow', { budgets: [aBudget('web'), aBudget('all', { selector: {} })] }, 'SeveralBudgets'],
  ['a pending pod has no protection', { pod: aPod('web-1', { phase: 'Pending', ready: false }), budgets: [none, aBudget('all', { selector: {} })] }, 'Evict'],
  ['an unready pod goes while the others are as many as are needed', { pod: aPod('web-1', { ready: false }), budgets: [none] }, 'Evict'],
  ['an unready pod stays while there are fewer', { pod: aPod('web-1', { ready: false }), budgets: [aBudget('web', { status: { disruptionsAllowed: 0, currentHealthy: 1 } })] }, 'BudgetExhausted'],
  ['an unready pod goes with AlwaysAllow', { pod: aPod('web-1', { ready: false }), budgets: [aBudget('web', { unhealthyPodEvictionPolicy: 'AlwaysAllow', status: { disruptionsAllowed: 0, currentHealthy: 1 } })] }, 'Evict'],
  ['AlwaysAllow is about unready pods only', { budgets: [aBudget('web', { unhealthyPodEvictionPolicy: 'AlwaysAllow', status: { disruptionsAllowed: 0, currentHealthy: 2 } })] }, 'BudgetExhausted'],
  ['an unready pod of which none is needed counts as any other', { pod: aPod('web-1', { ready: false }), budgets: [aBudget('web', { status: { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0 } })] }, 'BudgetExhausted'],

  ['a pod that is being deleted is waited for', { pod: deleted(10) }, 'Going'],
  ['a pod that is being deleted needs no consent any more', { pod: aPod('bare', { owner: 'None', volumes: cache, deleted: [ago(10), 30] }), budgets: [none] }, 'Going'],
  ['a pod that should have ended is told', { pod: deleted(61) }, 'Overdue'],
  ['a pod that should have ended is left after skipWaitForDeleteTimeoutSeconds', { pod: deleted(100), options: { skipWaitForDeleteTimeoutSeconds: 60 } }, 'Leave DeletionSkipped'],
  ['skipWaitForDeleteTimeoutSeconds counts from the end of its grace period', { pod: deleted(80), options: { skipWaitForDeleteTimeoutSeconds: 60 } }, 'Overdue'],
];
for (const [sentence, { pod = aPod('web-1'), budgets, options }, fate] of table) {
  test(sentence, () => assert.equal(fateOf(simulate([pod], budgets, options)), fate));
}

const messages: readonly (readonly [given: Given, message: RegExp])[] = [
  [{ budgets: [none] }, /^PodDisruptionBudget shop\/web allows 0 disruptions: it needs 2 healthy pods and has 2 of 3: it is waited for until more are healthy$/],
  [{ budgets: [aBudget('web', { status: { disruptionsAllowed: 0, currentHealthy: 3, desiredHealthy: 3 } })] }, /needs 3 healthy pods and has 3 of 3, so it never allows one: run more replicas, or let the budget allow one$/],
  [{ budgets: [aBudget('web'), aBudget('all', { selector: {} })] }, /^PodDisruptionBudgets shop\/all, shop\/web all select it, and the API server evicts no such pod/],
  [{ pod: aPod('web-1', { volumes: cache }) }, /emptyDir cache would be lost: set drain\.deleteEmptyDirData: true/],
  [{ pod: aPod('bare', { owner: 'None' }) }, /no controller would make it again elsewhere: delete it, or set drain\.force: true/],
  [{ pod: aPod('web-1', { annotations: { 'karpenter.sh/do-not-disrupt': 'true' } }) }, /annotation karpenter\.sh\/do-not-disrupt: "true"/],
  [{ pod: deleted(61) }, /since 2026-11-24T11:58:59Z and was to be gone by 2026-11-24T11:59:29Z: look at its finalizers/],
  [{ budgets: [none], options: { onTimeout: 'Delete', timeoutSeconds: 60 } }, /until more are healthy; the pod is deleted 60 s after the drain has begun$/],
  [{ pod: aPod('bare', { owner: 'None' }), options: { onTimeout: 'Delete' } }, /drain\.force: true in the policy$/],
];
for (const [{ pod = aPod('web-1'), budgets, options }, message] of messages) {
  test(`the reason says what is and what to do: ${message.source}`, () => assert.match(simulate([pod], budgets, options).blocked[0]?.obstacles[0]?.message ?? '', message));
}

const pdbs = (budgets: readonly KubeObject[]) => simulate([aPod('web-1')], budgets).blocked.flatMap(({ obstacles }) => obstacles.map(({ pod, pdb }) => `${pod} ${pdb}`));

test('a pod that is kept by a budget names it, one that several keep names all', () => {
  assert.deepEqual(pdbs([none]), ['shop/web-1 shop/web']);
  assert.deepEqual(pdbs([aBudget('web'), aBudget('all', { selector: {} })]), ['shop/web-1 shop/all, shop/web']);
});

const kept: Readonly<Record<string, Given>> = {
  BarePod: { pod: aPod('bare', { owner: 'None' }) },
  LocalData: { pod: aPod('web-1', { volumes: cache }) },
  SeveralBudgets: { budgets: [aBudget('web'), aBudget('all', { selector: {} })] },
  BudgetForbids: { budgets: [aBudget('web', { status: { disruptionsAllowed: 0, desiredHealthy: 3 } })] },
  BudgetExhausted: { budgets: [none] },
  BudgetNotObserved: { budgets: [aBudget('web', { generation: 2 })] },
  DoNotEvict: { pod: aPod('web-1', { annotations: { 'karpenter.sh/do-not-disrupt': 'true' } }) },
  Overdue: { pod: deleted(61) },
};
const stops = ({ pod = aPod('web-1'), budgets }: Given, onTimeout: string) => obstaclesToBegin(simulate([pod], budgets), drainOptions({ onTimeout })).length > 0;

for (const [onTimeout, stopping] of [
  ['Park', ['BarePod', 'LocalData', 'SeveralBudgets', 'BudgetForbids', 'BudgetExhausted']],
  ['Wait', ['BarePod', 'LocalData', 'SeveralBudgets', 'BudgetForbids']],
  ['Delete', ['BarePod', 'LocalData']],
] as const) {
  test(`a drain with onTimeout ${onTimeout} does not begin with ${stopping.join(', ')}`, () => {
    assert.deepEqual(Object.entries(kept).filter(([, given]) => stops(given, onTimeout)).map(([reason]) => reason), stopping);
  });
}

const isDeleted = ({ pod = aPod('web-1'), budgets }: Given) => simulate([pod], budgets).blocked.some(({ obstacles }) => isDeletable(obstacles));

test('what is deleted in the end is what time was to remove, and never what needs consent', () => {
  assert.deepEqual(Object.entries(kept).filter(([, given]) => isDeleted(given)).map(([reason]) => reason), ['SeveralBudgets', 'BudgetForbids', 'BudgetExhausted', 'BudgetNotObserved', 'DoNotEvict']);
  assert.equal(isDeleted({ pod: aPod('bare', { owner: 'None' }), budgets: [none] }), false);
});

test('a preview counts the pods and names the first ten reasons', () => {
  const bare = Array.from({ length: 12 }, (_, index) => aPod(`bare-${index}`, { owner: 'None' }));
  const preview = describeForecast(simulate([aPod('web-1'), aPod('web-2', { deleted: [ago(1), 30] }), aPod('ds-1', { owner: 'DaemonSet' }), aPod('done', { phase: 'Succeeded' }), ...bare]));
  assert.deepEqual({ ...preview, blocked: preview.blocked.length }, { evict: 2, leave: 1, blockedPods: 12, blocked: 10 });
  assert.deepEqual(describeForecast(simulate([])), { evict: 0, leave: 0, blockedPods: 0, blocked: [] });
});
