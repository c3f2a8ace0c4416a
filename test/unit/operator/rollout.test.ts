import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LivePatchReport } from '../../../crds/nodekernel.ts';
import { decideIntent, startsSomething } from '../../../operator/intent.ts';
import { decideRollout, limitOf, slotSeconds } from '../../../operator/rollout.ts';
import type { Candidate } from '../../../operator/rollout.ts';
import type { Slot } from '../../../operator/progress.ts';
import { aKernelPatch, aLivePatch, aLivePatchReport, aNode, aNodeKernel, aPlan, aPolicy, aReport, aWanted, NOW, RELEASE, withoutReboots } from './builders.ts';

const HELD: Omit<Slot, 'node'> = { since: '2026-11-24T11:59:00Z', deadline: '2026-11-24T12:09:00Z' };
const EXPIRED: Omit<Slot, 'node'> = { since: '2026-11-24T11:45:00Z', deadline: '2026-11-24T11:55:00Z' };
const FRESH: Omit<Slot, 'node'> = { since: '2026-11-24T12:00:00Z', deadline: '2026-11-24T12:10:00Z' };

interface NodeFields {
  readonly published?: boolean;
  readonly state?: LivePatchReport['state'];
  readonly current?: boolean;
  readonly slot?: Omit<Slot, 'node'>;
  readonly patch?: ReturnType<typeof aKernelPatch>;
}

/** A node for which livepatch_a is wanted. */
function aCandidate(name: string, { published = false, state, current = true, slot, patch = aKernelPatch() }: NodeFields = {}): Candidate {
  const livePatches = state ? [aLivePatchReport({ state, reason: state })] : [];
  const nodeKernel = aNodeKernel(name, { spec: { livePatches: published ? [aWanted()] : [] }, generation: 2, status: aReport({ observedGeneration: current ? 2 : 1, livePatches }) });
  return { plan: aPlan(aNode(name), nodeKernel, aPolicy(), [patch]), nodeKernel, slot: slot && { node: name, ...slot } };
}

function decided(candidates: readonly Candidate[], maxInFlight = '1', failureBudget = 1) {
  const rollout = decideRollout(candidates, { maxUnavailable: '1', maxInFlight, failureBudget, transitionSeconds: 75 }, [], NOW);
  return { slots: [...rollout.slots.values()], granted: [...rollout.granted], halted: [...rollout.halts.keys()], nextDeadline: rollout.nextDeadline, rollout };
}

for (const [count, selected, limit] of [['3', 100, 3], ['25%', 4, 1], ['25%', 5, 2], ['1%', 5000, 50], ['100%', 7, 7], ['25%', 2, 1], ['25%', 0, 0]] as const) {
  test(`${count} of ${selected} nodes is ${limit} at once`, () => assert.equal(limitOf(count, selected), limit));
}

test('a slot lasts for three transitions as long as the policy lets them, and ten minutes at least', () => {
  assert.deepEqual([15, 75, 600, 3600].map(slotSeconds), [600, 600, 2175, 11_175]);
});

test('as many nodes start as there are slots, by name', () => {
  const { slots, granted, nextDeadline } = decided(['n3', 'n1', 'n2'].sort().map((name) => aCandidate(name)), '2');
  assert.deepEqual(granted, ['n1', 'n2']);
  assert.deepEqual(slots, [{ node: 'n1', ...FRESH }, { node: 'n2', ...FRESH }]);
  assert.equal(nextDeadline, NOW + 600_000);
});

test('a node under way keeps its slot, and nobody else gets it', () => {
  const { slots, granted } = decided([aCandidate('n1', { published: true, state: 'Transitioning', slot: HELD }), aCandidate('n2')]);
  assert.deepEqual(slots, [{ node: 'n1', ...HELD }]);
  assert.deepEqual(granted, []);
});

test('an agent that has not yet seen its intent keeps the slot', () => {
  assert.deepEqual(decided([aCandidate('n1', { published: true, current: false, slot: HELD }), aCandidate('n2')]).granted, []);
});

for (const state of ['Active', 'Refused'] as const) {
  test(`a node that ended ${state} gives its slot to the next`, () => {
    const { slots, granted } = decided([aCandidate('n1', { published: true, state, slot: HELD }), aCandidate('n2')]);
    assert.deepEqual(slots, [{ node: 'n2', ...FRESH }]);
    assert.deepEqual(granted, ['n2']);
  });
}

test('a slot without an intent, as a killed leader leaves it, is renewed and used', () => {
  const { slots, granted } = decided([aCandidate('n1', { slot: HELD }), aCandidate('n2')]);
  assert.deepEqual(slots, [{ node: 'n1', ...FRESH }]);
  assert.deepEqual(granted, ['n1']);
});

