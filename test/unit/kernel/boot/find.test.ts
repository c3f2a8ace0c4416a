/** Which files of a node are given to kexec. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findKernelFiles } from '../../../../kernel/boot/find.ts';
import { KernelPatchError } from '../../../../kernel/errors.ts';
import { simulatedClock } from '../../../simulated/clock.ts';
import { SimulatedMachine } from '../../../simulated/host.ts';

const LAYOUTS: readonly (readonly [what: string, names: readonly string[], found: string])[] = [
  ['Debian', ['vmlinuz-6.12', 'initrd.img-6.12', 'config-6.12'], '/boot/initrd.img-6.12'],
  ['Fedora', ['vmlinuz-6.12', 'initramfs-6.12.img', 'System.map-6.12'], '/boot/initramfs-6.12.img'],
  ['SUSE', ['vmlinuz-6.12', 'initrd-6.12'], '/boot/initrd-6.12'],
  ['another kernel only', ['vmlinuz-6.11', 'initrd.img-6.11'], 'KernelMissing'],
  ['no initrd', ['vmlinuz-6.12', 'initrd.img-6.11'], 'InitrdMissing'],
];

for (const [what, names, found] of LAYOUTS) {
  test(`the files of a kernel in /boot, ${what}: ${found}`, async () => {
    const machine = new SimulatedMachine(simulatedClock());
    machine.set('/lib/modules/6.12/modules.dep', '');
    for (const name of names) machine.set(`/boot/${name}`, 'content');
    const files = await findKernelFiles(machine.host, '6.12');
    assert.equal('reason' in files ? files.reason : files.initrd, found);
  });
}

test('a /boot that can not be read is said with the errno', async () => {
  const { host } = new SimulatedMachine(simulatedClock());
  const failure = await findKernelFiles({ ...host, list: async () => Promise.reject(new KernelPatchError('HostUnreadable', '/boot can not be read: EIO')) }, '6.12');
  assert.ok('reason' in failure && failure.reason === 'BootUnreadable' && failure.message.includes('EIO'));
});
