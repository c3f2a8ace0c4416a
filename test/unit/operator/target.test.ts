/** Into which kernel a node is to boot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KernelPatch } from '../../../crds/kernelpatch.ts';
import type { NodeKernelStatus } from '../../../crds/nodekernel.ts';
import { isAskedFor } from '../../../operator/target.ts';
import type { Target } from '../../../operator/target.ts';
import { FIXED_RELEASE, OTHER_RELEASE, RELEASE, aKernelPatch, aLivePatch, aLivePatchReport, aNode, aNodeKernel, aPlan, aPolicy, aReport, anOrder, startsNext } from './builders.ts';

const BUILD_ID = '9c1f'.repeat(10);
const affected = (rebootInto: string) => ({ release: RELEASE, state: 'Affected', rebootInto });
const fixed = (release: string) => ({ release, state: 'Fixed' });

/** Asks for a kernel, and lists it as fixed. */
const asking = (name: string, into: string, more: readonly object[] = []) => aKernelPatch({ name, kernels: [affected(into), fixed(into), ...more] });
/** Closed here by its live patch, once that is active. */
const live = (more: readonly object[] = []) => aKernelPatch({ name: 'live', kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch() }, ...more] });
const ACTIVE: Partial<NodeKernelStatus> = { active: 'livepatch_a', livePatches: [aLivePatchReport()] };

const all = [RELEASE, FIXED_RELEASE, OTHER_RELEASE];

function plan(kernelPatches: readonly KernelPatch[], report: Parameters<typeof aReport>[0] = {}, policy: object = {}) {
  return aPlan(aNode('n1'), aNodeKernel('n1', { status: aReport({ installedKernels: all, ...report }) }), aPolicy({ maxDisruption: 'Kexec', ...policy }), kernelPatches);
}

interface Case {
  readonly patches: readonly KernelPatch[];
  readonly report?: Parameters<typeof aReport>[0];
  readonly policy?: object;
  readonly into?: string;
  /** By KernelPatch. */
  readonly blocked?: Readonly<Record<string, string>>;
}

const cases: Readonly<Record<string, Case>> = {
  'the kernel that the KernelPatch names is the target': { patches: [asking('a', FIXED_RELEASE)], into: FIXED_RELEASE },
  'it need not be listed: that it is named says that it is fixed': { patches: [aKernelPatch({ kernels: [affected(FIXED_RELEASE)] })], into: FIXED_RELEASE },
  'in mode Plan there is none': { patches: [asking('a', FIXED_RELEASE)], policy: { mode: 'Plan' } },
  'what is closed needs none': { patches: [aKernelPatch({ kernels: [fixed(RELEASE)] })] },
  'what a live patch closes needs none': { patches: [live()] },

  'a kernel without the fix that the running one has is none': { patches: [asking('a', FIXED_RELEASE), aKernelPatch({ name: 'b', kernels: [fixed(RELEASE), { release: FIXED_RELEASE, state: 'Affected' }] })], blocked: { a: 'WouldRegress' } },
  'nor is one of which that is not known': { patches: [asking('a', FIXED_RELEASE), aKernelPatch({ name: 'b', kernels: [fixed(RELEASE)] })], blocked: { a: 'WouldRegress' } },
  'nor one that is under investigation': { patches: [asking('a', FIXED_RELEASE), aKernelPatch({ name: 'b', kernels: [fixed(RELEASE), { release: FIXED_RELEASE, state: 'UnderInvestigation' }] })], blocked: { a: 'WouldRegress' } },
  'nor one that a vulnerability concerns that does not concern the running one': { patches: [asking('a', FIXED_RELEASE), aKernelPatch({ name: 'b', kernels: [{ release: RELEASE, state: 'NotAffected' }] })], blocked: { a: 'WouldRegress' } },
  'one that is not affected is as good as fixed': { patches: [asking('a', FIXED_RELEASE), aKernelPatch({ name: 'b', kernels: [fixed(RELEASE), { release: FIXED_RELEASE, state: 'NotAffected' }] })], into: FIXED_RELEASE },
  'nor one without the fix of a live patch that is active now': { patches: [asking('a', FIXED_RELEASE), live()], report: ACTIVE, blocked: { a: 'WouldRegress' } },
  'one that has that fix is': { patches: [asking('a', FIXED_RELEASE), live([fixed(FIXED_RELEASE)])], report: ACTIVE, into: FIXED_RELEASE },
  'a live patch that is not active yet is nothing to lose': { patches: [asking('a', FIXED_RELEASE), live()], into: FIXED_RELEASE },
  'one of somebody else of the same name is not the fix': { patches: [asking('a', FIXED_RELEASE), live()], report: { livePatches: [aLivePatchReport({ origin: 'Foreign' })] }, into: FIXED_RELEASE },
  'what an older live patch closes until a newer one replaces it is closed': {
    patches: [
      aKernelPatch({ name: 'old', created: '2026-11-24T09:00:00Z', cves: ['CVE-2026-1000'], kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch() }] }),
      aKernelPatch({ name: 'new', cves: ['CVE-2026-1000', 'CVE-2026-2000'], kernels: [{ release: RELEASE, state: 'Affected', livePatch: aLivePatch({ name: 'livepatch_b', sha256: 'b'.repeat(64) }) }] }),
      asking('a', FIXED_RELEASE),
    ],
    report: ACTIVE,
    blocked: { a: 'WouldRegress' },
  },

  'a kernel that the KernelPatch itself calls affected is none': { patches: [aKernelPatch({ name: 'a', kernels: [affected(FIXED_RELEASE), { release: FIXED_RELEASE, state: 'Affected' }] })], blocked: { a: 'TargetNotFixed' } },
  'nor one that the pattern of the running one is about too, or the node would boot into it for ever': { patches: [aKernelPatch({ name: 'a', kernels: [{ releasePattern: '6.12.*', state: 'Affected', rebootInto: FIXED_RELEASE }] })], blocked: { a: 'TargetNotFixed' } },
  'it is, when it is listed beside the pattern': { patches: [aKernelPatch({ kernels: [{ releasePattern: '6.12.*', state: 'Affected', rebootInto: FIXED_RELEASE }, fixed(FIXED_RELEASE)] })], into: FIXED_RELEASE },

  'of two kernels the one that closes more is taken': { patches: [asking('a', FIXED_RELEASE), asking('b', OTHER_RELEASE, [fixed(FIXED_RELEASE)])], into: FIXED_RELEASE },
  'also when it is the second': { patches: [asking('a', FIXED_RELEASE, [fixed(OTHER_RELEASE)]), asking('b', OTHER_RELEASE)], into: OTHER_RELEASE },
  'of two that close as many the first': { patches: [asking('a', OTHER_RELEASE), asking('b', FIXED_RELEASE)], into: OTHER_RELEASE },
  'one that would open the node to something does not count': { patches: [asking('a', OTHER_RELEASE), asking('b', FIXED_RELEASE), aKernelPatch({ name: 'c', kernels: [fixed(RELEASE), fixed(FIXED_RELEASE)] })], into: FIXED_RELEASE, blocked: { a: 'WouldRegress' } },
};
for (const [sentence, { patches, report, policy, into, blocked = {} }] of Object.entries(cases)) {
  test(sentence, () => {
    const { target, patches: decided } = plan(patches, report, policy);
    assert.equal(target?.release, into);
    const found = decided.filter(({ action }) => action === 'Blocked').map(({ kernelPatch, reason }) => [kernelPatch.metadata.name, reason] as const);
    assert.deepEqual(Object.fromEntries(found), blocked);
  });
}

