import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LivePatchReport, NodeKernel } from '../../../crds/nodekernel.ts';
import { conditionOf } from '../../../operator/conditions.ts';
import { decide } from '../../../operator/decide.ts';
import { quarantiner, quarantinesOf } from '../../../operator/quarantine.ts';
import { RELEASE, aKernelPatch, aLivePatch, aLivePatchReport, aNode, aNodeKernel, aPolicy, aReport, aView, aWanted } from './builders.ts';

const QUARANTINED: Partial<LivePatchReport> = { state: 'Quarantined', reason: 'QuarantinedAfterBoot', message: 'the load had not ended when the node went down' };

/** n1 has been given the live patch and holds it back, n2 waits for it. */
function aCluster({ report = {}, spec = {}, wanted = {}, failureBudget = 5 }: { report?: Partial<LivePatchReport>; spec?: object; wanted?: Parameters<typeof aWanted>[0]; failureBudget?: number } = {}) {
  const kernelPatch = aKernelPatch();
  return aView({
    nodes: [aNode('n1'), aNode('n2')],
    nodeKernels: [
      aNodeKernel('n1', { spec: { livePatches: [aWanted(wanted)] }, status: aReport({ livePatches: [aLivePatchReport({ ...QUARANTINED, ...report })] }) }),
      aNodeKernel('n2'),
    ],
    kernelPatches: [{ ...kernelPatch, spec: { ...kernelPatch.spec, ...spec } }],
    policies: [aPolicy({ rollout: { maxInFlight: '100%', failureBudget } })],
  });
}

function verdicts(view: ReturnType<typeof aCluster>) {
  return decide(view).verdicts.map(({ node, verdict, reason }) => `${node} ${verdict} ${reason}`);
}

const published = (view: ReturnType<typeof aCluster>, node: string) =>
  decide(view).intents.flatMap((change) => (change.kind === 'Publish' && change.nodeKernel.metadata.name === node ? (change.spec.livePatches ?? []) : []));

test('a node that holds a file back has failed, and the file is started on no other node', () => {
  const view = aCluster();
  assert.deepEqual(verdicts(view), ['n1 Failed QuarantinedAfterBoot', 'n2 Blocked QuarantinedElsewhere']);
  assert.deepEqual(published(view, 'n2'), []);
});

test('the KernelPatch shows both, with the node that went down', () => {
  const [change] = decide(aCluster()).kernelPatches;
  assert.equal(conditionOf(change?.status, 'Ready')?.reason, 'QuarantinedAfterBoot');
  assert.deepEqual(change?.status.attention?.map(({ node, reason }) => [node, reason]), [['n1', 'QuarantinedAfterBoot'], ['n2', 'QuarantinedElsewhere']]);
  assert.match(change?.status.attention?.[1]?.message ?? '', /node n1 .*fix-a.*spec\.liftQuarantine/);
});

test('a quarantine counts for the failure budget', () => {
  assert.deepEqual(conditionOf(decide(aCluster({ failureBudget: 1 })).kernelPatches[0]?.status, 'Ready')?.reason, 'QuarantinedAfterBoot');
  assert.match(verdicts(aCluster({ failureBudget: 1 }))[0] ?? '', /Failed/);
});

test('a new word is published to the node that holds the file back, and lets the others start', () => {
  const view = aCluster({ spec: { liftQuarantine: 'ticket-7' } });
  assert.equal(published(view, 'n1')[0]?.liftQuarantine, 'ticket-7');
  assert.equal(published(view, 'n2')[0]?.liftQuarantine, 'ticket-7');
});

test('a word that was tried lifts nothing', () => {
  const lifted = { liftQuarantine: 'ticket-7' };
  assert.deepEqual(verdicts(aCluster({ spec: lifted, wanted: lifted, report: lifted })), ['n1 Failed QuarantinedAfterBoot', 'n2 Blocked QuarantinedElsewhere']);
});

test('another file of the same KernelPatch is not held back', () => {
  const kernels = [{ release: RELEASE, state: 'Affected', livePatch: { ...aLivePatch({ sha256: 'b'.repeat(64) }), replace: true, reversible: true } }];
  assert.equal(published(aCluster({ spec: { kernels } }), 'n2').length, 1);
});

test('a withdrawal is not held back', () => {
  const view = aCluster({ spec: { withdrawn: true } });
  assert.equal(published(view, 'n2')[0]?.desired, 'Absent');
});

test('a node that is gone, or that another policy has, is asked as any other', () => {
  const view = aCluster();
  assert.equal(quarantinesOf([...view.nodeKernels.values()].filter(({ metadata }) => metadata.name !== 'n1')).length, 0);
  assert.match(verdicts({ ...view, policies: [aPolicy({ nodeSelector: { matchLabels: { only: 'n2' } } })], nodes: new Map([...view.nodes, ['n2', aNode('n2', { labels: { only: 'n2' } })]]) })[0] ?? '', /n2 Blocked QuarantinedElsewhere/);
});

const HELD = { node: 'n1', sha256: aWanted().sha256, lift: 'old' };
for (const [what, lift, found] of [['no word', undefined, 'n1'], ['the word it was held back under', 'old', 'n1'], ['another word', 'new', undefined]] as const) {
  test(`${what}: ${found === undefined ? 'started' : 'held back'}`, () => assert.equal(quarantiner(aWanted({ ...(lift && { liftQuarantine: lift }) }), [HELD]), found));
}

test('a report of an older operator without a digest holds nothing back', () => {
  const { sha256: _, ...report } = aLivePatchReport(QUARANTINED);
  assert.deepEqual(quarantinesOf([{ ...aNodeKernel('n1'), status: aReport({ livePatches: [report] }) } satisfies NodeKernel]), []);
});
