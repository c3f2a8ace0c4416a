import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeInstalledReader, pairKernels } from '../../../../kernel/boot/installed.ts';
import type { Fault } from '../../../../kernel/boot/installed.ts';
import { KernelPatchError } from '../../../../kernel/errors.ts';
import { aBzImage, debianBoot } from '../../../simulated/boot.ts';
import { simulatedClock } from '../../../simulated/clock.ts';
import { SimulatedMachine } from '../../../simulated/host.ts';
import { RELEASE } from '../../../simulated/module.ts';

const LAYOUTS: Readonly<Record<string, { boot: readonly string[]; modules: readonly string[]; kernels: readonly string[] }>> = {
  'Debian, with two kernels': {
    boot: ['System.map-6.12.107+deb13-amd64', 'config-6.12.107+deb13-amd64', 'grub', 'initrd.img-6.12.107+deb13-amd64', 'initrd.img-6.12.117+deb13-amd64', 'vmlinuz-6.12.107+deb13-amd64', 'vmlinuz-6.12.117+deb13-amd64'],
    modules: ['6.12.117+deb13-amd64', '6.12.107+deb13-amd64'],
    kernels: ['6.12.107+deb13-amd64 vmlinuz-6.12.107+deb13-amd64 initrd.img-6.12.107+deb13-amd64', '6.12.117+deb13-amd64 vmlinuz-6.12.117+deb13-amd64 initrd.img-6.12.117+deb13-amd64'],
  },
  'RHEL, without its rescue and kdump images': {
    boot: ['efi', 'grub2', 'initramfs-0-rescue-3f0c9a7b.img', 'initramfs-5.14.0-570.el9.x86_64.img', 'initramfs-5.14.0-570.el9.x86_64kdump.img', 'loader', 'vmlinuz-0-rescue-3f0c9a7b', 'vmlinuz-5.14.0-570.el9.x86_64', '.vmlinuz-5.14.0-570.el9.x86_64.hmac'],
    modules: ['5.14.0-570.el9.x86_64'],
    kernels: ['5.14.0-570.el9.x86_64 vmlinuz-5.14.0-570.el9.x86_64 initramfs-5.14.0-570.el9.x86_64.img'],
  },
  'SUSE, with a vmlinux for debuggers': {
    boot: ['initrd', 'initrd-6.4.0-150600.23.7-default', 'vmlinux-6.4.0-150600.23.7-default.gz', 'vmlinuz', 'vmlinuz-6.4.0-150600.23.7-default'],
    modules: ['6.4.0-150600.23.7-default'],
    kernels: ['6.4.0-150600.23.7-default vmlinuz-6.4.0-150600.23.7-default initrd-6.4.0-150600.23.7-default'],
  },
  'SUSE on arm64': { boot: ['Image-6.4.0-default', 'initrd-6.4.0-default'], modules: ['6.4.0-default'], kernels: ['6.4.0-default Image-6.4.0-default initrd-6.4.0-default'] },
  'Debian on ppc64le': { boot: ['initrd.img-6.12.107-powerpc64le', 'vmlinux-6.12.107-powerpc64le'], modules: ['6.12.107-powerpc64le'], kernels: ['6.12.107-powerpc64le vmlinux-6.12.107-powerpc64le initrd.img-6.12.107-powerpc64le'] },
  'a plain one, by hand': { boot: ['bzImage-6.12.0', 'initrd-6.12.0.img'], modules: ['6.12.0'], kernels: ['6.12.0 bzImage-6.12.0 initrd-6.12.0.img'] },
  'a directory with a vmlinuz and a vmlinux: the first': { boot: ['vmlinux-6.12.0', 'vmlinuz-6.12.0'], modules: ['6.12.0'], kernels: ['6.12.0 vmlinuz-6.12.0 undefined'] },
  'images without modules and modules without an image: none': { boot: ['vmlinuz-6.1.0', 'initrd.img-6.1.0'], modules: ['6.12.0'], kernels: [] },
  'names that are no releases: none': { boot: ['vmlinuz-linux', 'vmlinuz-$(reboot)', `vmlinuz-6.1${'0'.repeat(80)}`], modules: ['linux', '$(reboot)', `6.1${'0'.repeat(80)}`], kernels: [] },
};

