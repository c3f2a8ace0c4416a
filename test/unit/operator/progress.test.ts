import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isInFlight, judge } from '../../../operator/progress.ts';
import type { Slot } from '../../../operator/progress.ts';
import type { LivePatchReport, NodeKernel, WantedLivePatch } from '../../../crds/nodekernel.ts';
import { NOW, aLivePatchReport, aNodeKernel, aReport, aWanted } from './builders.ts';

const slot: Slot = { node: 'n1', since: '2026-11-24T11:59:00Z', deadline: '2026-11-24T12:09:00Z' };
const expired: Slot = { ...slot, deadline: '2026-11-24T11:59:30Z' };

/** Published and reported: `reported` undefined means that the report does not mention it; `current` whether it is about this intent. */
function nodeKernel(wanted: WantedLivePatch, { reported, active = '', current = true }: Pick<Case, 'reported' | 'active'> & { readonly current?: boolean }): NodeKernel {
  const livePatches = reported ? [aLivePatchReport(reported)] : [];
  return aNodeKernel('n1', { spec: { livePatches: [wanted] }, generation: 2, status: aReport({ observedGeneration: current ? 2 : 1, active, livePatches }) });
}

interface Case {
  readonly desired?: 'Absent';
  readonly reported?: Partial<LivePatchReport>;
  readonly active?: string;
  readonly current?: false;
  readonly slot?: Slot;
  readonly kind: string;
  readonly reason?: string;
  readonly inFlight: boolean;
}

const cases: Readonly<Record<string, Case>> = {
  'an active live patch is done': { reported: {}, slot, kind: 'Done', inFlight: false },
  'an active one of another file is not ours': { reported: { sha256: 'b'.repeat(64) }, slot, kind: 'InFlight', inFlight: true },
  'an active one that somebody else loaded is not ours': { reported: { origin: 'Foreign' }, slot, kind: 'InFlight', inFlight: true },
  'a refusal ends it': { reported: { state: 'Refused', reason: 'DigestMismatch' }, slot, kind: 'Refused', reason: 'DigestMismatch', inFlight: false },
  'a failure ends it': { reported: { state: 'Failed', reason: 'InsmodFailed' }, slot, kind: 'Failed', reason: 'InsmodFailed', inFlight: false },
  'a quarantine is a failure, and ends it': { reported: { state: 'Quarantined', reason: 'QuarantinedAfterBoot' }, slot, kind: 'Failed', reason: 'QuarantinedAfterBoot', inFlight: false },
  'a transition is under way': { reported: { state: 'Transitioning' }, slot, kind: 'InFlight', reason: 'Transitioning', inFlight: true },
  'what the agent has not taken up is under way': { current: false, slot, kind: 'InFlight', reason: 'Pending', inFlight: true },
  'an unreadable live patch is under way until its deadline': { reported: { state: 'Unknown' }, slot, kind: 'InFlight', inFlight: true },
  'past its deadline it has failed': { reported: { state: 'Transitioning' }, slot: expired, kind: 'Failed', reason: 'DeadlineExceeded', inFlight: true },
  'past its deadline without an answer the agent is silent': { current: false, slot: expired, kind: 'Failed', reason: 'AgentSilent', inFlight: true },
  'a late success is a success': { reported: {}, slot: expired, kind: 'Done', inFlight: false },
  'an outcome stays when the intent grows for another reason': { reported: { state: 'Failed', reason: 'InsmodFailed' }, current: false, kind: 'Failed', reason: 'InsmodFailed', inFlight: false },
  'without a slot a report of work is work, as after a boot': { reported: { state: 'Loading' }, current: false, kind: 'InFlight', inFlight: true },
  'without a slot a current report that lacks it is work to come': { kind: 'InFlight', inFlight: true },
  'without a slot an old report says nothing about work': { current: false, kind: 'InFlight', inFlight: false },
  'to be absent and not reported is done': { desired: 'Absent', slot, kind: 'Done', reason: 'LivePatchRemoved', inFlight: false },
  'to be absent and not reported by an old report is not done': { desired: 'Absent', current: false, slot, kind: 'InFlight', inFlight: true },
  'to be absent and still active is under way, whatever file it is': { desired: 'Absent', reported: { sha256: 'b'.repeat(64) }, slot, kind: 'InFlight', inFlight: true },
  'to be absent and somebody else has one of that name is done': { desired: 'Absent', reported: { origin: 'Foreign' }, slot, kind: 'Done', inFlight: false },
  'to be absent, not its turn yet and still active is under way': { desired: 'Absent', active: 'other,livepatch_a', slot, kind: 'InFlight', inFlight: true },
  'an unload that failed has failed': { desired: 'Absent', reported: { state: 'Failed', reason: 'Busy' }, slot, kind: 'Failed', reason: 'Busy', inFlight: false },
  'a load that failed before says nothing about the unload': { desired: 'Absent', reported: { state: 'Failed' }, current: false, slot, kind: 'InFlight', inFlight: true },
};

for (const [sentence, { desired = 'Loaded', slot: held, kind, reason, inFlight, ...seen }] of Object.entries(cases)) {
  test(sentence, () => {
    const wanted = aWanted({ desired });
    const object = nodeKernel(wanted, seen);
    const progress = judge(wanted, object, held, NOW);
    assert.equal(progress.kind, kind, progress.message);
    if (reason !== undefined) assert.equal(progress.reason, reason);
    assert.equal(isInFlight(object, held), inFlight);
  });
}

test('what is not in the intent is not begun, unless it is active already', () => {
  const other = nodeKernel(aWanted({ hostPath: '/elsewhere.ko' }), {});
  assert.equal(judge(aWanted(), other, undefined, NOW).kind, 'Unpublished');
  assert.equal(judge(aWanted(), undefined, undefined, NOW).kind, 'Unpublished');
  const active = aNodeKernel('n1', { spec: { livePatches: [] }, status: aReport({ livePatches: [aLivePatchReport()] }) });
  assert.equal(judge(aWanted(), active, undefined, NOW).kind, 'Done');
});
