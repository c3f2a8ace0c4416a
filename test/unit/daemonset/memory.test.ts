import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LivePatchReport, NodeKernelStatus } from '../../../crds/nodekernel.ts';
import { attempted, failed, identified, memoryFor, recall } from '../../../daemonset/memory.ts';
import { aWanted } from '../../simulated/node.ts';

const report: LivePatchReport = {
  name: 'livepatch_fix',
  origin: 'KernelPatch',
  kernelPatch: 'fix',
  sha256: aWanted().sha256,
  state: 'Failed',
  reason: 'TransitionTimeout',
  message: 'it stalled',
  attempts: 3,
  since: '2026-11-24T09:00:00Z',
};

const aStatus = (changes: Partial<LivePatchReport> = {}) => ({ bootID: 'boot', observedGeneration: 2, livePatches: [{ ...report, ...changes }] }) as unknown as NodeKernelStatus;

test('a failure that was reported for this generation and boot is known again', () => {
  const memory = recall(aWanted(), aStatus(), 2, 'boot');
  assert.deepEqual([memory.attempts, memory.failure?.reason, memory.failure?.retry], [3, 'TransitionTimeout', false]);
});

test('another generation, boot or digest begins anew', () => {
  for (const memory of [
    recall(aWanted(), aStatus(), 3, 'boot'),
    recall(aWanted(), aStatus(), 2, 'another boot'),
    recall(aWanted(), aStatus({ sha256: 'ab'.repeat(32) }), 2, 'boot'),
    recall(aWanted(), { ...aStatus(), bootID: 'unknown' }, 2, 'unknown'),
    recall(aWanted(), undefined, 2, 'boot'),
  ]) {
    assert.deepEqual([memory.attempts, memory.failure, memory.verified], [0, undefined, false]);
  }
});

for (const [state, reason, verified] of [['Active', 'Active', true], ['Failed', 'ObjectUnpatched', true], ['Transitioning', 'Transitioning', false], ['Failed', 'EffectMissing', false]] as const) {
  test(`a patch reported as ${state}, ${reason}, was ${verified ? '' : 'not '}seen complete`, () => {
    const memory = recall(aWanted(), aStatus({ state, reason }), 2, 'boot');
    assert.equal(memory.verified, verified);
    assert.equal(memory.failure?.reason, state === 'Failed' && !verified ? reason : undefined);
  });
}

test('what was seen complete has to be seen again after the next load', () => {
  assert.equal(attempted(recall(aWanted(), aStatus({ state: 'Active' }), 2, 'boot')).verified, false);
});

test('the same intent goes on with what is remembered, whoever asks for it', () => {
  const memory = failed(attempted(memoryFor(aWanted(), undefined)), { reason: 'X', message: 'x', retry: true }, 5);
  assert.equal(memoryFor(aWanted({ kernelPatch: 'another', replace: false }), memory), memory);
});

test('a changed intent for the same file keeps the build id and nothing else; another file nothing', () => {
  const memory = identified(attempted(memoryFor(aWanted(), undefined)), 'abcd');
  const withdrawn = memoryFor(aWanted({ desired: 'Absent' }), memory);
  assert.deepEqual([withdrawn.attempts, withdrawn.fileBuildID], [0, 'abcd']);
  assert.equal(memoryFor(aWanted({ sha256: 'ab'.repeat(32) }), memory).fileBuildID, undefined);
});
