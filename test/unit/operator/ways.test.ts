/** What becomes of a node that can not kexec. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Hardware, RebootOrder } from '../../../crds/nodekernel.ts';
import { kexecRefusalOf } from '../../../operator/refusal.ts';
import { FIXED_RELEASE, RELEASE, aKernelPatch, aNode, aNodeKernel, aPlan, aPolicy, aReport, anOrder, startsNext } from './builders.ts';

const REFUSED = anOrder({ phase: 'Refused', reason: 'KexecLoadDisabled' });
const FAILURE: Hardware = { vendor: 'acme', product: 'x1', firmware: '1.0', kexecFailure: { id: 'order-0', release: FIXED_RELEASE, at: '2026-11-24T11:00:00Z', message: 'it came back' } };

interface Given {
  readonly order?: RebootOrder;
  readonly maxDisruption?: 'Kexec' | 'Reboot';
  readonly onKexecFailure?: 'Firmware' | 'Block';
  readonly setDefault?: boolean;
  readonly next?: string;
  readonly kexec?: 'Available' | 'Unavailable';
  readonly hardware?: Hardware;
  readonly retryReboot?: string;
}

function decided({ order, maxDisruption = 'Reboot', onKexecFailure = 'Firmware', setDefault = false, next = FIXED_RELEASE, kexec = 'Available', hardware, retryReboot }: Given) {
  const kernelPatch = aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE }, { release: FIXED_RELEASE, state: 'Fixed' }], ...(retryReboot !== undefined && { retryReboot }) });
  const status = aReport({ installedKernels: [RELEASE, FIXED_RELEASE], nextBoot: startsNext(next), kernel: { kexec }, ...(hardware && { hardware }) });
  const { patches: [patch] } = aPlan(aNode('n1'), aNodeKernel('n1', { spec: { ...(order && { reboot: order }) }, status }), aPolicy({ maxDisruption, reboot: { onKexecFailure, setDefault } }), [kernelPatch]);
  return `${patch?.action} ${patch?.reason}`;
}

const matrix: readonly (readonly [maxDisruption: 'Kexec' | 'Reboot', onKexecFailure: 'Firmware' | 'Block', next: string, refused: string, unavailable: string])[] = [
  ['Reboot', 'Firmware', FIXED_RELEASE, 'Reboot KexecRefused', 'Reboot RebootNeeded'],
  ['Reboot', 'Firmware', RELEASE, 'Kexec KexecAvailable', 'Blocked BootLoaderStartsOtherKernel'],
  ['Reboot', 'Firmware', 'unknown', 'Kexec KexecAvailable', 'Unknown NextBootUnknown'],
  ['Reboot', 'Block', FIXED_RELEASE, 'Kexec KexecAvailable', 'Blocked KexecUnavailable'],
  ['Reboot', 'Block', RELEASE, 'Kexec KexecAvailable', 'Blocked BootLoaderStartsOtherKernel'],
  ['Kexec', 'Firmware', FIXED_RELEASE, 'Kexec KexecAvailable', 'Blocked KexecUnavailable'],
  ['Kexec', 'Firmware', RELEASE, 'Kexec KexecAvailable', 'Blocked BootLoaderStartsOtherKernel'],
  ['Kexec', 'Block', FIXED_RELEASE, 'Kexec KexecAvailable', 'Blocked KexecUnavailable'],
];
for (const [maxDisruption, onKexecFailure, next, refused, unavailable] of matrix) {
  test(`with maxDisruption ${maxDisruption}, onKexecFailure ${onKexecFailure} and ${next} as what the boot loader starts a refused kexec is ${refused}, one that is not possible ${unavailable}`, () => {
    assert.equal(decided({ order: REFUSED, maxDisruption, onKexecFailure, next }), refused);
    assert.equal(decided({ kexec: 'Unavailable', maxDisruption, onKexecFailure, next }), unavailable);
  });
}

const settings: readonly (readonly [sentence: string, given: Given, decision: string])[] = [
  ['a refused kexec gives way to a boot into what the boot loader is told to start', { order: REFUSED, next: RELEASE }, 'Reboot KexecRefused'],
  ['so does one that is not possible', { kexec: 'Unavailable', next: RELEASE }, 'Reboot RebootNeeded'],
  ['a boot loader of which nothing is known is told nothing', { kexec: 'Unavailable', next: 'unknown' }, 'Unknown NextBootUnknown'],
  ['the policy must allow that boot', { kexec: 'Unavailable', next: RELEASE, maxDisruption: 'Kexec' }, 'Blocked KexecUnavailable'],
  ['and want it', { kexec: 'Unavailable', next: RELEASE, onKexecFailure: 'Block' }, 'Blocked KexecUnavailable'],
];
for (const [sentence, given, decision] of settings) {
  test(`with setDefault ${sentence}`, () => assert.equal(decided({ ...given, setDefault: true }), decision));
}

const refusals: readonly (readonly [sentence: string, order: RebootOrder | undefined, refusal: string | undefined])[] = [
  ['a kexec that the kernel refuses gives way to the firmware', REFUSED, 'KexecLoadDisabled'],
  ['one for which memory is missing too', { ...REFUSED, reason: 'NotEnoughMemory' }, 'NotEnoughMemory'],
  ['an image that is damaged does not: the firmware would start the same', { ...REFUSED, reason: 'ImageRejected' }, undefined],
  ['one that is being written does not', { ...REFUSED, reason: 'ImageBusy' }, undefined],
  ['nor one that has no initrd', { ...REFUSED, reason: 'InitrdMissing' }, undefined],
  ['nor one that can not be read', { ...REFUSED, reason: 'BootUnreadable' }, undefined],
  ['nor a failure that nobody knows', { ...REFUSED, reason: 'StageFailed' }, undefined],
  ['nor an image of somebody else, which a shutdown may start', { ...REFUSED, reason: 'ImageOfOthers' }, undefined],
  ['an order that came too late was not refused', { ...REFUSED, reason: 'Expired' }, undefined],
  ['nor was one that the agent did not answer', { ...REFUSED, reason: 'StagingTimedOut' }, undefined],
  ['a shutdown that is refused would be so by the firmware', { ...REFUSED, reason: 'Inhibited' }, undefined],
  ['in the next boot kexec is tried again', { ...REFUSED, bootID: 'boot-0' }, undefined],
  ['the order by the firmware that came in its place remembers it', anOrder({ method: 'Firmware', phase: 'Draining', kexecRefused: 'KexecLoadDisabled' }), 'KexecLoadDisabled'],
  ['also when that is refused itself', anOrder({ method: 'Firmware', phase: 'Refused', reason: 'Inhibited', kexecRefused: 'KexecLoadDisabled' }), 'KexecLoadDisabled'],
  ['an order that stands refuses nothing', anOrder({ phase: 'Draining' }), undefined],
  ['nor does one that was put off', anOrder({ phase: 'Parked', reason: 'DrainParked' }), undefined],
  ['without an order nothing was refused', undefined, undefined],
];
for (const [sentence, order, refusal] of refusals) {
  test(sentence, () => {
    assert.equal(kexecRefusalOf(order, 'boot-1'), refusal);
    assert.equal(decided(order ? { order } : {}), refusal === undefined ? 'Kexec KexecAvailable' : 'Reboot KexecRefused');
  });
}

const failed = anOrder({ phase: 'Failed', reason: 'KexecFailed' });
const tries: readonly (readonly [sentence: string, given: Given, decision: string])[] = [
  ['a kexec that failed on the hardware gives way to the firmware', {}, 'Reboot RebootNeeded'],
  ['it is Blocked where the policy has Block', { onKexecFailure: 'Block' }, 'Blocked KexecFailedOnHardware'],
  ['it is Blocked where the policy allows no reboot', { maxDisruption: 'Kexec' }, 'Blocked KexecFailedOnHardware'],
  ['a word lets it be tried once more', { retryReboot: 'ticket-1' }, 'Kexec KexecAvailable'],
  ['the order that tries it stands', { retryReboot: 'ticket-1', order: anOrder({ phase: 'Draining', retry: 'ticket-1' }) }, 'Kexec KexecAvailable'],
  ['a try that was put off is not used up', { retryReboot: 'ticket-1', order: anOrder({ phase: 'Parked', retry: 'ticket-1' }) }, 'Kexec KexecAvailable'],
  ['one that failed under the word is', { retryReboot: 'ticket-1', order: { ...failed, retry: 'ticket-1' } }, 'Reboot RebootNeeded'],
  ['another word lets it be tried again', { retryReboot: 'ticket-2', order: { ...failed, retry: 'ticket-1' } }, 'Kexec KexecAvailable'],
  ['the word of another KernelPatch was not tried', { retryReboot: 'ticket-1', order: { ...failed, kernelPatch: 'fix-b', retry: 'ticket-1' } }, 'Kexec KexecAvailable'],
];
for (const [sentence, given, decision] of tries) {
  test(sentence, () => assert.equal(decided({ hardware: FAILURE, ...given }), decision));
}

const PACKAGE = { name: 'linux-image-fixed' };
const underWay = (phase: RebootOrder['phase'], state: 'Installing' | 'Staging') => ({ order: anOrder({ phase, install: PACKAGE }), reboot: { id: 'order-1', state, reason: state, message: state, since: '2026-11-24T12:00:00Z' } as const });
const TRUNCATED = [{ release: FIXED_RELEASE, reason: 'ImageTruncated', message: 'it is cut short' }];

interface Missing {
  readonly install?: 'None' | 'Package';
  readonly named?: boolean;
  readonly kexec?: 'Available' | 'Unavailable';
  readonly maxDisruption?: 'Kexec' | 'Reboot';
  readonly status?: Parameters<typeof aReport>[0];
  readonly order?: RebootOrder;
}

/** A node whose fixed kernel is not installed, unless its report says otherwise. */
function planned({ install = 'Package', named = true, kexec = 'Available', maxDisruption = 'Reboot', status, order }: Missing) {
  const kernelPatch = aKernelPatch({ kernels: [{ release: RELEASE, state: 'Affected', rebootInto: FIXED_RELEASE, ...(named && { package: PACKAGE }) }, { release: FIXED_RELEASE, state: 'Fixed' }] });
  const { patches: [patch], target } = aPlan(aNode('n1'), aNodeKernel('n1', { spec: { ...(order && { reboot: order }) }, status: aReport({ kernel: { kexec }, ...status }) }), aPolicy({ maxDisruption, reboot: { install } }), [kernelPatch]);
  return { patch, target };
}

