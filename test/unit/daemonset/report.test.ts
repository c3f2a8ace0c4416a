import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as z from 'zod/mini';
import { NodeKernelStatus } from '../../../crds/nodekernel.ts';
import type { BootReport, Plan, RebootReport } from '../../../crds/nodekernel.ts';
import type { Outlook } from '../../../daemonset/conditions.ts';
import { buildStatus } from '../../../daemonset/report.ts';
import type { Stall } from '../../../daemonset/stalls.ts';
import type { Owned } from '../../../daemonset/ownership.ts';
import type { StepName, StepState } from '../../../daemonset/steps.ts';
import type { BootLayout } from '../../../kernel/boot/layout.ts';
import type { KpatchUtility } from '../../../kernel/kpatch.ts';
import type { KernelPatchState } from '../../../kernel/patches.ts';
import { someFacts } from '../../simulated/facts.ts';
import { aPlan, aWanted } from '../../simulated/node.ts';

const NAMES: Readonly<Record<StepState, StepName>> = {
  Pending: 'Load',
  Loading: 'Load',
  Transitioning: 'AwaitTransition',
  Active: 'Done',
  Unloading: 'AwaitUnload',
  Refused: 'Refuse',
  Failed: 'Fail',
  Quarantined: 'Quarantine',
  Unknown: 'AwaitReadable',
  Absent: 'Done',
};

const enabled = (name: string, functions: string[] = []): KernelPatchState => ({
  name,
  livePatch: { enabled: 'on', transition: 'off', replace: 'off', objects: [{ name: 'vmlinux', patched: 'on', loaded: true, functions }] },
  module: { initState: 'live', buildID: 'unknown' },
});

const kernel = (release: string, fault?: BootLayout['kernels'][number]['fault']) => ({ release, image: `/boot/vmlinuz-${release}`, initrd: `/boot/initrd.img-${release}`, fault });
const LAYOUT: BootLayout = { kernels: [kernel('6.12.107'), kernel('6.12.117')], nextBoot: { release: '6.12.117', source: '/boot/grub/grub.cfg', message: 'GRUB starts "Debian GNU/Linux"' } };

const NO_KPATCH: KpatchUtility = { directory: '/var/lib/kpatch/6.12', modules: [], atBoot: false };

function outlook(state: StepState, changes: Partial<Outlook['wanted']> = {}): Outlook {
  const wanted = aWanted(changes);
  return {
    wanted,
    kernel: state === 'Active' ? enabled(wanted.name) : { name: wanted.name, livePatch: undefined, module: undefined },
    step: { name: NAMES[state], state, reason: `${state}Reason`, message: `${wanted.name} is ${state}` },
    attempts: 1,
    ours: true,
  };
}

function aStatus(changes: { plan?: Plan | undefined; outlooks?: readonly Outlook[]; patches?: readonly KernelPatchState[]; previous?: NodeKernelStatus; now?: string; stall?: Stall; owned?: readonly Owned[]; kpatch?: KpatchUtility; boot?: BootReport; reboot?: RebootReport; layout?: BootLayout }) {
  const { plan, outlooks = [], patches = [], owned = [], kpatch = NO_KPATCH, layout = LAYOUT, stall, boot, reboot, previous, now = '2026-11-24T09:00:00Z' } = changes;
  return buildStatus({
    object: { metadata: { name: 'node-1', generation: 4 }, spec: plan ? { plan } : {} },
    facts: someFacts(),
    layout,
    patches: new Map(patches.map((patch) => [patch.name, patch])),
    outlooks,
    owned,
    kpatch,
    stall,
    boot,
    reboot: { report: reboot, hardware: someFacts().hardware, inProgress: reboot?.state === 'GoingDown' },
    previous,
    agentVersion: '0.1.0',
    now: new Date(now),
  });
}

const conditionOf = (status: NodeKernelStatus, type: string) => status.conditions?.find((condition) => condition.type === type);

