/** What keeps the real agent from rebooting a simulated machine, how it is told, and that it goes on when that is gone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TARGET } from '../../../simulated/reboot.ts';
import { INHIBITOR, aNodeWithTarget, kinds, order, reboot, reportOf, saysOf, staged } from './ordered.ts';

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
  await using node = aNodeWithTarget();
  node.machine.set('/run/systemd/inhibit/1', INHIBITOR);
  node.start();
  await order(node);
  assert.deepEqual(saysOf(node), ['Refused', 'Inhibited']);
  assert.match(reportOf(node)?.message ?? '', /Package Manager \(PID 812\).*a package is being installed/);
  node.machine.files.delete('/run/systemd/inhibit/1');
  await node.until('it is staged', () => reportOf(node)?.state === 'Staged');
  node.machine.set('/run/systemd/inhibit/1', INHIBITOR);
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