test('a slot past its deadline stays on record, counts no more, and the failure halts the patch', () => {
  const candidates = [aCandidate('n1', { published: true, current: false, slot: EXPIRED }), aCandidate('n2')];
  const halted = decided(candidates);
  assert.deepEqual([halted.slots, halted.granted, halted.halted], [[{ node: 'n1', ...EXPIRED }], [], ['fix-a']]);
  const withinBudget = decided(candidates, '1', 2);
  assert.deepEqual([withinBudget.granted, withinBudget.halted], [['n2'], []]);
});

test('a failed node within the budget lets the others start', () => {
  const failed = aCandidate('n1', { published: true, state: 'Failed' });
  assert.deepEqual(decided([failed, aCandidate('n2')], '1', 2).granted, ['n2']);
  assert.deepEqual(decided([failed, aCandidate('n2')], '1', 1).granted, []);
});

test('a refusal is no failure', () => {
  assert.deepEqual(decided([aCandidate('n1', { published: true, state: 'Refused' }), aCandidate('n2')]).granted, ['n2']);
});

test('a corrected file of a halted patch starts again', () => {
  const corrected = aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch({ sha256: 'c'.repeat(64) }) }] });
  const { granted, halted } = decided([aCandidate('n1', { published: true, state: 'Failed', patch: corrected }), aCandidate('n2', { patch: corrected })], '2');
  assert.deepEqual([granted, halted], [['n1', 'n2'], []]);
});

test('a withdrawal is not halted by failures', () => {
  const withdrawn = aKernelPatch({ withdrawn: true });
  const { granted } = decided([aCandidate('n1', { published: true, state: 'Failed', patch: withdrawn }), aCandidate('n2', { published: true, state: 'Active', patch: withdrawn })], '2');
  assert.deepEqual(granted, ['n1', 'n2']);
});

test('a node that loads again after a boot takes a slot of its own', () => {
  const { slots, granted } = decided([aCandidate('n1', { published: true, state: 'Loading' }), aCandidate('n2')]);
  assert.deepEqual([slots, granted], [[{ node: 'n1', ...FRESH }], []]);
});

test('with a slot the intent holds all that is wanted; without one only what is there', () => {
  const candidates = [aCandidate('n1'), aCandidate('n2'), aCandidate('n3', { published: true, state: 'Active' })];
  const { rollout } = decided(candidates);
  const [n1, n2, n3] = candidates.map((candidate) => decideIntent(candidate, withoutReboots(rollout)).livePatches);
  assert.deepEqual([n1, n2, n3], [[aWanted()], [], [aWanted()]]);
});

test('without a slot a withdrawn live patch leaves the list, so that it is not loaded any more', () => {
  const withdrawn = aKernelPatch({ withdrawn: true });
  const candidates = [aCandidate('n1', { published: true, state: 'Active', patch: withdrawn }), aCandidate('n2', { published: true, state: 'Active', patch: withdrawn })];
  const { rollout } = decided(candidates);
  assert.deepEqual(candidates.map((candidate) => decideIntent(candidate, withoutReboots(rollout)).livePatches), [[aWanted({ desired: 'Absent' })], []]);
});

test('other CVEs and another deadline of the same live patch are published without a slot, since no agent does anything for them', () => {
  const published = aNodeKernel('n1', { spec: { livePatches: [aWanted({ cves: [], transitionSeconds: 600 })] } });
  assert.equal(startsSomething({ livePatches: [aWanted()] }, published), false);
  assert.equal(startsSomething({ livePatches: [aWanted({ liftQuarantine: 'ticket-7' })] }, published), true);
});

test('what the next boot loads is the policy\'s word, and is published without a slot', () => {
  const policy = aPolicy({ livePatch: { atBoot: false } });
  const nodeKernel = aNodeKernel('n1', { spec: { loadAtBoot: true, livePatches: [aWanted()] } });
  const candidate: Candidate = { plan: aPlan(aNode('n1'), nodeKernel, policy, [aKernelPatch()]), nodeKernel, slot: undefined };
  const spec = decideIntent(candidate, withoutReboots(decideRollout([candidate], { ...policy.spec.rollout, ...policy.spec.livePatch }, [], NOW)));
  assert.deepEqual([spec.loadAtBoot, spec.livePatches], [false, [aWanted()]]);
  assert.equal(startsSomething(spec, nodeKernel), false);
});

test('only a new entry starts something; leaving one out does not', () => {
  const published = aNodeKernel('n1', { spec: { livePatches: [aWanted()] } });
  assert.equal(startsSomething({ livePatches: [aWanted()] }, published), false);
  assert.equal(startsSomething({ livePatches: [] }, published), false);
  assert.equal(startsSomething({ livePatches: [aWanted({ desired: 'Absent' })] }, published), true);
});