const second = { name: 'second_fix', kernelPatch: 'second' };
const twoPatches = aPlan({
  patches: [
    { kernelPatch: 'fix', action: 'LivePatch', reason: 'LivePatchFits', message: 'a live patch is listed', livePatch: 'livepatch_fix' },
    { kernelPatch: 'second', action: 'LivePatch', reason: 'LivePatchFits', message: 'a live patch is listed', livePatch: 'second_fix' },
  ],
});
const replacedByNewer = aPlan({
  patches: [
    { kernelPatch: 'older', action: 'LivePatch', reason: 'ReplacedByNewer', message: 'a newer one replaces it', livePatch: 'livepatch_fix' },
    { kernelPatch: 'fix', action: 'LivePatch', reason: 'LivePatchFits', message: 'a live patch is listed', livePatch: 'livepatch_fix' },
  ],
});
const planned = (action: Plan['action'], mode: Plan['mode'] = 'Apply') => aPlan({ action, mode, reason: `${action}Because`, message: 'in words' });

const READY: readonly (readonly [what: string, plan: Plan | undefined, outlooks: readonly Outlook[], status: string, reason: string])[] = [
  ['no plan yet', undefined, [], 'Unknown', 'NotPlanned'],
  ['nothing to fix', planned('None'), [], 'True', 'NoneBecause'],
  ['a fact is missing', planned('Unknown'), [], 'Unknown', 'UnknownBecause'],
  ['nothing is allowed', planned('Blocked'), [], 'False', 'BlockedBecause'],
  ['kexec planned', planned('Kexec'), [], 'False', 'KexecPlanned'],
  ['reboot planned', planned('Reboot'), [], 'False', 'RebootPlanned'],
  ['mode Plan with a live patch', planned('LivePatch', 'Plan'), [], 'False', 'PlanOnly'],
  ['mode Plan with kexec', planned('Kexec', 'Plan'), [], 'False', 'PlanOnly'],
  ['a plan of an earlier boot', aPlan({ bootID: 'earlier', action: 'None' }), [], 'Unknown', 'PlanOfOtherBoot'],
  ['a live patch of a newer KernelPatch closes an older one', replacedByNewer, [outlook('Active')], 'True', 'LivePatched'],
  ['a live patch that another one has replaced', aPlan(), [{ ...outlook('Active'), kernel: outlook('Pending').kernel }], 'False', 'LivePatchFits'],
  ['mode Plan with nothing to fix', planned('None', 'Plan'), [], 'True', 'NoneBecause'],
  ['a live patch planned and not yet asked for', aPlan(), [], 'False', 'LivePatchFits'],
  ['a live patch pending', aPlan(), [outlook('Pending')], 'False', 'PendingReason'],
  ['a live patch in transition', aPlan(), [outlook('Transitioning')], 'False', 'TransitioningReason'],
  ['a live patch active', aPlan(), [outlook('Active')], 'True', 'LivePatched'],
  ['a live patch refused', aPlan(), [outlook('Refused')], 'False', 'RefusedReason'],
  ['a live patch failed', aPlan(), [outlook('Failed')], 'False', 'FailedReason'],
  ['a live patch quarantined', aPlan(), [outlook('Quarantined')], 'False', 'QuarantinedReason'],
  ['a live patch not readable', aPlan(), [outlook('Unknown')], 'Unknown', 'UnknownReason'],
  ['two planned, one asked for and active', twoPatches, [outlook('Active')], 'False', 'LivePatchFits'],
  ['two planned, both active', twoPatches, [outlook('Active'), outlook('Active', second)], 'True', 'LivePatched'],
  ['one active, one failed', twoPatches, [outlook('Active'), outlook('Failed', second)], 'False', 'FailedReason'],
  ['one withdrawn and gone, nothing to fix', planned('None'), [outlook('Absent', { desired: 'Absent' })], 'True', 'NoneBecause'],
  ['one withdrawn that can not be unloaded', planned('None'), [outlook('Failed', { desired: 'Absent' })], 'False', 'FailedReason'],
  ['a withdrawn one still there does not close its patch', aPlan(), [outlook('Active', { desired: 'Absent' })], 'False', 'LivePatchFits'],
];

for (const [what, plan, outlooks, status, reason] of READY) {
  test(`${what}: Ready is ${status}, ${reason}`, () => {
    const ready = conditionOf(aStatus({ plan, outlooks }), 'Ready');
    assert.deepEqual([ready?.status, ready?.reason, ready?.observedGeneration], [status, reason, 4]);
  });
}

test('Progressing is True while something is done, Stalled while something stands in the way', () => {
  const moving = aStatus({ plan: aPlan(), outlooks: [outlook('Transitioning'), outlook('Refused', second)] });
  assert.deepEqual([conditionOf(moving, 'Progressing')?.status, conditionOf(moving, 'Stalled')?.status], ['True', 'True']);
  const settled = aStatus({ plan: aPlan(), outlooks: [outlook('Active')] });
  assert.deepEqual([conditionOf(settled, 'Progressing')?.status, conditionOf(settled, 'Stalled')?.status], ['False', 'False']);
});

