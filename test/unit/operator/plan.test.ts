import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describePlan } from '../../../operator/plan.ts';
import { aKernelPatch, aLivePatch, aNode, aNodeKernel, aPlan, aPolicy, aReport, aWanted, FIXED_RELEASE, RELEASE, startsNext } from './builders.ts';
import type { KernelPatchFields } from './builders.ts';

const BUILD_ID = '9c1f'.repeat(10);
const OTHER_BUILD_ID = '00aa'.repeat(10);
const affected = { release: RELEASE, state: 'Affected' };
const withLivePatch = { ...affected, livePatch: aLivePatch() };
const intoFixed = { ...affected, rebootInto: FIXED_RELEASE };
/** And the boot loader starts it next. */
const fixedInstalled = { installedKernels: [RELEASE, FIXED_RELEASE], nextBoot: startsNext(FIXED_RELEASE) };
const fixedNotDefault = { ...fixedInstalled, nextBoot: startsNext(RELEASE) };
const fixedMaybeDefault = { ...fixedInstalled, nextBoot: startsNext('unknown') };
const noKexec = { kernel: { kexec: 'Unavailable' } } as const;
const other = '6.12.120+deb13-cloud-amd64';
const unbootable = (reason: string) => ({ ...fixedInstalled, unbootableKernels: [{ release: FIXED_RELEASE, reason, message: `${reason} in words` }] });

interface Case {
  readonly patch?: KernelPatchFields;
  readonly policy?: object;
  readonly report?: Parameters<typeof aReport>[0] | 'none';
  readonly node?: Parameters<typeof aNode>[1];
  readonly action: string;
  readonly reason: string;
  readonly says?: RegExp;
}

