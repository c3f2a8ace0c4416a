import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseModule } from '../../../kernel/elf.ts';
import type { Claims } from '../../../trust/claims.ts';
import { labelsOf, refuseContent, refuseOrder, refuseRunning } from '../../../trust/compare.ts';
import type { ClaimedOrder, RunningKernel } from '../../../trust/compare.ts';
import type { TrustRefusal, TrustRefusalReason } from '../../../trust/refusal.ts';
import { KERNEL_BUILD_ID } from '../../simulated/facts.ts';
import { RELEASE, aModule } from '../../simulated/module.ts';
import { PATCHED, someClaims } from '../../simulated/signed.ts';

const order: ClaimedOrder = { name: 'livepatch_fix', release: RELEASE, replace: true, reversible: true, cves: ['CVE-2026-31431'] };
const running: RunningKernel = { release: RELEASE, buildID: KERNEL_BUILD_ID };
const module = (options: Parameters<typeof aModule>[0] = {}) => parseModule(aModule({ patches: [PATCHED], ...options }));

interface Case {
  readonly reason: TrustRefusalReason | undefined;
  readonly refusal: TrustRefusal | undefined;
  /** Values that the message names. */
  readonly names?: readonly string[];
}

const ordered = (changes: Partial<ClaimedOrder>, claims: Partial<Claims> = {}) => refuseOrder({ ...order, ...changes }, someClaims(claims));
const on = (changes: Partial<RunningKernel>, kernel: Claims['kernel'] = { release: RELEASE, buildID: KERNEL_BUILD_ID }) => refuseRunning({ ...running, ...changes }, someClaims({ kernel }));
const holding = (options: Parameters<typeof aModule>[0], claims: Partial<Claims> = {}) => refuseContent(module(options), someClaims(claims));

const OTHER = 'b2'.repeat(20);
const ELSE = { object: 'ext4', name: 'do_it', position: 2 } as const;

const CASES: Readonly<Record<string, Case>> = {
  'what the KernelPatch and the claims say alike': { reason: undefined, refusal: ordered({}) },
  'a KernelPatch that says less of what it closes': { reason: undefined, refusal: ordered({}, { cves: ['CVE-2026-31431', 'CVE-2026-40000'] }) },
  'an intent that does not say what it closes': { reason: undefined, refusal: ordered({ cves: undefined }) },
  'another name': { reason: 'ClaimedNameMismatch', refusal: ordered({ name: 'another' }), names: ['another', 'livepatch_fix'] },
  'a KernelPatch for another kernel': { reason: 'ClaimedKernelMismatch', refusal: ordered({ release: '6.1.0-9-amd64' }), names: ['6.1.0-9-amd64', RELEASE] },
  'a KernelPatch that says it replaces nothing': { reason: 'ClaimedReplaceMismatch', refusal: ordered({ replace: false }), names: ['replace: true', 'says false'] },
  'a KernelPatch that says it can be disabled': { reason: 'ClaimedReversibleMismatch', refusal: ordered({}, { reversible: false }), names: ['reversible: false', 'says true'] },
  'a CVE that its signer does not claim': { reason: 'ClaimedCVEsMismatch', refusal: ordered({ cves: ['CVE-2026-31431', 'CVE-2026-40000'] }), names: ['CVE-2026-40000'] },
  'the kernel and the build that it is signed for': { reason: undefined, refusal: on({}) },
  'any build, where it is signed for a release': { reason: undefined, refusal: on({ buildID: 'unknown' }, { release: RELEASE }) },
  'a node with another kernel': { reason: 'ClaimedKernelMismatch', refusal: on({ release: '6.1.0-9-amd64' }), names: ['6.1.0-9-amd64', RELEASE] },
  'a node with another build of the kernel': { reason: 'ClaimedKernelMismatch', refusal: on({ buildID: OTHER }), names: [OTHER, KERNEL_BUILD_ID] },
  'a node whose build is not known': { reason: 'ClaimedKernelMismatch', refusal: on({ buildID: 'unknown' }), names: ['unknown', KERNEL_BUILD_ID] },
  'the module that was signed': { reason: undefined, refusal: holding({}) },
  'a module that lists its functions in no known form': { reason: undefined, refusal: refuseContent(parseModule(aModule()), someClaims()) },
  'a module of another name': { reason: 'ClaimedNameMismatch', refusal: holding({ name: 'another' }), names: ['another', 'livepatch_fix'] },
  'a module for another kernel': { reason: 'ClaimedKernelMismatch', refusal: holding({ release: '6.1.0-9-amd64' }), names: ['6.1.0-9-amd64'] },
  'another build of the module': { reason: 'ClaimedBuildIDMismatch', refusal: holding({ buildID: OTHER }), names: [OTHER] },
  'a module without a build id': { reason: 'ClaimedBuildIDMismatch', refusal: holding({ buildID: null }), names: ['without a build id'] },
  'a module that replaces nothing although it is signed to': { reason: 'ClaimedReplaceMismatch', refusal: holding({ replace: false }), names: ['replace: false'] },
  'a module that patches more than was signed': { reason: 'ClaimedFunctionsMismatch', refusal: holding({ patches: [PATCHED, ELSE] }), names: ['ext4:do_it,2'] },
  'a module that patches less than was signed': { reason: 'ClaimedFunctionsMismatch', refusal: holding({}, { functions: ['vmlinux:version_proc_show', 'ext4:do_it,2'] }), names: ['ext4:do_it,2'] },
  'a module that patches the same function at another position': { reason: 'ClaimedFunctionsMismatch', refusal: holding({ patches: [{ ...PATCHED, position: 2 }] }), names: ['vmlinux:version_proc_show,2'] },
};

for (const [what, { reason, refusal, names = [] }] of Object.entries(CASES)) {
  test(`${what}: ${reason ?? 'not refused'}`, () => {
    assert.equal(refusal?.reason, reason);
    for (const name of names) assert.ok(refusal?.message.includes(name), `${refusal?.message} names ${name}`);
  });
}

test('functions are named as in sysfs, each once and in one order', () => {
  const functions = [['b', 0], ['a', 2], ['b', 1]] as const;
  assert.deepEqual(labelsOf(functions.map(([name, position]) => ({ object: 'vmlinux', name, position }))), ['vmlinux:a,2', 'vmlinux:b']);
});

test('a message names the first few of many', () => {
  const cves = Array.from({ length: 9 }, (_, index) => `CVE-2026-4000${index}`);
  assert.match(ordered({ cves })?.message ?? '', /CVE-2026-40004 and 4 more/);
});