test('two KernelPatches never send a node to and fro between their kernels', () => {
  const patches = [asking('a', FIXED_RELEASE, [{ release: OTHER_RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }]), asking('b', OTHER_RELEASE, [{ release: FIXED_RELEASE, state: 'Affected', rebootInto: OTHER_RELEASE }])];
  assert.equal(plan(patches).target?.release, FIXED_RELEASE);
  const there = plan(patches, { kernel: { release: FIXED_RELEASE } });
  assert.deepEqual([there.target, there.patches[0]?.reason], [undefined, 'WouldRegress']);
});

test('the loss is named, with what to do', () => {
  const { patches } = plan([asking('a', FIXED_RELEASE), aKernelPatch({ name: 'b', kernels: [fixed(RELEASE)] })]);
  assert.match(patches[0]?.message ?? '', /^kernel 6\.12\.117\S+ is not known to have the fixes of KernelPatch b, which this node has now: list it there as Fixed/);
});

test('a target has its build id, its method and the word of its KernelPatch', () => {
  const patch = aKernelPatch({ kernels: [affected(FIXED_RELEASE), { ...fixed(FIXED_RELEASE), buildID: BUILD_ID }], retryReboot: 'ticket-1' });
  const expected: Target = { kernelPatch: 'fix-a', method: 'Kexec', release: FIXED_RELEASE, buildID: BUILD_ID, retry: 'ticket-1' };
  assert.deepEqual(plan([patch]).target, expected);
  const firmware = plan([patch], { kernel: { kexec: 'Unavailable' }, nextBoot: startsNext(FIXED_RELEASE) }, { maxDisruption: 'Reboot' });
  assert.deepEqual(firmware.target, { ...expected, method: 'Firmware' });
});

const there = aReport({ kernel: { release: FIXED_RELEASE } }).kernel;
const standing: readonly (readonly [sentence: string, asked: boolean, patches: readonly KernelPatch[], report?: Parameters<typeof aReport>[0]])[] = [
  ['is asked for while its KernelPatch asks for its kernel', true, [asking('fix-a', FIXED_RELEASE)]],
  ['is asked for although the policy does not allow it any more', true, [asking('fix-a', FIXED_RELEASE)], { kernel: { kexec: 'Unavailable' } }],
  ['is asked for while a fact is missing for a moment', true, [aKernelPatch({ kernels: [{ ...affected(FIXED_RELEASE), buildID: BUILD_ID }] })]],
  ['is asked for while another KernelPatch names its kernel', true, [asking('b', FIXED_RELEASE)]],
  ['is not asked for when its KernelPatch is gone', false, [asking('b', OTHER_RELEASE)]],
  ['is not asked for when its KernelPatch names another kernel', false, [asking('fix-a', OTHER_RELEASE)]],
  ['is not asked for when a live patch came out', false, [aKernelPatch({ kernels: [{ ...affected(FIXED_RELEASE), livePatch: aLivePatch() }] })]],
  ['is not asked for where its kernel runs', false, [aKernelPatch({ kernels: [affected(FIXED_RELEASE)] })], { kernel: there }],
];
for (const [sentence, asked, patches, report = {}] of standing) {
  test(`an order ${sentence}`, () => assert.equal(isAskedFor(anOrder(), plan(patches, report).patches, aReport(report).kernel), asked));
}

test('an order for another build of the kernel that runs is asked for', () => {
  const { patches } = plan([aKernelPatch({ kernels: [affected(FIXED_RELEASE), { ...fixed(FIXED_RELEASE), buildID: BUILD_ID }] })], { kernel: { release: FIXED_RELEASE, buildID: 'ab'.repeat(10) } });
  assert.equal(isAskedFor(anOrder({ buildID: BUILD_ID }), patches, { ...there, buildID: 'ab'.repeat(10) }), true);
});