const cases: Readonly<Record<string, Case>> = {
  'a kernel that is not listed is Unknown': { patch: { kernels: [{ release: '6.1.0', state: 'Fixed' }] }, action: 'Unknown', reason: 'KernelNotListed', says: /6\.12\.107.*not listed/ },
  'a kernel listed as fixed is None': { patch: { kernels: [{ release: RELEASE, state: 'Fixed' }] }, action: 'None', reason: 'KernelFixed' },
  'a kernel listed as not affected is None': { patch: { kernels: [{ release: RELEASE, state: 'NotAffected' }] }, action: 'None', reason: 'KernelNotAffected' },
  'a kernel under investigation is Unknown': { patch: { kernels: [{ release: RELEASE, state: 'UnderInvestigation' }] }, action: 'Unknown', reason: 'UnderInvestigation' },
  'an affected kernel with a live patch is LivePatch': { action: 'LivePatch', reason: 'LivePatchAvailable' },
  'the first pattern that fits is asked when no exact release is listed': {
    patch: { kernels: [{ releasePattern: '6.*-cloud-arm64', state: 'Fixed' }, { releasePattern: '6.12.*-cloud-amd64', state: 'NotAffected' }, { releasePattern: '6.*', state: 'Fixed' }] },
    action: 'None', reason: 'KernelNotAffected',
  },
  'an exact release wins over a pattern before it': { patch: { kernels: [{ releasePattern: '6.*', state: 'Fixed' }, withLivePatch] }, action: 'LivePatch', reason: 'LivePatchAvailable' },
  'the parts of a pattern may not overlap in the release': { patch: { kernels: [{ releasePattern: `${RELEASE}*amd64`, state: 'Fixed' }] }, action: 'Unknown', reason: 'KernelNotListed' },

  'a build id that fits counts as the kernel': { patch: { kernels: [{ ...withLivePatch, buildID: BUILD_ID }] }, report: { kernel: { buildID: BUILD_ID } }, action: 'LivePatch', reason: 'LivePatchAvailable' },
  'another build id is another kernel, whatever a pattern says': {
    patch: { kernels: [{ ...withLivePatch, buildID: BUILD_ID }, { releasePattern: '6.*', state: 'Fixed' }] },
    report: { kernel: { buildID: OTHER_BUILD_ID } }, action: 'Unknown', reason: 'BuildIDMismatch', says: new RegExp(`${OTHER_BUILD_ID}.*${BUILD_ID}`),
  },
  'a build id that the node can not tell is Unknown': { patch: { kernels: [{ ...withLivePatch, buildID: BUILD_ID }] }, action: 'Unknown', reason: 'BuildIDUnknown' },
  'of two builds of one release the one that runs is meant': {
    patch: { kernels: [{ ...withLivePatch, buildID: BUILD_ID }, { release: RELEASE, buildID: OTHER_BUILD_ID, state: 'Fixed' }] },
    report: { kernel: { buildID: OTHER_BUILD_ID } }, action: 'None', reason: 'KernelFixed',
  },

  'nothing is decided before the agent has reported': { report: 'none', action: 'Unknown', reason: 'NotReported', says: /kubelet says it runs kernel 6\.12\.107/ },
  'nothing is decided on a report of an earlier boot': { node: { bootID: 'boot-2' }, action: 'Unknown', reason: 'ReportOfOtherBoot' },
  'a kubelet that tells no boot id does not doubt the report': { node: { bootID: '' }, action: 'LivePatch', reason: 'LivePatchAvailable' },

  'no live patch and no other kernel is Blocked': { patch: { kernels: [affected] }, action: 'Blocked', reason: 'NoLivePatch' },
  'without a live patch the installed fixed kernel is a Kexec': { patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: fixedInstalled, action: 'Kexec', reason: 'KexecAvailable' },
  'a live patch goes before a kexec that is allowed': { patch: { kernels: [{ ...withLivePatch, rebootInto: FIXED_RELEASE }] }, policy: { maxDisruption: 'Reboot' }, report: fixedInstalled, action: 'LivePatch', reason: 'LivePatchAvailable' },
  'a kexec goes before a reboot that is allowed': { patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Reboot' }, report: fixedInstalled, action: 'Kexec', reason: 'KexecAvailable' },
  'where kexec is not possible it is a Reboot': { patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Reboot' }, report: { ...fixedInstalled, kernel: { kexec: 'Unavailable' } }, action: 'Reboot', reason: 'RebootNeeded' },
  'where kexec is allowed and not possible, a reboot is not taken instead': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: { ...fixedInstalled, kernel: { kexec: 'Unavailable' } }, action: 'Blocked', reason: 'KexecUnavailable', says: /maxDisruption: Reboot/,
  },
  'a reboot is not hidden behind a kexec that nobody knows about': { patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Reboot' }, report: { ...fixedInstalled, kernel: { kexec: 'Unknown' } }, action: 'Unknown', reason: 'KexecUnknown' },
  'a fixed kernel that is not installed is Blocked': { patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Reboot' }, action: 'Blocked', reason: 'TargetKernelNotInstalled', says: /6\.12\.117.*install it/ },
  'a kexec is taken whatever the boot loader starts next, and says what that would undo': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: fixedNotDefault, action: 'Kexec', reason: 'KexecAvailable',
    says: /fixes it; the next boot by firmware starts 6\.12\.107\S*, which does not have the fix: make 6\.12\.117\S* the default/,
  },
  'nothing is undone where the policy has the default set after the kexec': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec', reboot: { setDefault: true } }, report: fixedNotDefault, action: 'Kexec', reason: 'KexecAvailable', says: /fixes it$/,
  },
  'where that can not be set it says what to write': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec', reboot: { setDefault: true } }, report: { ...fixedNotDefault, nextBoot: { ...startsNext(RELEASE), unsettable: { reason: 'DefaultNotSaved', message: 'set GRUB_DEFAULT=saved' } } },
    action: 'Kexec', reason: 'KexecAvailable', says: /which does not have the fix: make 6\.12\.117\S* the default of the boot loader there \(set GRUB_DEFAULT=saved\)$/,
  },
  'a kernel that nobody lists is not called fixed': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: { ...fixedInstalled, nextBoot: startsNext(other) }, action: 'Kexec', reason: 'KexecAvailable', says: /starts 6\.12\.120\S*, which is not listed as having the fix/,
  },
  'a newer kernel that has the fix too undoes nothing': {
    patch: { kernels: [intoFixed, { release: other, state: 'Fixed' }] }, policy: { maxDisruption: 'Kexec' }, report: { ...fixedInstalled, nextBoot: startsNext(other) }, action: 'Kexec', reason: 'KexecAvailable', says: /fixes it$/,
  },
  'a boot loader that can not be read is said beside a kexec': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: fixedMaybeDefault, action: 'Kexec', reason: 'KexecAvailable', says: /fixes it; which kernel the next boot by firmware starts is not known: line 7/,
  },
  'a fixed kernel says when the next boot by firmware would leave it': {
    patch: { kernels: [{ release: RELEASE, state: 'Fixed' }, { release: '6.12.100', state: 'Affected' }] }, report: { nextBoot: startsNext('6.12.100') }, action: 'None', reason: 'KernelFixed', says: /has the fix; the next boot by firmware starts 6\.12\.100, which does not have the fix: make 6\.12\.107/,
  },
  'a fixed kernel does not speak of a boot loader that can not be read': { patch: { kernels: [{ release: RELEASE, state: 'Fixed' }] }, report: { nextBoot: startsNext('unknown') }, action: 'None', reason: 'KernelFixed', says: /has the fix$/ },
  'a reboot needs the fixed kernel to be what the boot loader starts next': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Reboot' }, report: { ...fixedNotDefault, ...noKexec }, action: 'Blocked', reason: 'BootLoaderStartsOtherKernel',
    says: /no live patch.*; kexec into .* is not possible.*; the next boot by firmware starts 6\.12\.107\S* \(\/boot\/grub\/grub\.cfg\), not the fixed kernel 6\.12\.117\S*: make 6\.12\.117\S* the default of the boot loader there, or set spec\.reboot\.setDefault: true in PatchPolicy workers$/,
  },
  'where the policy would not allow that reboot, it says both': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: { ...fixedNotDefault, ...noKexec }, action: 'Blocked', reason: 'BootLoaderStartsOtherKernel', says: /the default of the boot loader there, or .*; PatchPolicy workers allows at most Kexec: set spec\.maxDisruption: Reboot there too$/,
  },
  'a reboot where nobody knows what the boot loader starts is Unknown': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Reboot' }, report: { ...fixedMaybeDefault, ...noKexec }, action: 'Unknown', reason: 'NextBootUnknown', says: /is not known: line 7/,
  },
  'an agent that does not report the next boot leaves it Unknown': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Reboot' }, report: { ...fixedInstalled, nextBoot: undefined, ...noKexec }, action: 'Unknown', reason: 'NextBootUnknown', says: /has not reported it/,
  },
  'a missing fact about a reboot that is not allowed leaves it Blocked': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: { ...fixedMaybeDefault, ...noKexec }, action: 'Blocked', reason: 'KexecUnavailable', says: /is not known: line 7.*maxDisruption: Reboot/,
  },
  'a missing fact about a kexec that is not allowed leaves it Blocked': {
    patch: { kernels: [intoFixed] }, report: { ...fixedInstalled, kernel: { kexec: 'Unknown' } }, action: 'Blocked', reason: 'DisruptionNotAllowed', says: /could not be read.*maxDisruption: Kexec/,
  },
  'a fixed kernel whose image is cut short is not booted': { patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Reboot' }, report: unbootable('ImageTruncated'), action: 'Blocked', reason: 'TargetImageTruncated', says: /6\.12\.117\S* would not boot: ImageTruncated in words$/ },
  'a fixed kernel without an initrd is not booted': { patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: unbootable('InitrdMissing'), action: 'Blocked', reason: 'TargetInitrdMissing' },
  'another kernel that would not boot is in nobody\'s way': {
    patch: { kernels: [intoFixed] }, policy: { maxDisruption: 'Kexec' }, report: { ...fixedInstalled, unbootableKernels: [{ release: other, reason: 'InitrdMissing', message: '' }] }, action: 'Kexec', reason: 'KexecAvailable',
  },
  'more disruption than the policy allows is Blocked and says what to allow': { patch: { kernels: [intoFixed] }, report: fixedInstalled, action: 'Blocked', reason: 'DisruptionNotAllowed', says: /PatchPolicy workers .*maxDisruption: Kexec/ },
  'a policy that allows None gets no live patch': { policy: { maxDisruption: 'None' }, action: 'Blocked', reason: 'DisruptionNotAllowed', says: /maxDisruption: LivePatch/ },
  'a kernel without live patching goes the next way': {
    patch: { kernels: [{ ...withLivePatch, rebootInto: FIXED_RELEASE }] }, policy: { maxDisruption: 'Kexec' }, report: { ...fixedInstalled, kernel: { livePatching: 'Unavailable' } }, action: 'Kexec', reason: 'KexecAvailable',
  },
  'a kernel without live patching and without another kernel is Blocked': { report: { kernel: { livePatching: 'Unavailable' } }, action: 'Blocked', reason: 'LivePatchingUnavailable' },
  'a missing fact about live patching leads to no kexec': {
    patch: { kernels: [{ ...withLivePatch, rebootInto: FIXED_RELEASE }] }, policy: { maxDisruption: 'Kexec' }, report: { ...fixedInstalled, kernel: { livePatching: 'Unknown' } }, action: 'Unknown', reason: 'LivePatchingUnknown',
  },
  'under lockdown the kernel judges the signature, not the plan': { report: { kernel: { lockdown: 'integrity' } }, action: 'LivePatch', reason: 'LivePatchAvailable' },
  'a withdrawn live patch fixes nothing': { patch: { withdrawn: true }, action: 'Blocked', reason: 'Withdrawn' },
  'a withdrawn live patch leaves the next way': { patch: { withdrawn: true, kernels: [{ ...withLivePatch, rebootInto: FIXED_RELEASE }] }, policy: { maxDisruption: 'Kexec' }, report: fixedInstalled, action: 'Kexec', reason: 'KexecAvailable' },
};