const SUMS: readonly (readonly [readonly StepState[], string])[] = [
  [[], 'Idle'],
  [['Absent'], 'Idle'],
  [['Active', 'Pending'], 'Pending'],
  [['Active', 'Transitioning'], 'Transitioning'],
  [['Loading', 'Transitioning'], 'Loading'],
  [['Refused', 'Loading'], 'Refused'],
  [['Refused', 'Failed'], 'Failed'],
  [['Failed', 'Quarantined'], 'Quarantined'],
  [['Active', 'Active'], 'Active'],
];

for (const [states, sum] of SUMS) {
  test(`${states.join(' and ') || 'nothing'} sums up to ${sum}`, () => {
    assert.equal(aStatus({ outlooks: states.map((state, index) => outlook(state, { name: `patch_${index}` })) }).state, sum);
  });
}

test('pending and absent patches are not listed, foreign ones are', () => {
  const status = aStatus({ outlooks: [outlook('Pending'), outlook('Absent', second)], patches: [enabled('vendor_fix', ['vmlinux:f'])] });
  assert.deepEqual(status.livePatches.map(({ name, origin, state }) => [name, origin, state]), [['vendor_fix', 'Foreign', 'Active']]);
  assert.deepEqual(status.livePatches[0]?.functions, ['vmlinux:f']);
  assert.equal(status.active, 'vendor_fix');
});

test('one that an earlier KernelPatch asked for is not foreign: the build id tells, not the name', () => {
  const left = { ...enabled('fix_before'), module: { initState: 'live', buildID: 'ab'.repeat(20) } } as const;
  const owned = [{ name: 'fix_before', buildID: 'ab'.repeat(20), sha256: 'cd'.repeat(32), kernelPatch: 'before' }];
  const [report] = aStatus({ patches: [left], owned }).livePatches;
  assert.deepEqual([report?.origin, report?.kernelPatch, report?.sha256, report?.buildID, report?.reason], ['KernelPatch', 'before', 'cd'.repeat(32), 'ab'.repeat(20), 'NotWanted']);
  const other = { ...left, module: { ...left.module, buildID: 'ef'.repeat(20) } };
  assert.equal(aStatus({ patches: [other], owned }).livePatches[0]?.origin, 'Foreign');
});

test('the build id of a wanted module is reported once it is known to be that of the file', () => {
  const module = { initState: 'live', buildID: 'ab'.repeat(20) } as const;
  const there = { ...outlook('Active'), kernel: { ...enabled('livepatch_fix'), module } };
  assert.equal(aStatus({ outlooks: [there] }).livePatches[0]?.buildID, module.buildID);
  assert.equal(aStatus({ outlooks: [{ ...there, ours: false }] }).livePatches[0]?.buildID, undefined);
});

test('functions are listed as far as the kernel shows them as patched', () => {
  const objects = [{ name: 'ext4', patched: 'off', loaded: false, functions: ['ext4:f'] }, { name: 'xfs', patched: 'unknown', loaded: true, functions: ['xfs:f'] }, { name: 'btrfs', patched: 'unknown', loaded: false, functions: ['btrfs:f'] }] as const;
  const patch = { ...enabled('vendor_fix'), livePatch: { enabled: 'on', transition: 'off', replace: 'off', objects } } as const;
  assert.deepEqual(aStatus({ patches: [patch] }).livePatches[0]?.functions, ['xfs:f']);
});

test('what the kpatch utility has and the kernel has not is shown, unless a KernelPatch asks for it', () => {
  const kpatch = { directory: '/var/lib/kpatch/6.12', modules: ['livepatch_fix', 'vendor_fix', 'vendor_later'], atBoot: true };
  const status = aStatus({ outlooks: [outlook('Pending')], patches: [enabled('vendor_fix')], kpatch });
  assert.deepEqual(status.livePatches.map(({ name, state }) => [name, state]), [['vendor_fix', 'Active'], ['vendor_later', 'Installed']]);
});

