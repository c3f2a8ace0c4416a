import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LivePatchReport, NodeKernelStatus } from '../../../crds/nodekernel.ts';
import { findLeftBehind, findOwned, ownedOf } from '../../../daemonset/ownership.ts';
import type { Load } from '../../../kernel/journal.ts';
import type { KernelPatchState } from '../../../kernel/patches.ts';
import { aWanted } from '../../simulated/node.ts';

const BUILD_ID = 'ab'.repeat(20);
const report: LivePatchReport = { name: 'fix', origin: 'KernelPatch', kernelPatch: 'kp', sha256: 'cd'.repeat(32), buildID: BUILD_ID, state: 'Active', reason: 'Active', message: 'in words', since: '2026-11-24T09:00:00Z' };
const load: Load = { name: 'fix', sha256: 'cd'.repeat(32), buildID: BUILD_ID, bootID: 'boot', uptimeSeconds: 9, at: '2026-11-24T09:00:00Z', lift: '', crashes: 0, outcome: 'Committed', trace: undefined };
const reported = (changes: Partial<LivePatchReport> = {}, bootID = 'boot') => ownedOf({ bootID, livePatches: [{ ...report, ...changes }] } as unknown as NodeKernelStatus, new Map(), 'boot');
const journalled = (changes: Partial<Load> = {}) => ownedOf(undefined, new Map([['x', { ...load, ...changes }]]), 'boot');
const ours = { name: 'fix', buildID: BUILD_ID, sha256: 'cd'.repeat(32) };

test('ours is what the last report of this boot gives a build id for, or the journal has as loaded in this boot', () => {
  assert.deepEqual(reported(), [{ ...ours, kernelPatch: 'kp' }]);
  for (const outcome of ['Open', 'Committed'] as const) assert.deepEqual(journalled({ outcome }), [{ ...ours, kernelPatch: '' }]);
  for (const none of [reported({}, 'another boot'), reported({ buildID: undefined }), reported({ origin: 'Foreign' }), journalled({ bootID: 'another boot' }), journalled({ outcome: 'Unloaded' })]) assert.deepEqual(none, []);
});

test('what both know is there once, with its KernelPatch', () => {
  const status = { bootID: 'boot', livePatches: [report] } as unknown as NodeKernelStatus;
  assert.deepEqual(ownedOf(status, new Map([['x', load]]), 'boot'), [{ ...ours, kernelPatch: 'kp' }]);
  assert.deepEqual(ownedOf({ ...status, bootID: 'unknown' }, new Map([['x', { ...load, bootID: 'unknown' }]]), 'unknown'), []);
});

const state = (changes: Partial<KernelPatchState> = {}): KernelPatchState => ({ name: 'fix', livePatch: undefined, module: { initState: 'live', buildID: BUILD_ID }, ...changes });
const enabled = { enabled: 'on', transition: 'off', replace: 'on', objects: [] } as const;

test('a module is ours by name and build id', () => {
  assert.ok(findOwned(state(), reported()));
  assert.equal(findOwned(state({ name: 'another' }), reported()), undefined);
  for (const buildID of ['ef'.repeat(20), 'unknown']) assert.equal(findOwned(state({ module: { initState: 'live', buildID } }), reported()), undefined);
});

const found = (patch: KernelPatchState, wanted = aWanted()) => findLeftBehind([wanted], new Map([[patch.name, patch]]), reported()).map(({ name, desired }) => `${name} ${desired}`);

test('left behind is a disabled module of ours that is not listed', () => {
  assert.deepEqual(found(state()), ['fix Absent']);
  assert.deepEqual(found(state({ livePatch: { ...enabled, enabled: 'off' } })), ['fix Absent']);
  assert.deepEqual(found(state({ livePatch: enabled })), []);
  assert.deepEqual(found(state(), aWanted({ name: 'fix' })), []);
  assert.deepEqual(found(state({ module: { initState: 'live', buildID: 'ef'.repeat(20) } })), []);
  assert.deepEqual(found(state({ module: undefined })), []);
});