for (const [sentence, { patch, policy, report, node, action, reason, says }] of Object.entries(cases)) {
  test(sentence, () => {
    const status = report === 'none' ? 'none' : aReport(report);
    const plan = describePlan(aPlan(aNode('n1', node), aNodeKernel('n1', { status }), aPolicy(policy), [aKernelPatch(patch)]));
    assert.deepEqual({ action: plan.action, reason: plan.reason }, { action, reason }, plan.message);
    assert.match(plan.message, says ?? /./);
  });
}

function wantedOf(patches: readonly KernelPatchFields[], policy: object = {}) {
  return aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy(policy), patches.map(aKernelPatch)).wanted;
}

test('the wanted live patch carries everything the agent needs', () => {
  assert.deepEqual(wantedOf([{ kernels: [{ ...withLivePatch, buildID: undefined }] }]), [aWanted()]);
});

test('a live patch from a registry is wanted by its digest, and kept where its digest says', () => {
  const image = `registry.example/livepatches/fix@sha256:${'b2'.repeat(32)}`;
  const livePatch = aLivePatch({ source: { image, path: '6.12.107.ko' } });
  const [wanted] = wantedOf([{ kernels: [{ ...withLivePatch, buildID: undefined, livePatch }] }]);
  assert.deepEqual(wanted, aWanted({ hostPath: `/var/lib/misc/kernelpatch.fetched/${wanted?.sha256}.ko`, image, path: '6.12.107.ko' }));
});

