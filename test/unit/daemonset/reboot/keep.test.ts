/** The real agent on a simulated machine that goes down and comes back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RebootOrder } from '../../../../crds/nodekernel.ts';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { aModule } from '../../../simulated/module.ts';
import { aPlan, aWanted } from '../../../simulated/node.ts';
import type { SimulatedNode } from '../../../simulated/node.ts';
import { TARGET, TARGET_BUILD_ID, anOrder } from '../../../simulated/reboot.ts';
import { INHIBITOR, aNodeWithTarget, kinds, order, reboot, reportOf, saysOf, staged } from './ordered.ts';

test('a node without an order touches nothing of kexec', async () => {
  await using node = aNodeWithTarget();
  node.machine.stageByHand({ release: TARGET, commandLine: '' });
  node.start();
  const status = await node.settle();
  await node.machine.clock.sleep(600_000);
  assert.deepEqual([node.machine.asked, status.reboot], [[], undefined]);
  assert.equal(node.machine.files.has(JOURNAL_PATH), false);
  assert.deepEqual(status.hardware, { vendor: 'QEMU', product: 'Standard PC (Q35 + ICH9, 2009)', firmware: '1.16.2-debian' });
});

test('an order in phase Staging is staged with the merged command line, and stays so while the node is drained', async () => {
  await using node = await staged();
  assert.deepEqual(saysOf(node), ['Staged', 'Staged']);
  assert.deepEqual(node.machine.reboots.image, { release: TARGET, commandLine: 'kernelpatch.reboot=order-1 panic=10 root=/dev/vda1 ro quiet' });
  node.want([], { reboot: anOrder({ phase: 'Draining' }) });
  await node.machine.clock.sleep(600_000);
  assert.deepEqual(node.machine.asked, ['kexec -s -l']);
  assert.deepEqual(kinds(node), ['Staging']);
});

test('a node goes down by kexec, and proves the kernel that runs by boot id, release and the id on its command line', async () => {
  await using node = await staged();
  await reboot(node);
  assert.deepEqual(saysOf(node), ['Proven', 'ByKexec']);
  const { status } = node.object;
  assert.deepEqual([status?.kernel.release, status?.kernel.rebootID, status?.hardware?.kexecFailure], [TARGET, 'order-1', undefined]);
  assert.deepEqual(node.machine.asked, ['kexec -s -l', 'systemctl kexec']);
  await node.machine.clock.sleep(60_000);
  assert.equal(node.machine.files.has(JOURNAL_PATH), false, 'nothing of it is left on the node');
  await node.stop();
  node.start();
  await node.machine.clock.sleep(60_000);
  assert.deepEqual(saysOf(node), ['Proven', 'ByKexec']);
  node.want([]);
  await node.settle();
  assert.equal(reportOf(node), undefined);
});

test('an order that begins in phase Rebooting is staged first', async () => {
  await using node = aNodeWithTarget();
  node.start();
  await node.settle();
  await reboot(node);
  assert.deepEqual(saysOf(node), ['Proven', 'ByKexec']);
});

test('a reboot by the firmware puts nothing in place, and is proven by the kernel that the boot loader has started', async () => {
  await using node = await staged({ method: 'Firmware' });
  assert.deepEqual([saysOf(node), node.machine.asked, node.machine.files.has(JOURNAL_PATH)], [['Staged', 'Staged'], [], false]);
  node.machine.reboots.byDefault = TARGET;
  await reboot(node, { method: 'Firmware' });
  assert.deepEqual(saysOf(node), ['Proven', 'ByFirmware']);
  assert.deepEqual(node.machine.asked, ['systemctl reboot']);
  await node.machine.clock.sleep(60_000);
  assert.deepEqual([saysOf(node), node.machine.files.has(JOURNAL_PATH)], [['Proven', 'ByFirmware'], false]);
});

const failureOf = (node: SimulatedNode): unknown => node.object.status?.hardware?.kexecFailure;

test('a kernel that panics comes back by the firmware, which is said, and remembered for the hardware when the order is gone', async () => {
  await using node = await staged();
  node.machine.reboots.panics.add(TARGET);
  await reboot(node);
  assert.deepEqual(saysOf(node), ['CameBackByFirmware', 'KexecFailed']);
  assert.match(reportOf(node)?.message ?? '', /6\.12\.107.*pstore/);
  const failure = failureOf(node);
  assert.partialDeepStrictEqual(failure, { id: 'order-1', release: TARGET });
  await node.machine.clock.sleep(60_000);
  assert.equal(node.machine.files.has(JOURNAL_PATH), false);
  await node.stop();
  node.start();
  node.want([]);
  await node.settle();
  assert.deepEqual(failureOf(node), failure);
});

test('a failed kexec is forgotten once one has worked', async () => {
  await using node = await staged();
  node.machine.reboots.panics.add(TARGET);
  await reboot(node);
  assert.notEqual(failureOf(node), undefined);
  node.machine.reboots.panics.clear();
  const again = { id: 'order-2', bootID: node.object.status?.bootID ?? '' };
  await order(node, again);
  await reboot(node, again);
  assert.deepEqual([saysOf(node), failureOf(node)], [['Proven', 'ByKexec'], undefined]);
});

test('a failed kexec is not held against other firmware', async () => {
  await using node = await staged();
  node.machine.reboots.panics.add(TARGET);
  await reboot(node);
  await node.machine.clock.sleep(60_000);
  node.machine.set('/sys/class/dmi/id/bios_version', '1.17.0');
  await node.until('it is seen', () => node.object.status?.hardware?.firmware === '1.17.0');
  assert.equal(node.object.status?.hardware?.kexecFailure, undefined);
});

test('a firmware that starts the target after the kexec has failed is no proof of kexec', async () => {
  await using node = await staged();
  node.machine.reboots.panics.add(TARGET);
  node.machine.reboots.byDefault = TARGET;
  await reboot(node);
  assert.deepEqual(saysOf(node), ['CameBackByFirmware', 'FirmwareStartedTarget']);
});

test('another kernel than the wanted one is said, by release and by build id', async () => {
  await using node = await staged({ method: 'Firmware' });
  await reboot(node, { method: 'Firmware' });
  assert.deepEqual(saysOf(node), ['WrongKernel', 'WrongRelease']);

  await using other = await staged({ buildID: 'ab'.repeat(20) });
  await reboot(other, { buildID: 'ab'.repeat(20) });
  assert.deepEqual(saysOf(other), ['WrongKernel', 'WrongBuild']);
  assert.match(reportOf(other)?.message ?? '', new RegExp(TARGET_BUILD_ID));
});

test('a node that somebody else reboots says so, and does nothing for the order', async () => {
  await using node = await staged();
  node.cutPower();
  node.start();
  await node.until('it is said', () => reportOf(node)?.state === 'OtherBoot');
  assert.equal(reportOf(node)?.reason, 'BootedIntoOther');
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  await node.machine.clock.sleep(600_000);
  assert.deepEqual(node.machine.asked, ['kexec -s -l']);
  assert.equal(node.machine.files.has(JOURNAL_PATH), false);
});

const STALE: Readonly<Record<string, Partial<RebootOrder>>> = { 'of another boot': { bootID: 'another' }, 'that has expired': { notAfter: '2026-11-23T00:00:00Z' }, 'with a time that is none': { notAfter: 'soon' } };

for (const [what, changes] of Object.entries(STALE)) {
  test(`an order ${what} is not carried out`, async () => {
    await using node = aNodeWithTarget();
    node.start();
    await order(node, { phase: 'Rebooting', ...changes });
    await node.machine.clock.sleep(600_000);
    assert.deepEqual(node.machine.asked, []);
    assert.match(reportOf(node)?.state ?? '', /OtherBoot|Expired/);
  });
}

test('an order that expires while it waits is taken back, and the node does not go down for it any more', async () => {
  await using node = await staged();
  await node.machine.clock.sleep(3_610_000);
  assert.deepEqual(saysOf(node), ['Expired', 'Expired']);
  assert.deepEqual([node.machine.reboots.image, node.machine.asked], [undefined, ['kexec -s -l', 'kexec -s -u']]);
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  await node.machine.clock.sleep(600_000);
  assert.equal(reportOf(node)?.state, 'Expired');
});

const TAKEN_BACK: Readonly<Record<string, RebootOrder | undefined>> = { gone: undefined, parked: anOrder({ phase: 'Parked' }), 'given up': anOrder({ phase: 'Failed' }) };

for (const [what, next] of Object.entries(TAKEN_BACK)) {
  test(`what was staged is taken back when the order is ${what}`, async () => {
    await using node = await staged();
    node.want([], { ...(next && { reboot: next }) });
    await node.settle();
    await node.until('it is taken out', () => node.machine.reboots.image === undefined);
    await node.settle();
    assert.equal(reportOf(node)?.state, next && 'Unstaged');
    assert.equal(node.machine.files.has(JOURNAL_PATH), false);
  });
}

test('another order replaces what was staged for the one before', async () => {
  await using node = await staged();
  await order(node, { id: 'order-2' });
  assert.deepEqual(saysOf(node), ['Staged', 'Staged']);
  assert.match(node.machine.reboots.image?.commandLine ?? '', /^kernelpatch\.reboot=order-2 /);
  assert.deepEqual(node.machine.asked, ['kexec -s -l', 'kexec -s -u', 'kexec -s -l']);
});

test('an order that goes on by the firmware leaves no image behind that systemd could start', async () => {
  await using node = await staged();
  node.machine.set('/run/systemd/inhibit/1', INHIBITOR);
  await order(node, { method: 'Firmware' });
  assert.deepEqual([node.machine.reboots.image, saysOf(node)], [undefined, ['Refused', 'Inhibited']]);
  node.machine.files.delete('/run/systemd/inhibit/1');
  await node.until('it is staged', () => reportOf(node)?.state === 'Staged');
});

test('an agent that is replaced stages once more, since it can not know what the kernel has', async () => {
  await using node = await staged();
  await node.stop();
  node.start();
  await node.until('it is staged again', () => node.machine.count('kexec -s -l') === 2);
  await node.settle();
  assert.deepEqual(saysOf(node), ['Staged', 'Staged']);
});

test('an agent that is removed with the product takes its image out, and one that is replaced leaves it', async () => {
  await using node = await staged();
  await node.stop();
  assert.equal(node.machine.reboots.image?.release, TARGET);
  node.start();
  await node.until('it is staged again', () => node.machine.count('kexec -s -l') === 2);
  node.removed = true;
  await node.stop();
  assert.deepEqual([node.machine.reboots.image, node.machine.files.has(JOURNAL_PATH)], [undefined, false]);
});

test('an agent that is removed while the node goes down leaves the image that it goes into', async () => {
  await using node = await staged();
  node.machine.reboots.stuck = true;
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  await node.until('it is told', () => reportOf(node)?.state === 'GoingDown');
  node.removed = true;
  await node.stop();
  assert.deepEqual([node.machine.reboots.image?.release, kinds(node).at(-1)], [TARGET, 'GoingDown']);
});

test('an order that is taken back while a report is written does not take the node down', async () => {
  await using node = aNodeWithTarget();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 20_000 });
  node.want([aWanted({ replace: false })], { reboot: anOrder({ phase: 'Rebooting' }) });
  node.start();
  await node.until('it waits', () => reportOf(node)?.reason === 'AwaitingTransition');
  node.writeMilliseconds = 8000;
  await node.until('the transition has ended', () => node.machine.active.length === 1);
  await node.machine.clock.sleep(3000);
  node.want([aWanted({ replace: false })], { reboot: anOrder({ phase: 'Parked' }) });
  await node.until('it is taken back', () => reportOf(node)?.state === 'Unstaged');
  assert.equal(node.machine.count('systemctl kexec'), 0);
});

test('a shutdown that does not come to its end is given up, and its image taken out when the order goes', async () => {
  await using node = await staged();
  node.machine.reboots.stuck = true;
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  await node.until('it is told', () => reportOf(node)?.state === 'GoingDown');
  await node.until('it is given up', () => reportOf(node)?.reason === 'ShutdownStuck');
  assert.equal(node.machine.count('systemctl kexec'), 1);
  node.want([]);
  await node.until('it is taken out', () => node.machine.reboots.image === undefined);
});

test('a node that goes down goes down: its image stays although the order is withdrawn meanwhile', async () => {
  await using node = await staged();
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  await node.until('it is going down', () => node.machine.reboots.goingInto === 'Kexec');
  node.want([]);
  await node.until('the target runs', () => node.object.status?.kernel.release === TARGET);
  await node.settle();
  assert.deepEqual([reportOf(node), node.machine.count('kexec -s -u')], [undefined, 0]);
  await node.machine.clock.sleep(60_000);
  assert.equal(node.machine.files.has(JOURNAL_PATH), false);
});

test('the node goes down only when no live patch is in transition, and begins none while it does', async () => {
  await using node = aNodeWithTarget();
  node.machine.behaviours.set('livepatch_fix', { transitionMilliseconds: 20_000 });
  node.want([aWanted({ replace: false })], { reboot: anOrder({ phase: 'Rebooting' }) });
  node.start();
  await node.until('it waits', () => reportOf(node)?.reason === 'AwaitingTransition');
  assert.equal(node.machine.count('systemctl kexec'), 0);
  await node.until('it is going down', () => node.machine.reboots.goingInto !== undefined);
  assert.deepEqual(node.machine.active, ['livepatch_fix']);
  node.machine.unloadByHand('livepatch_fix');
  await node.machine.clock.sleep(2000);
  assert.equal(node.machine.count('insmod livepatch_fix'), 1);
  await node.until('it is proven', () => reportOf(node)?.state === 'Proven');
});

test('a transition of somebody else that does not end is named', async () => {
  await using node = await staged();
  node.machine.stallByHand(aModule({ name: 'vendor_fix', buildID: 'ff'.repeat(20) }));
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  await node.until('it is refused', () => reportOf(node)?.reason === 'TransitionInProgress');
  assert.match(reportOf(node)?.message ?? '', /vendor_fix/);
  await node.machine.clock.sleep(120_000);
  assert.equal(reportOf(node)?.reason, 'TransitionInProgress');
  node.machine.finishTransition('vendor_fix');
  await node.until('it is proven', () => reportOf(node)?.state === 'Proven');
});

test('an API server that is away while the node goes down and comes back is told afterwards', async () => {
  await using node = await staged();
  node.machine.reboots.panics.add(TARGET);
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  await node.until('it is going down', () => node.machine.reboots.goingInto !== undefined);
  node.refuseWrites(8);
  await node.until('it is told', () => reportOf(node)?.state === 'CameBackByFirmware');
  assert.equal(node.object.status?.hardware?.kexecFailure?.id, 'order-1');
});

test('a kernel that panics without coming home leaves a node that never reports', async () => {
  await using node = await staged();
  node.machine.set('/proc/cmdline', 'root=/dev/vda1 panic=0');
  await order(node, { id: 'order-2' });
  node.machine.reboots.panics.add(TARGET);
  node.want([], { reboot: anOrder({ id: 'order-2', phase: 'Rebooting' }) });
  await node.until('it is going down', () => node.machine.reboots.goingInto !== undefined);
  await node.machine.clock.sleep(3_600_000);
  assert.deepEqual([saysOf(node), node.life.over], [['Staged', 'Staged'], true]);
});

test('a kexec that is not disturbed costs three reports: it is staged, it is proven, and what the new boot is as good as', async () => {
  await using node = aNodeWithTarget();
  node.start();
  await node.settle();
  const before = node.writes.length;
  const plan = aPlan({ action: 'Kexec', reason: 'KexecAvailable', message: 'the node boots into the fixed kernel' });
  node.want([], { plan, reboot: anOrder() });
  await node.until('it is staged', () => reportOf(node)?.state === 'Staged');
  for (const message of ['pods are moved', '1 pod is left']) {
    node.want([], { plan, reboot: anOrder({ phase: 'Draining', message }) });
    await node.machine.clock.sleep(10_000);
  }
  node.want([], { plan, reboot: anOrder({ phase: 'Rebooting' }) });
  await node.until('it is proven', () => reportOf(node)?.state === 'Proven');
  node.want([], { plan: aPlan({ action: 'None', reason: 'KernelFixed', message: 'the kernel has the fix', bootID: node.object.status?.bootID ?? '' }) });
  await node.settle();
  await node.machine.clock.sleep(600_000);
  const told = node.writes.slice(before).map((status) => [status.reboot?.state, status.conditions?.find(({ type }) => type === 'Ready')?.reason]);
  assert.deepEqual(told, [['Staged', 'RebootUnderWay'], ['Proven', 'PlanOfOtherBoot'], [undefined, 'KernelFixed']]);
});

test('a node that was told to go down and is up 15 s later says so', async () => {
  await using node = await staged();
  node.machine.reboots.stuck = true;
  node.want([], { reboot: anOrder({ phase: 'Rebooting' }) });
  await node.machine.clock.sleep(14_000);
  assert.equal(reportOf(node)?.state, 'Staged');
  await node.machine.clock.sleep(3000);
  assert.equal(reportOf(node)?.state, 'GoingDown');
});
