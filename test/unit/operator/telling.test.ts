/** When a status is written, and which Events follow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KernelPatchStatus } from '../../../crds/kernelpatch.ts';
import type { PatchPolicyStatus } from '../../../crds/patchpolicy.ts';
import type { Condition } from '../../../crds/common.ts';
import { aboutKernelPatch, describeEvent, eventObject } from '../../../operator/events.ts';
import { makePace, urgencyOfIntent, urgencyOfStatus } from '../../../operator/pace.ts';
import { describePlan } from '../../../operator/plan.ts';
import { aKernelPatch, aNode, aPlan, aPolicy, aWanted, anOrder, FIXED_RELEASE, NOW } from './builders.ts';

function aStatus(ready: Condition['status'], stalled: Condition['status'], reason = 'Some'): KernelPatchStatus {
  const condition = (type: string, status: Condition['status']): Condition => ({ type, status, reason, message: `because of ${reason}`, lastTransitionTime: '2026-11-24T12:00:00Z' });
  return { conditions: [condition('Ready', ready), condition('Stalled', stalled)] };
}
const slot = (node: string) => ({ node, since: '2026-11-24T12:00:00Z', deadline: '2026-11-24T12:10:00Z' });

const rebootSlot = (order: string) => ({ node: 'n1', order, since: '2026-11-24T12:00:00Z' });

const [open, halted, closed] = [aStatus('False', 'False'), aStatus('False', 'True'), aStatus('True', 'False')];
const storing: readonly (readonly [string, KernelPatchStatus | PatchPolicyStatus | undefined, KernelPatchStatus | PatchPolicyStatus, boolean])[] = [
  ['all closed is told at once', open, closed, true],
  ['no longer all closed is told at once', closed, open, true],
  ['a stand is told at once', open, halted, true],
  ['going on again may wait', halted, open, false],
  ['the first status of something open may wait', undefined, open, false],
  ['a taken slot is stored at once', { slots: [] }, { slots: [slot('n1')] }, true],
  ['a renewed slot is stored at once', { slots: [{ ...slot('n1'), since: 'before' }] }, { slots: [slot('n1')] }, true],
  ['a slot for a reboot is stored at once, whatever other slot the node had since then', { slots: [slot('n1')] }, { slots: [], rebootSlots: [rebootSlot('order-1')] }, true],
  ['one for another order of the same second too', { slots: [], rebootSlots: [rebootSlot('order-1')] }, { slots: [], rebootSlots: [rebootSlot('order-2')] }, true],
  ['a reboot that failed is told at once, since it has to outlive its node', { slots: [] }, { slots: [], rebootFailures: [{ node: 'n1', uid: 'uid-n1', order: 'order-1', kernelPatch: 'fix-a', release: FIXED_RELEASE }] }, true],
  ['one that is released may wait', { slots: [], rebootSlots: [rebootSlot('order-1')] }, { slots: [] }, false],
  ['a released slot may wait', { slots: [slot('n1'), slot('n2')] }, { slots: [slot('n1')] }, false],
];
for (const [sentence, before, after, major] of storing) {
  test(sentence, () => assert.equal(urgencyOfStatus(before, after), major ? 'Now' : 'Soon'));
}

test('an intent that gives the agent something to do, or nothing more to do, is published at once; a plan alone may wait', () => {
  const plan = describePlan(aPlan(aNode('n1'), undefined, aPolicy(), []));
  assert.equal(urgencyOfIntent({ livePatches: [] }, { livePatches: [aWanted()] }), 'Now');
  assert.equal(urgencyOfIntent({ livePatches: [aWanted()] }, { livePatches: [] }), 'Now');
  assert.equal(urgencyOfIntent({ livePatches: [aWanted()] }, { plan, livePatches: [aWanted()] }), 'Soon');
});

test('a step of a reboot is published at once, what is said of it meanwhile may wait longer', () => {
  const order = anOrder({ phase: 'Draining' });
  assert.equal(urgencyOfIntent({}, { reboot: order }), 'Now');
  assert.equal(urgencyOfIntent({ reboot: order }, { reboot: { ...order, phase: 'Rebooting' } }), 'Now');
  assert.equal(urgencyOfIntent({ reboot: { ...order, phase: 'Refused' } }, { reboot: { ...order, id: 'order-2', phase: 'Refused' } }), 'Now');
  assert.equal(urgencyOfIntent({ reboot: order }, {}), 'Now');
  assert.equal(urgencyOfIntent({ reboot: order }, { reboot: { ...order, message: '1 pod is left' } }), 'Later');
  const parked = anOrder({ phase: 'Parked' });
  assert.equal(urgencyOfIntent({ reboot: parked }, { reboot: { ...parked, message: 'another pod is in the way' } }), 'Soon', 'what a person is waited for with is told sooner');
});

test('a change that only tells waits two seconds from when it was first seen, or twenty, however it changes on', () => {
  const pace = makePace();
  assert.equal(pace.waitMs('a', 'Soon', NOW), 2000);
  assert.equal(pace.waitMs('a', 'Soon', NOW + 400), 1600);
  assert.equal(pace.waitMs('b', 'Soon', NOW + 400), 2000);
  assert.equal(pace.waitMs('a', 'Soon', NOW + 2000), 0);
  assert.equal(pace.waitMs('a', 'Now', NOW + 1), 0);
  assert.equal(pace.waitMs('a', 'Later', NOW + 2000), 18_000);
  pace.keepOnly(new Set(['b']));
  assert.equal(pace.waitMs('a', 'Soon', NOW + 2400), 2000);
  assert.equal(pace.waitMs('b', 'Soon', NOW + 2400), 0);
});

for (const [sentence, before, after, type] of [
  ['closing has an Event', open, closed, 'Normal'],
  ['staying closed has none', closed, closed, undefined],
  ['coming to a stand has a warning', open, halted, 'Warning'],
  ['standing for another reason has one', aStatus('False', 'True', 'NoLivePatch'), aStatus('False', 'True', 'KexecUnavailable'), 'Warning'],
  ['standing for the same reason has none', halted, halted, undefined],
  ['a step on the way has none', undefined, open, undefined],
] as const) {
  test(sentence, () => assert.equal(describeEvent(before, after)?.type, type));
}

test('an Event names its KernelPatch and says why', () => {
  const note = describeEvent(open, aStatus('True', 'False', 'AllClosed'));
  assert.ok(note);
  const event = eventObject(aboutKernelPatch(aKernelPatch()), note, { now: NOW, instance: 'operator-1' }) as { regarding: object; note: string; reason: string };
  assert.deepEqual(event.regarding, { apiVersion: 'kernelpatch.dev/v1alpha1', kind: 'KernelPatch', name: 'fix-a', uid: 'uid-fix-a' });
  assert.deepEqual([event.reason, event.note], ['AllClosed', 'because of AllClosed']);
});