test('in mode Plan nothing is wanted and the plan is the same', () => {
  const apply = aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy(), [aKernelPatch()]);
  const plan = aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy({ mode: 'Plan' }), [aKernelPatch()]);
  assert.deepEqual(plan.wanted, []);
  assert.equal(describePlan(plan).action, describePlan(apply).action);
  assert.equal(describePlan(plan).mode, 'Plan');
});

test('after a boot, what was published stays wanted until the agent reports, but for what was taken back meanwhile', () => {
  const booted = aNode('n1', { bootID: 'boot-2' });
  const published = [aWanted({ name: 'gone', kernelPatch: 'gone' }), aWanted({ name: 'bad', kernelPatch: 'bad' }), aWanted()];
  const wantedAfterBoot = (policy: object) => aPlan(booted, aNodeKernel('n1', { spec: { livePatches: published } }), aPolicy(policy), [aKernelPatch(), aKernelPatch({ name: 'bad', withdrawn: true })]).wanted;
  assert.deepEqual(wantedAfterBoot({}), [aWanted()]);
  assert.deepEqual([wantedAfterBoot({ mode: 'Plan' }), wantedAfterBoot({ maxDisruption: 'None' })], [[], []]);
});

test('a withdrawn live patch is wanted absent, on every node whose kernel lists it', () => {
  assert.deepEqual(wantedOf([{ withdrawn: true }]), [aWanted({ desired: 'Absent' })]);
});

