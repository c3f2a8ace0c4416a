import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeVerdict } from '../../../crds/kernelpatch.ts';
import { conditionOf } from '../../../operator/conditions.ts';
import { decide } from '../../../operator/decide.ts';
import { kernelPatchStatus } from '../../../operator/status.ts';
import type { Verdict } from '../../../operator/verdict.ts';
import { NOW, aKernelPatch, aLivePatchReport, aNode, aNodeKernel, aPolicy, aReport, aView, aWanted } from './builders.ts';

function aVerdict(node: string, verdict: NodeVerdict, reason: string = verdict): Verdict {
  return { node, kernelPatch: 'fix-a', verdict, reason, message: `${node} is ${verdict}`, moves: verdict === 'InProgress' || reason === 'WaitingForSlot' };
}

interface Case {
  readonly verdicts: readonly Verdict[];
  readonly ready: string;
  readonly progressing: string;
  readonly stalled: string;
}

const cases: Readonly<Record<string, Case>> = {
  'without a node Ready is Unknown': { verdicts: [], ready: 'Unknown NoNodes', progressing: 'False', stalled: 'False' },
  'all closed is Ready': { verdicts: [aVerdict('n1', 'Closed'), aVerdict('n2', 'Closed')], ready: 'True AllClosed', progressing: 'False', stalled: 'False' },
  'under way is not Ready and not stalled': { verdicts: [aVerdict('n1', 'Closed'), aVerdict('n2', 'InProgress', 'Loading')], ready: 'False Loading', progressing: 'True', stalled: 'False' },
  'waiting for a slot will go on by itself': { verdicts: [aVerdict('n1', 'Waiting', 'WaitingForSlot')], ready: 'False WaitingForSlot', progressing: 'True', stalled: 'False' },
  'a mode Plan waits for a person': { verdicts: [aVerdict('n1', 'Waiting', 'PlanMode')], ready: 'False PlanMode', progressing: 'False', stalled: 'True' },
  'one reason that all share is the reason': { verdicts: [aVerdict('n1', 'Blocked', 'NoLivePatch'), aVerdict('n2', 'Blocked', 'NoLivePatch')], ready: 'False NoLivePatch', progressing: 'False', stalled: 'True' },
  'different reasons become one word': { verdicts: [aVerdict('n1', 'Blocked', 'NoLivePatch'), aVerdict('n2', 'Blocked', 'KexecUnavailable')], ready: 'False NodesBlocked', progressing: 'False', stalled: 'True' },
  'the worst decides, a failure before a block': { verdicts: [aVerdict('n1', 'Blocked', 'NoLivePatch'), aVerdict('n2', 'Failed', 'InsmodFailed')], ready: 'False InsmodFailed', progressing: 'False', stalled: 'True' },
  'a failure does not stall what still moves': { verdicts: [aVerdict('n1', 'Failed', 'InsmodFailed'), aVerdict('n2', 'InProgress')], ready: 'False InsmodFailed', progressing: 'True', stalled: 'False' },
};

for (const [sentence, { verdicts, ready, progressing, stalled }] of Object.entries(cases)) {
  test(sentence, () => {
    const status = kernelPatchStatus(aKernelPatch(), verdicts, NOW);
    const shown = conditionOf(status, 'Ready');
    assert.equal(`${shown?.status} ${shown?.reason}`, ready, shown?.message);
    assert.equal(conditionOf(status, 'Progressing')?.status, progressing);
    assert.equal(conditionOf(status, 'Stalled')?.status, stalled);
  });
}

test('the counts add up and the worst nodes are named first', () => {
  const words: readonly NodeVerdict[] = ['Closed', 'Waiting', 'InProgress', 'Unknown', 'Blocked', 'Failed'];
  const status = kernelPatchStatus(aKernelPatch(), words.map((verdict, index) => aVerdict(`n${index}`, verdict)), NOW);
  assert.deepEqual(status.nodes, { selected: 6, closed: 1, open: 5, inProgress: 1, waiting: 1, blocked: 1, failed: 1, unknown: 1 });
  assert.equal(status.closed, '1/6');
  assert.deepEqual(status.attention?.map(({ verdict }) => verdict), ['Failed', 'Blocked', 'Unknown', 'InProgress', 'Waiting']);
});

test('attention names 20 nodes at most', () => {
  const status = kernelPatchStatus(aKernelPatch(), Array.from({ length: 50 }, (_, index) => aVerdict(`n${index}`, 'Blocked')), NOW);
  assert.equal(status.attention?.length, 20);
  assert.equal(status.nodes?.blocked, 50);
});

test('the time of a condition changes with its status only', () => {
  const first = kernelPatchStatus(aKernelPatch(), [aVerdict('n1', 'InProgress', 'Loading')], NOW);
  const later = kernelPatchStatus(aKernelPatch({ status: first }), [aVerdict('n1', 'Blocked', 'NoLivePatch')], NOW + 60_000);
  assert.equal(conditionOf(later, 'Ready')?.lastTransitionTime, '2026-11-24T12:00:00Z');
  assert.equal(conditionOf(later, 'Progressing')?.lastTransitionTime, '2026-11-24T12:01:00Z');
  assert.equal(conditionOf(later, 'Ready')?.observedGeneration, 1);
});