const missing: readonly (readonly [sentence: string, given: Missing, decision: string, installs: boolean])[] = [
  ['a kernel that is missing is installed before the kexec', {}, 'Kexec KexecAvailable', true],
  ['it is installed before a reboot by the firmware, whose boot loader is looked at then', { kexec: 'Unavailable' }, 'Reboot RebootNeeded', true],
  ['that needs consent as ever', { kexec: 'Unavailable', maxDisruption: 'Kexec' }, 'Blocked KexecUnavailable', false],
  ['nothing is installed without consent', { install: 'None' }, 'Blocked TargetKernelNotInstalled', false],
  ['nor without a package that is named', { named: false }, 'Blocked TargetKernelNotInstalled', false],
  ['a kernel that is there is not installed', { status: { installedKernels: [RELEASE, FIXED_RELEASE], nextBoot: startsNext(FIXED_RELEASE) } }, 'Kexec KexecAvailable', false],
  ['a boot loader that starts another one after the installation ends it', { kexec: 'Unavailable', status: { installedKernels: [RELEASE, FIXED_RELEASE] } }, 'Blocked BootLoaderStartsOtherKernel', false],
  ['a kernel that is there and cut short is not mended by installing what is installed', { status: { installedKernels: [RELEASE, FIXED_RELEASE], unbootableKernels: TRUNCATED } }, 'Blocked TargetImageTruncated', false],
  ['while it is being installed it may be cut short', { order: underWay('Staging', 'Installing').order, status: { installedKernels: [RELEASE, FIXED_RELEASE], unbootableKernels: TRUNCATED, reboot: underWay('Staging', 'Installing').reboot } }, 'Kexec KexecAvailable', true],
  ['afterwards it may not', { order: underWay('Staging', 'Staging').order, status: { installedKernels: [RELEASE, FIXED_RELEASE], unbootableKernels: TRUNCATED, reboot: underWay('Staging', 'Staging').reboot } }, 'Blocked TargetImageTruncated', false],
  ['nor when the installation was given up', { order: underWay('Refused', 'Installing').order, status: { installedKernels: [RELEASE, FIXED_RELEASE], unbootableKernels: TRUNCATED, reboot: underWay('Refused', 'Installing').reboot } }, 'Blocked TargetImageTruncated', false],
];
for (const [sentence, given, decision, installs] of missing) {
  test(sentence, () => {
    const { patch, target } = planned(given);
    assert.equal(`${patch?.action} ${patch?.reason}`, decision);
    assert.deepEqual(target?.install, installs ? PACKAGE : undefined);
  });
}

test('a kernel that is missing says what would install it', () => {
  assert.match(planned({ install: 'None' }).patch?.message ?? '', /install package linux-image-fixed on the node, or set spec\.reboot\.install: Package in PatchPolicy workers/);
  assert.match(planned({ named: false }).patch?.message ?? '', /install it on the node, or name its package in the KernelPatch/);
  assert.match(planned({ named: false, install: 'None' }).patch?.message ?? '', /is not installed: install it on the node(;|$)/);
  assert.equal(planned({}).patch?.message, `a kexec into kernel ${FIXED_RELEASE} fixes it, once the node has installed package linux-image-fixed`);
});