for (const [what, { boot, modules, kernels }] of Object.entries(LAYOUTS)) {
  test(`the kernels of ${what}`, () => {
    assert.deepEqual(pairKernels(boot, modules).map(({ release, image, initrd }) => `${release} ${image} ${initrd}`), kernels);
  });
}

const IMAGE = `/boot/vmlinuz-${RELEASE}`;
const INITRD = `/boot/initrd.img-${RELEASE}`;

const FAULTS: Readonly<Record<string, { alter: (machine: SimulatedMachine) => void; reason: Fault['reason'] | undefined; says?: RegExp }>> = {
  'a kernel with all of it': { alter: () => {}, reason: undefined },
  'an image whose format says nothing': { alter: (m) => m.set(IMAGE, 'compressed'), reason: undefined },
  'an image that is cut short': { alter: (m) => m.files.set(IMAGE, aBzImage().subarray(0, 2000)), reason: 'ImageTruncated', says: /vmlinuz-6\.12\.107\S* is cut short: it has 2000 bytes and must have at least 3072\. Install/ },
  'an image that is empty': { alter: (m) => m.files.set(IMAGE, Buffer.alloc(0)), reason: 'ImageTruncated', says: /has 0 bytes/ },
  'no initrd': { alter: (m) => m.files.delete(INITRD), reason: 'InitrdMissing', says: /initrd\.img-6\.12\.107\S*, initramfs-6\.12\.107\S*\.img, initrd-6\.12\.107.*update-initramfs -c -k 6\.12\.107/ },
  'an empty initrd': { alter: (m) => m.files.set(INITRD, Buffer.alloc(0)), reason: 'InitrdEmpty', says: /initrd\.img-6\.12\.107\S* is empty/ },
};

for (const [what, { alter, reason, says = /^$/ }] of Object.entries(FAULTS)) {
  test(`${what} is ${reason ?? 'without a fault'}`, async () => {
    const machine = new SimulatedMachine(simulatedClock());
    alter(machine);
    const [kernel] = await makeInstalledReader(machine.host).look();
    assert.deepEqual([kernel?.release, kernel?.image, kernel?.fault?.reason], [RELEASE, IMAGE, reason]);
    assert.match(kernel?.fault?.message ?? '', says);
  });
}

test('an image or initrd that can not be read is named with why, and a link that leads nowhere too', async () => {
  const { host } = new SimulatedMachine(simulatedClock());
  const failing = (path: string, call: 'stat' | 'readStart') => ({
    ...host,
    [call]: async (asked: string, bytes: number) => {
      if (asked === path) throw new KernelPatchError('HostUnreadable', `${path} can not be read: EIO`);
      return call === 'stat' ? host.stat(asked) : host.readStart(asked, bytes);
    },
  });
  for (const [path, call, reason] of [[IMAGE, 'stat', 'ImageUnreadable'], [IMAGE, 'readStart', 'ImageUnreadable'], [INITRD, 'stat', 'InitrdUnreadable']] as const) {
    const [kernel] = await makeInstalledReader(failing(path, call)).look();
    assert.deepEqual(kernel?.fault, { reason, message: `${path} can not be read: EIO` });
  }
  const [dangling] = await makeInstalledReader({ ...host, stat: async (path) => (path === IMAGE ? undefined : host.stat(path)) }).look();
  assert.deepEqual(dangling?.fault, { reason: 'ImageUnreadable', message: `${IMAGE} is a link that leads nowhere` });
});

test('an image is read when it has changed only, and at most the protocol\'s 64 kernels are listed', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  for (const [path, bytes] of debianBoot(Array.from({ length: 70 }, (_, index) => `6.12.${100 + index}`))) machine.files.set(path, bytes);
  const read: string[] = [];
  const { host } = machine;
  const reader = makeInstalledReader({ ...host, readStart: async (path, bytes) => {
    read.push(path);
    return host.readStart(path, bytes);
  } });
  assert.equal((await reader.look()).length, 64);
  await reader.look();
  assert.equal(read.length, 64);
  machine.files.set('/boot/vmlinuz-6.12.107', aBzImage().subarray(0, 2500));
  const kernel = (await reader.look()).find(({ release }) => release === '6.12.107');
  assert.deepEqual([kernel?.fault?.reason, read.length], ['ImageTruncated', 65]);
});