test('a node that two policies select belongs to the older one, and the younger says so', () => {
  const view = aView({
    nodes: [aNode('n1'), aNode('n2', { labels: { pool: 'gpu' } })],
    policies: [
      aPolicy({ nodeSelector: { matchLabels: { pool: 'gpu' } } }, { name: 'gpu', created: '2026-01-01T00:00:00Z' }),
      aPolicy({}, { name: 'everything', created: '2026-02-01T00:00:00Z' }),
    ],
  });
  const [gpu, everything] = decide(view).policies.map(({ status }) => status);
  assert.equal(gpu?.closed, '1/1');
  assert.equal(everything?.closed, '1/1');
  assert.equal(conditionOf(gpu, 'Overlapping'), undefined);
  assert.match(conditionOf(everything, 'Overlapping')?.message ?? '', /n2 belong to the older PatchPolicy gpu/);
});

test('policies of one age go by name', () => {
  const view = aView({ nodes: [aNode('n1')], policies: [aPolicy({}, { name: 'b' }), aPolicy({}, { name: 'a' })] });
  assert.deepEqual(decide(view).policies.map(({ object, status }) => `${object.metadata.name} ${status.nodes?.selected}`), ['a 1', 'b 0']);
});

test('a policy whose node is open to one of two patches counts the node once', () => {
  const view = aView({
    nodes: [aNode('n1')],
    nodeKernels: [aNodeKernel('n1')],
    kernelPatches: [aKernelPatch({ name: 'fix-a', kernels: [{ release: '6.1.0', state: 'Fixed' }] }), aKernelPatch({ name: 'fix-b', kernels: [{ release: '6.1.0', state: 'Fixed' }] })],
    policies: [aPolicy()],
  });
  assert.deepEqual(decide(view).policies[0]?.status.nodes, { selected: 1, closed: 0, open: 1 });
});

test('nothing is decided anew about what is stored already', () => {
  const kernelPatch = aKernelPatch();
  const base = { nodes: [aNode('n1')], nodeKernels: [aNodeKernel('n1', { spec: { livePatches: [aWanted()] }, status: aReport({ livePatches: [aLivePatchReport()] }) })] };
  const first = decide(aView({ ...base, kernelPatches: [kernelPatch], policies: [aPolicy()] }));
  const [policy] = first.policies;
  const [intent] = first.intents;
  assert.ok(policy && intent?.kind === 'Publish' && first.kernelPatches[0]);
  const second = decide(
    aView({
      now: NOW + 60_000,
      nodes: base.nodes,
      nodeKernels: [{ ...intent.nodeKernel, spec: intent.spec }],
      kernelPatches: [aKernelPatch({ status: first.kernelPatches[0].status })],
      policies: [aPolicy({}, { status: policy.status })],
    }),
  );
  assert.deepEqual([second.policies, second.intents, second.kernelPatches, second.deletions], [[], [], [], []]);
});

test('a NodeKernel is made for a selected node and removed when no policy selects it', () => {
  const created = decide(aView({ nodes: [aNode('n1')], policies: [aPolicy()] })).intents;
  assert.deepEqual(created.map((change) => change.kind === 'Create' && change.node.name), ['n1']);
  const removed = decide(aView({ nodes: [aNode('n1')], nodeKernels: [aNodeKernel('n1')] })).deletions;
  assert.deepEqual(removed.map(({ metadata }) => metadata.name), ['n1']);
});

test('a NodeKernel that somebody else made is not removed', () => {
  assert.deepEqual(decide(aView({ nodes: [aNode('n1')], nodeKernels: [aNodeKernel('n1', { labels: {} })] })).deletions, []);
});

test('a node made anew under its old name gets a NodeKernel of its own, the old one first removed', () => {
  const view = aView({ nodes: [aNode('n1', { uid: 'new' })], nodeKernels: [aNodeKernel('n1')], kernelPatches: [aKernelPatch()], policies: [aPolicy()] });
  const { deletions, intents, verdicts } = decide(view);
  assert.deepEqual([deletions.length, intents.length, verdicts[0]?.reason], [1, 0, 'NotReported']);
  assert.equal(decide({ ...view, nodeKernels: new Map() }).intents[0]?.kind, 'Create');
});

test('a node under way that moves to another policy takes its slot along', () => {
  const slot = { node: 'n1', since: '2026-11-24T11:59:00Z', deadline: '2026-11-24T12:09:00Z' };
  const view = aView({
    nodes: [aNode('n1')],
    nodeKernels: [aNodeKernel('n1', { spec: { livePatches: [aWanted()] }, generation: 2 })],
    kernelPatches: [aKernelPatch()],
    policies: [aPolicy({ nodeSelector: { matchLabels: { left: 'yes' } } }, { name: 'from', status: { slots: [slot] } }), aPolicy({}, { name: 'to' })],
  });
  assert.deepEqual(decide(view).policies.map(({ object, status }) => [object.metadata.name, status.slots]), [['from', []], ['to', [slot]]]);
});