test('a withdrawn live patch that is not reversible is left where it is', () => {
  assert.deepEqual(wantedOf([{ withdrawn: true, kernels: [{ ...affected, livePatch: aLivePatch({ reversible: false }) }] }]), []);
});

test('a policy that allows None gets no unload either', () => {
  assert.deepEqual(wantedOf([{ withdrawn: true }], { maxDisruption: 'None' }), []);
});

test('what replaces all others comes first, then what is to go, then what stands beside', () => {
  const wanted = wantedOf([
    { name: 'beside', created: '2026-11-01T00:00:00Z', cves: ['CVE-2026-1000'], kernels: [{ ...affected, livePatch: aLivePatch({ name: 'beside', replace: false }) }] },
    { name: 'cumulative', created: '2026-11-02T00:00:00Z', kernels: [{ ...affected, livePatch: aLivePatch({ name: 'cumulative' }) }] },
    { name: 'bad', created: '2026-11-03T00:00:00Z', withdrawn: true, kernels: [{ ...affected, livePatch: aLivePatch({ name: 'bad' }) }] },
  ]);
  assert.deepEqual(wanted.map(({ name, desired }) => `${name} ${desired}`), ['cumulative Loaded', 'bad Absent', 'beside Loaded']);
});

test('the most pressing patch is the action of the node, and each patch has its line', () => {
  const plan = describePlan(
    aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy(), [
      aKernelPatch({ name: 'done', kernels: [{ release: RELEASE, state: 'Fixed' }] }),
      aKernelPatch({ name: 'loads' }),
      aKernelPatch({ name: 'stuck', kernels: [affected] }),
      aKernelPatch({ name: 'unlisted', kernels: [{ release: '5.10.0', state: 'Fixed' }] }),
    ]),
  );
  assert.equal(plan.action, 'Blocked');
  assert.deepEqual(plan.patches.map(({ kernelPatch, action }) => `${kernelPatch} ${action}`), ['stuck Blocked', 'unlisted Unknown', 'loads LivePatch', 'done None']);
});

test('the plan says for each patch what the agent needs to name its CVEs and the kernel that the node is as good as', () => {
  const [blocked, live, fixed] = describePlan(
    aPlan(aNode('n1'), aNodeKernel('n1', { status: aReport(fixedInstalled) }), aPolicy(), [
      aKernelPatch({ name: 'fixed', kernels: [{ release: RELEASE, state: 'Fixed' }] }),
      aKernelPatch({ name: 'live', cves: ['CVE-2026-9000', 'CVE-2026-1000'], kernels: [{ ...withLivePatch, rebootInto: FIXED_RELEASE }] }),
      aKernelPatch({ name: 'not-allowed', kernels: [intoFixed] }),
    ]),
  ).patches;
  const cves = ['CVE-2026-31431'];
  assert.deepEqual({ ...blocked, reason: '', message: '' }, { kernelPatch: 'not-allowed', action: 'Blocked', reason: '', message: '', cves, fixedIn: FIXED_RELEASE, needs: 'Kexec' });
  assert.deepEqual({ ...live, reason: '', message: '' }, { kernelPatch: 'live', action: 'LivePatch', reason: '', message: '', cves: ['CVE-2026-1000', 'CVE-2026-9000'], livePatch: 'livepatch_a', fixedIn: FIXED_RELEASE });
  assert.deepEqual({ ...fixed, reason: '', message: '' }, { kernelPatch: 'fixed', action: 'None', reason: '', message: '', cves });
});

test('a node without any patch is None and says why', () => {
  const plan = describePlan(aPlan(aNode('n1'), aNodeKernel('n1'), aPolicy(), []));
  assert.deepEqual([plan.action, plan.reason, plan.patches], ['None', 'NoKernelPatch', []]);
});
