/** The real agent on a simulated machine that goes down and comes back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RebootOrder, RebootReport } from '../../../../crds/nodekernel.ts';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { parseJournal } from '../../../../kernel/journal.ts';
import { aModule } from '../../../simulated/module.ts';
import { aNode, aWanted } from '../../../simulated/node.ts';
import type { SimulatedNode } from '../../../simulated/node.ts';
import { TARGET, TARGET_BUILD_ID, anOrder } from '../../../simulated/reboot.ts';

function aNodeWithTarget(): SimulatedNode {
  const node = aNode();
  node.machine.installKernel(TARGET);
  return node;
}

function reportOf(node: SimulatedNode): RebootReport | undefined {
  return node.object.status?.reboot;
}

const saysOf = (node: SimulatedNode): readonly unknown[] => [reportOf(node)?.state, reportOf(node)?.reason];

/** The order is published, and the agent has come to rest with it. */
async function order(node: SimulatedNode, changes: Partial<RebootOrder> = {}): Promise<void> {
  node.want([], { reboot: anOrder(changes) });
  await node.settle();
}

/** The node goes down for the order, and what it has led to is reported. */
async function reboot(node: SimulatedNode, changes: Partial<RebootOrder> = {}): Promise<void> {
  node.want([], { reboot: anOrder({ phase: 'Rebooting', ...changes }) });
  const bootID = node.object.status?.bootID;
  await node.until('a report of the next boot', () => node.object.status?.bootID !== bootID);
  await node.settle();
}

const kinds = (node: SimulatedNode): readonly string[] => parseJournal(node.machine.files.get(JOURNAL_PATH) ?? Buffer.alloc(0)).records.map(({ kind }) => kind);

async function staged(changes: Partial<RebootOrder> = {}): Promise<SimulatedNode> {
  const node = aNodeWithTarget();
  node.start();
  await order(node, changes);
  return node;
}

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
  await order(node, { phase: 'Draining' });
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
  await order(node, { phase: 'Rebooting' });
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
  await order(node, { method: 'Firmware' });
  assert.deepEqual([node.machine.reboots.image, saysOf(node)], [undefined, ['Staged', 'Staged']]);
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

test('an image of somebody else is left alone, and the order is staged once it is gone', async () => {
  await using node = aNodeWithTarget();
  node.machine.stageByHand({ release: 'theirs', commandLine: '' });
  node.start();
  await order(node);
  assert.deepEqual(saysOf(node), ['Refused', 'ImageOfOthers']);
  node.want([]);
  await node.settle();
  assert.deepEqual([node.machine.asked, node.machine.reboots.image?.release], [[], 'theirs']);
  node.machine.stageByHand(undefined);
  await order(node);
  assert.deepEqual(saysOf(node), ['Staged', 'Staged']);
});

const ANSWERS: Readonly<Record<string, { readonly prints: readonly string[]; readonly reason: string; readonly asks: number }>> = {
  'a broken image is not asked for again': { prints: ['Cannot determine the file type of /host/boot/x\n'], reason: 'ImageRejected', asks: 1 },
  'no room is asked for three times': { prints: Array.from({ length: 9 }, () => 'kexec_file_load failed: Cannot assign requested address\n'), reason: 'NotEnoughMemory', asks: 3 },
  'a kernel that is busy is asked again until it is not': { prints: ['kexec_file_load failed: Device or resource busy\n'], reason: 'Staged', asks: 2 },
};

for (const [what, { prints, reason, asks }] of Object.entries(ANSWERS)) {
  test(what, async () => {
    await using node = aNodeWithTarget();
    node.machine.reboots.prints['-s'].push(...prints);
    node.start();
    await order(node);
    await node.machine.clock.sleep(120_000);
    assert.deepEqual([reportOf(node)?.reason, node.machine.count('kexec -s -l')], [reason, asks]);
    assert.deepEqual(kinds(node), reason === 'Staged' ? ['Staging'] : []);
    assert.equal(node.object.status?.conditions?.find(({ type }) => type === 'Stalled')?.status, reason === 'Staged' ? 'False' : 'True');
  });
}

test('kexec_load is asked where kexec_file_load is not there, and never in a locked down kernel', async () => {
  const missing = 'syscall kexec_file_load not available.\n';
  await using node = aNodeWithTarget();
  node.machine.reboots.prints['-s'].push(missing);
  node.start();
  await order(node);
  assert.deepEqual([reportOf(node)?.state, node.machine.asked], ['Staged', ['kexec -s -l', 'kexec -c -l']]);

  await using locked = aNodeWithTarget();
  locked.machine.set('/sys/kernel/security/lockdown', 'none [integrity] confidentiality');
  locked.machine.reboots.prints['-s'].push(missing);
  locked.start();
  await order(locked);
  assert.deepEqual([reportOf(locked)?.state, locked.machine.asked], ['Refused', ['kexec -s -l']]);
});

