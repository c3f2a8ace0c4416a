/** The real agent makes the fixed kernel the boot loader's default, once it has proven it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JOURNAL_PATH } from '../../../../daemonset/journal.ts';
import { ADVANCED_ID, advancedID } from '../../../simulated/boot.ts';
import { RELEASE } from '../../../simulated/module.ts';
import type { SimulatedNode } from '../../../simulated/node.ts';
import { TARGET, anOrder } from '../../../simulated/reboot.ts';
import { aNodeWithTarget, order, reboot, reportOf, saysOf } from './ordered.ts';

const [DEFAULT, ENTRY] = [RELEASE, TARGET].map((release) => `${ADVANCED_ID}>${advancedID(release)}`) as [string, string];
const byKexec = { setDefault: true } as const;
const byFirmware = { method: 'Firmware', setDefault: true } as const;

/** Its default is the kernel that runs. */
async function aStartedNode(wanted = 'saved'): Promise<SimulatedNode> {
  const node = aNodeWithTarget();
  node.machine.grub.update(wanted);
  node.machine.grub.set('saved_entry', DEFAULT);
  node.start();
  await node.settle();
  return node;
}

const saved = ({ machine: { grub } }: SimulatedNode) => [grub.variable('saved_entry'), grub.variable('next_entry')];

test('after a kexec the kernel is proven before it becomes the default, and the report that says Proven has it as the next boot', async () => {
  await using node = await aStartedNode();
  await reboot(node, byKexec);
  assert.deepEqual([saysOf(node), node.object.status?.nextBoot?.release, saved(node)], [['Proven', 'ByKexec'], TARGET, [ENTRY, '']]);
  assert.deepEqual(node.machine.asked, ['kexec -s -l', 'systemctl kexec', `grub-set-default ${ENTRY}`]);
  await node.machine.clock.sleep(600_000);
  assert.equal(node.machine.count(`grub-set-default ${ENTRY}`), 1);
});

test('a kernel that panics after the kexec comes home to the earlier default', async () => {
  await using node = await aStartedNode();
  node.machine.reboots.panics.add(TARGET);
  await reboot(node, byKexec);
  assert.deepEqual([saysOf(node), saved(node)], [['CameBackByFirmware', 'KexecFailed'], [DEFAULT, '']]);
});

test('by the firmware the kernel is started once, told as the last thing before the node goes down, and becomes the default when it is proven', async () => {
  await using node = await aStartedNode();
  await order(node, byFirmware);
  node.want([], { reboot: anOrder({ ...byFirmware, phase: 'Draining' }) });
  await node.machine.clock.sleep(60_000);
  assert.deepEqual([saysOf(node), saved(node)], [['Staged', 'Staged'], [DEFAULT, '']]);
  await reboot(node, byFirmware);
  assert.deepEqual([saysOf(node), saved(node), node.machine.files.has(JOURNAL_PATH)], [['Proven', 'ByFirmware'], [ENTRY, ''], false]);
  assert.deepEqual(node.machine.asked, [`grub-reboot ${ENTRY}`, 'systemctl reboot', `grub-set-default ${ENTRY}`]);
});

test('a kernel that panics when the firmware starts it once comes home to the earlier default too', async () => {
  await using node = await aStartedNode();
  node.machine.reboots.panics.add(TARGET);
  await reboot(node, byFirmware);
  assert.deepEqual([saysOf(node), node.object.status?.kernel.release, saved(node)], [['WrongKernel', 'WrongRelease'], RELEASE, [DEFAULT, '']]);
  assert.match(reportOf(node)?.message ?? '', /was to start at least once: .* may not have come to run/);
});

test('a default that can not be set leaves the node proven, and the report says what to write', async () => {
  await using node = await aStartedNode('1>2');
  await reboot(node, byKexec);
  assert.deepEqual(saysOf(node), ['Proven', 'DefaultNotSaved']);
  assert.match(reportOf(node)?.message ?? '', /started by kexec for this order; it is not the default of the boot loader: .*GRUB_DEFAULT=saved in \/etc\/default\/grub, then run update-grub/);
  assert.equal(node.object.status?.nextBoot?.unsettable?.reason, 'DefaultNotSaved', 'which stays when the order is gone');
  await node.machine.clock.sleep(600_000);
  assert.deepEqual(saysOf(node), ['Proven', 'DefaultNotSaved']);
});

test('where the kernel can not be started once the order is refused while nobody is disturbed', async () => {
  await using node = await aStartedNode();
  node.machine.set('/proc/1/mountinfo', '22 1 254:1 / / rw - ext4 /dev/mapper/vg-root rw');
  await order(node, byFirmware);
  assert.deepEqual([saysOf(node), node.machine.asked], [['Refused', 'GrubenvNotWritable'], []]);
});

test('a shutdown that is refused takes the kernel to be started once back, and it is told again with the next try', async () => {
  await using node = await aStartedNode();
  node.machine.reboots.refusals.push('Call to RebootWithFlags failed: Access denied\n');
  await order(node, { ...byFirmware, phase: 'Rebooting' });
  assert.deepEqual([saysOf(node), saved(node), node.machine.files.has(JOURNAL_PATH)], [['Refused', 'ShutdownRefused'], [DEFAULT, ''], false]);
  await reboot(node, byFirmware);
  assert.deepEqual([saysOf(node), saved(node)], [['Proven', 'ByFirmware'], [ENTRY, '']]);
});

test('without setDefault the boot loader is not touched', async () => {
  await using node = await aStartedNode();
  await reboot(node);
  assert.deepEqual([saysOf(node), saved(node)], [['Proven', 'ByKexec'], [DEFAULT, '']]);
});
