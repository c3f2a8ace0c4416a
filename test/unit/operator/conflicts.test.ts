/** Which live patches of several KernelPatches, and of others, can be on one node together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LivePatchReport } from '../../../crds/nodekernel.ts';
import { decide } from '../../../operator/decide.ts';
import { describePlan } from '../../../operator/plan.ts';
import type { NodePlan } from '../../../operator/plan.ts';
import { aKernelPatch, aLivePatch, aLivePatchReport, aNode, aNodeKernel, aPlan, aPolicy, aReport, aView, RELEASE } from './builders.ts';
import type { KernelPatchFields } from './builders.ts';

const affected = { release: RELEASE, state: 'Affected' };
const THOUSAND = 'CVE-2026-1000';
const NEXT = 'CVE-2026-1001';

/** A KernelPatch with one live patch, whose module has its name. */
function aPatch(name: string, fields: KernelPatchFields & { readonly livePatch?: object } = {}): KernelPatchFields {
  const month = { october: '10', november: '11' }[name] ?? '12';
  return { name, created: `2026-${month}-01T00:00:00Z`, cves: [THOUSAND], kernels: [{ ...affected, livePatch: aLivePatch({ name, sha256: shaOf(name), ...fields.livePatch }) }], ...fields };
}

const shaOf = (name: string) => Buffer.from(name).toString('hex').padEnd(64, '0');
const active = (name: string, fields: Partial<LivePatchReport> = {}) => aLivePatchReport({ name, kernelPatch: name, sha256: shaOf(name), ...fields });
const foreign = (fields: Partial<LivePatchReport> = {}): LivePatchReport => ({ name: 'vendor_fix', origin: 'Foreign', state: 'Active', reason: 'Foreign', message: 'in words', since: '2026-11-24T11:00:00Z', ...fields });

function planWith(reports: readonly LivePatchReport[], ...patches: readonly KernelPatchFields[]): NodePlan {
  return aPlan(aNode('n1'), aNodeKernel('n1', { status: aReport({ livePatches: [...reports] }) }), aPolicy(), patches.map(aKernelPatch));
}

const decisions = ({ patches }: NodePlan) => Object.fromEntries(patches.map(({ kernelPatch, action, reason }) => [kernelPatch.metadata.name, `${action} ${reason}`]));
const loads = ({ wanted }: NodePlan) => wanted.map(({ name, desired }) => `${name} ${desired}`);

// Names.

test('two files under one module name block both, and name both', () => {
  const { patches, wanted } = aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy(), [
    aKernelPatch({ name: 'fix-a' }),
    aKernelPatch({ name: 'fix-b', kernels: [{ ...affected, livePatch: aLivePatch({ sha256: 'b'.repeat(64) }) }] }),
  ]);
  assert.deepEqual(patches.map(({ action, reason }) => `${action} ${reason}`), ['Blocked LivePatchNameConflict', 'Blocked LivePatchNameConflict']);
  for (const { message } of patches) assert.match(message, /fix-a and fix-b/);
  assert.deepEqual(wanted, []);
});

test('the same file wanted by two patches is loaded once and closes both', () => {
  const { patches, wanted } = aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy(), [aKernelPatch({ name: 'fix-a' }), aKernelPatch({ name: 'fix-b', cves: ['CVE-2026-1'.padEnd(13, '0')] })]);
  assert.deepEqual(wanted.map(({ kernelPatch }) => kernelPatch), ['fix-a']);
  assert.deepEqual(patches.map(({ action }) => action), ['LivePatch', 'LivePatch']);
});

test('a withdrawn file is removed although another patch still names it', () => {
  const { patches, wanted } = aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy(), [aKernelPatch({ name: 'fix-a', withdrawn: true }), aKernelPatch({ name: 'fix-b' })]);
  assert.deepEqual(wanted.map(({ desired }) => desired), ['Absent']);
  assert.equal(patches.find(({ kernelPatch }) => kernelPatch.metadata.name === 'fix-b')?.reason, 'LivePatchNameConflict');
});

// Cumulative ones.

const october = aPatch('october');
const november = aPatch('november', { cves: [THOUSAND, NEXT] });

test('a newer cumulative live patch that lists the CVEs of an older one takes its place, and the plan says that it closes both', () => {
  const plan = planWith([], october, november);
  assert.deepEqual(loads(plan), ['november Loaded']);
  assert.deepEqual(decisions(plan), { october: 'LivePatch ReplacedByNewer', november: 'LivePatch LivePatchAvailable' });
  assert.deepEqual(describePlan(plan).patches.map(({ livePatch }) => livePatch), ['november', 'november']);
});

test('a newer cumulative live patch that leaves a CVE open blocks the older one and names the CVE', () => {
  const plan = planWith([], october, aPatch('november', { cves: [NEXT] }));
  assert.deepEqual(loads(plan), ['november Loaded']);
  assert.deepEqual(decisions(plan), { october: 'Blocked LivePatchReplaceConflict', november: 'LivePatch LivePatchAvailable' });
  assert.match(plan.patches[0]?.message ?? '', /november.*CVE-2026-1000/);
});

test('where the older one is active, the newer one that leaves a CVE open is Blocked instead, so that nothing is opened again', () => {
  const plan = planWith([active('october')], october, aPatch('november', { cves: [NEXT] }));
  assert.deepEqual(loads(plan), ['october Loaded']);
  assert.deepEqual(decisions(plan), { october: 'LivePatch LivePatchAvailable', november: 'Blocked WouldReopen' });
  assert.match(plan.patches[0]?.message ?? '', /replaces october, which is active here, and does not list CVE-2026-1000.*withdraw KernelPatch october/);
});