test('a time stays while its state stays, and is new with a new state or digest', () => {
  const previous = aStatus({ plan: aPlan(), outlooks: [outlook('Active')] });
  const later = '2026-11-24T10:00:00Z';
  assert.deepEqual(aStatus({ plan: aPlan(), outlooks: [outlook('Active')], previous, now: later }), previous);
  const failed = aStatus({ plan: aPlan(), outlooks: [outlook('Failed')], previous, now: later });
  assert.equal(failed.livePatches[0]?.since, later);
  assert.equal(conditionOf(failed, 'Ready')?.lastTransitionTime, later);
  assert.equal(conditionOf(failed, 'Progressing')?.lastTransitionTime, '2026-11-24T09:00:00Z');
  assert.equal(aStatus({ outlooks: [outlook('Active', { sha256: 'cd'.repeat(32) })], previous, now: later }).livePatches[0]?.since, later);
});

test('the kernels in /boot are listed, those that would not boot with why, and which one the firmware starts next', () => {
  const { installedKernels, unbootableKernels, nextBoot } = aStatus({});
  assert.deepEqual({ installedKernels, unbootableKernels, nextBoot }, { installedKernels: ['6.12.107', '6.12.117'], unbootableKernels: undefined, nextBoot: LAYOUT.nextBoot });
  const fault = { reason: 'InitrdMissing', message: 'there is no initrd' } as const;
  const status = aStatus({ layout: { kernels: [kernel('6.12.107'), kernel('6.12.117', fault)], nextBoot: { release: 'unknown', source: undefined, message: 'no grub.cfg' } } });
  assert.deepEqual([status.installedKernels, status.unbootableKernels], [['6.12.107', '6.12.117'], [{ release: '6.12.117', ...fault }]]);
  assert.deepEqual(status.nextBoot, { release: 'unknown', message: 'no grub.cfg' });
});

test('a reboot is progress while the node goes down, stands in the way when it is refused, and has its time while its state stays', () => {
  const refused = { id: 'order-1', state: 'Refused', reason: 'KexecLoadDisabled', message: 'kexec is switched off', since: '' } as const;
  const previous = aStatus({ reboot: refused });
  assert.deepEqual(previous.reboot, { ...refused, since: '2026-11-24T09:00:00Z' });
  assert.deepEqual([conditionOf(previous, 'Stalled')?.reason, conditionOf(previous, 'Progressing')?.status], ['KexecLoadDisabled', 'False']);
  const later = '2026-11-24T10:00:00Z';
  assert.equal(aStatus({ reboot: { ...refused, reason: 'Inhibited' }, previous, now: later }).reboot?.since, '2026-11-24T09:00:00Z');
  assert.equal(aStatus({ reboot: { ...refused, id: 'order-2' }, previous, now: later }).reboot?.since, later);
  const going = aStatus({ reboot: { ...refused, state: 'GoingDown', reason: 'GoingDown' }, previous, now: later });
  assert.deepEqual([going.reboot?.since, conditionOf(going, 'Progressing')?.reason, conditionOf(going, 'Stalled')?.status], [later, 'GoingDown', 'False']);
  assert.equal(aStatus({ previous: going }).reboot, undefined);
});

test('whatever was seen, the report keeps within the bounds of the protocol', () => {
  const functions = Array.from({ length: 300 }, (_, index) => `vmlinux:${'f'.repeat(600)}${index}`);
  const patches = Array.from({ length: 80 }, (_, index) => enabled(`vendor_fix_with_a_long_name_${index}`, functions));
  const long = outlook('Failed');
  const tasks = Array.from({ length: 10 }, (_, tid) => ({ tid, pid: 0, comm: 'c'.repeat(100), stack: ['s'.repeat(900)], pod: { uid: 'u', name: 'n'.repeat(900) } }));
  const layout: BootLayout = { kernels: [kernel('6.12.107', { reason: 'ImageUnreadable', message: 'm'.repeat(9000) })], nextBoot: { release: '6.12.107', source: '/boot/efi/EFI/redhat/grub.cfg', message: 't'.repeat(9000) } };
  const status = aStatus({ plan: aPlan(), outlooks: [{ ...long, step: { ...long.step, message: 'x'.repeat(9000) } }], patches, stall: { livePatch: long.wanted.name, tasks }, boot: { state: 'Kept', reason: 'Kept', message: 'n'.repeat(9000) }, layout, reboot: { id: 'order-1', state: 'Refused', reason: 'StageFailed', message: 'm'.repeat(9000), since: '' } });
  const parsed = z.safeParse(NodeKernelStatus, status);
  assert.deepEqual(parsed.error?.issues ?? [], []);
});