test('what stands in the way before the kernel is asked is looked at again, and costs no kexec', async () => {
  await using node = aNodeWithTarget();
  node.machine.set('/proc/sys/kernel/kexec_load_disabled', '1');
  node.machine.files.delete(`/boot/initrd.img-${TARGET}`);
  node.start();
  await order(node);
  assert.deepEqual(saysOf(node), ['Refused', 'KexecLoadDisabled']);
  const writes = node.writes.length;
  await node.machine.clock.sleep(300_000);
  assert.deepEqual([node.machine.asked, node.writes.length], [[], writes]);
  node.machine.set('/proc/sys/kernel/kexec_load_disabled', '0');
  await node.until('the next is named', () => reportOf(node)?.reason === 'InitrdMissing');
  node.machine.set(`/boot/initrd.img-${TARGET}`, '');
  await node.until('it is staged', () => reportOf(node)?.state === 'Staged');
});

test('a program that blocks the shutdown is named, before the node is drained and before it goes down', async () => {
  const inhibitor = 'WHAT=shutdown:sleep\nMODE=block\nUID=0\nPID=812\nWHO="Package Manager"\nWHY="a package is being installed"';
  await using node = aNodeWithTarget();
  node.machine.set('/run/systemd/inhibit/1', inhibitor);
  node.start();
  await order(node);
  assert.deepEqual(saysOf(node), ['Refused', 'Inhibited']);
  assert.match(reportOf(node)?.message ?? '', /Package Manager \(PID 812\).*a package is being installed/);
  node.machine.files.delete('/run/systemd/inhibit/1');
  await node.until('it is staged', () => reportOf(node)?.state === 'Staged');
  node.machine.set('/run/systemd/inhibit/1', inhibitor);
  await order(node, { phase: 'Rebooting' });
  assert.deepEqual([saysOf(node), node.machine.count('systemctl kexec')], [['Refused', 'Inhibited'], 0]);
  node.machine.files.delete('/run/systemd/inhibit/1');
  await node.until('it is proven', () => reportOf(node)?.state === 'Proven');
});

test('a refusal of systemd is said and asked again; a boot by somebody else meanwhile is not held against the kexec', async () => {
  await using node = await staged();
  node.machine.reboots.refusals.push('Call to RebootWithFlags failed: Access denied\n');
  await order(node, { phase: 'Rebooting' });
  assert.deepEqual([saysOf(node), kinds(node).at(-1)], [['Refused', 'ShutdownRefused'], 'Staging']);
  node.cutPower();
  node.start();
  await node.until('it is said', () => reportOf(node)?.state === 'OtherBoot');
  assert.equal(node.object.status?.hardware?.kexecFailure, undefined);
});

test('a refusal of systemd that passes delays the reboot only', async () => {
  await using node = await staged();
  node.machine.reboots.refusals.push('Call to RebootWithFlags failed: Access denied\n');
  await reboot(node);
  assert.deepEqual([reportOf(node)?.state, node.machine.count('systemctl kexec')], ['Proven', 2]);
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

test('an image that somebody takes out is put there again, three times in all', async () => {
  await using node = await staged();
  for (let times = 2; times <= 3; times += 1) {
    node.machine.stageByHand(undefined);
    await node.until(`time ${times}`, () => node.machine.count('kexec -s -l') === times && node.machine.reboots.image !== undefined);
    await node.machine.clock.sleep(5000);
  }
  node.machine.stageByHand(undefined);
  await node.until('it is given up', () => reportOf(node)?.reason === 'Displaced');
  assert.equal(node.machine.count('kexec -s -l'), 3);
});

test('an image that can not be taken out is said, also when the order is gone', async () => {
  await using node = await staged();
  node.machine.set('/proc/sys/kernel/kexec_load_disabled', '1');
  node.want([]);
  await node.until('it is said', () => reportOf(node)?.reason === 'UnstageFailed');
  assert.match(reportOf(node)?.message ?? '', /kexec_load_disabled=1/);
  node.machine.set('/proc/sys/kernel/kexec_load_disabled', '0');
  await node.until('it is taken out', () => node.machine.reboots.image === undefined && reportOf(node) === undefined);
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

for (const errno of ['ENOSPC', 'EROFS']) {
  test(`without a place for the journal (${errno}) nothing is staged and the node does not go down`, async () => {
    await using node = aNodeWithTarget();
    node.machine.disk.fails = errno;
    node.start();
    await order(node, { phase: 'Rebooting' });
    assert.deepEqual([saysOf(node), node.machine.asked], [['Refused', 'JournalUnwritable'], []]);
    node.machine.disk.fails = undefined;
    await node.until('it is proven', () => reportOf(node)?.state === 'Proven');
  });
}

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
  assert.deepEqual([saysOf(node), node.life.over], [['GoingDown', 'GoingDown'], true]);
});