test('when the newer one is withdrawn the older one is loaded first and the newer one removed then, also where it closes more', () => {
  const plan = planWith([active('november')], october, { ...november, withdrawn: true });
  assert.deepEqual(loads(plan), ['october Loaded', 'november Absent']);
});

test('when the newer one is deleted the older one is loaded', () => {
  assert.deepEqual(loads(planWith([active('november', { reason: 'NotWanted' })], october)), ['october Loaded']);
});

test('no older one takes the place of a withdrawn one that can not be disabled, before a boot', () => {
  const stays = aPatch('november', { withdrawn: true, livePatch: { reversible: false } });
  const plan = planWith([active('november', { reason: 'NotWanted' })], october, stays);
  assert.deepEqual(loads(plan), []);
  assert.equal(decisions(plan)['october'], 'Blocked NotReversible');
  assert.deepEqual(loads(planWith([], october, stays)), ['october Loaded']);
  const december = aPatch('december');
  assert.deepEqual(loads(planWith([active('november', { reason: 'NotWanted' })], october, stays, december)), ['december Loaded']);
});

test('an older one that stands beside is not loaded again behind a cumulative one that closes its CVEs, and is behind one that does not', () => {
  const beside = aPatch('october', { livePatch: { replace: false } });
  const covered = planWith([active('october')], beside, november);
  assert.deepEqual(loads(covered), ['november Loaded']);
  assert.equal(decisions(covered)['october'], 'LivePatch ReplacedByNewer');
  assert.deepEqual(loads(planWith([active('october')], beside, aPatch('november', { cves: [NEXT] }))), ['november Loaded', 'october Loaded']);
});

test('a newer one that stands beside is loaded behind the cumulative one', () => {
  assert.deepEqual(loads(planWith([], november, aPatch('december', { livePatch: { replace: false } }))), ['november Loaded', 'december Loaded']);
});

test('several that stand beside each other are loaded oldest first', () => {
  const beside = ['november', 'october', 'december'].map((name) => aPatch(name, { livePatch: { replace: false } }));
  const view = aView({ nodes: [aNode('n1')], nodeKernels: [aNodeKernel('n1')], policies: [aPolicy()], kernelPatches: beside.map(aKernelPatch) });
  const plan = aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy(), view.kernelPatches);
  assert.deepEqual(loads(plan), ['october Loaded', 'november Loaded', 'december Loaded']);
});

function decideWith(reports: readonly LivePatchReport[], ...patches: readonly KernelPatchFields[]) {
  const nodeKernels = [aNodeKernel('n1', { status: aReport({ livePatches: [...reports] }) })];
  return decide(aView({ nodes: [aNode('n1')], nodeKernels, policies: [aPolicy()], kernelPatches: patches.map(aKernelPatch) }));
}

function closedWith(...reports: readonly LivePatchReport[]): readonly string[] {
  return decideWith(reports, october, november).kernelPatches.map(({ object, status }) => `${object.metadata.name} ${status.closed}`);
}

test('an older one counts as closed until the newer one has taken its place', () => {
  assert.deepEqual(closedWith(), ['october 0/1', 'november 0/1']);
  assert.deepEqual(closedWith(active('october', { reason: 'NotWanted' })), ['october 1/1', 'november 0/1']);
  assert.deepEqual(closedWith(active('november')), ['october 1/1', 'november 1/1']);
});

// Those of others.

test('a cumulative live patch is Blocked where somebody else has one, which is named, and takes no slot', () => {
  const plan = planWith([foreign()], november);
  assert.deepEqual([loads(plan), decisions(plan)], [[], { november: 'Blocked WouldReplaceForeign' }]);
  assert.match(plan.patches[0]?.message ?? '', /would disable vendor_fix, which somebody else loaded/);
  assert.deepEqual(decideWith([foreign()], november).policies[0]?.status.slots, []);
});

test('one that stands beside is not, nor one that the kernel was asked for before', () => {
  assert.deepEqual(loads(planWith([foreign()], aPatch('november', { livePatch: { replace: false } }))), ['november Loaded']);
  for (const state of ['Active', 'Transitioning', 'Loading', 'Unloading', 'Failed', 'Quarantined', 'Unknown'] as const) assert.deepEqual(loads(planWith([foreign(), active('november', { state })], november)), ['november Loaded'], state);
  assert.deepEqual(loads(planWith([foreign(), active('november', { state: 'Refused' })], november)), []);
});

test('what has the name of a wanted module may be just that, so it stands in nobody’s way', () => {
  assert.deepEqual(loads(planWith([foreign({ name: 'november' })], november)), ['november Loaded']);
});

test('what is not in the kernel, or on its way out, stands in nobody’s way', () => {
  for (const state of ['Installed', 'Unloading', 'Transitioning'] as const) assert.deepEqual(loads(planWith([foreign({ state })], november)), ['november Loaded'], state);
  assert.deepEqual(loads(planWith([foreign({ state: 'Unknown' })], november)), []);
});

test('an older one that was there before stays when the newer one can not be loaded over somebody else’s', () => {
  const plan = planWith([active('october'), foreign()], october, november);
  assert.deepEqual(loads(plan), ['october Loaded']);
  assert.deepEqual(decisions(plan), { october: 'LivePatch LivePatchAvailable', november: 'Blocked WouldReplaceForeign' });
});
