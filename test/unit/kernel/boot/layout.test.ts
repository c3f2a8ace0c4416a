import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeBootLayoutReader } from '../../../../kernel/boot/layout.ts';
import type { NextBoot } from '../../../../kernel/boot/layout.ts';
import { KernelPatchError } from '../../../../kernel/errors.ts';
import { MACHINE_ID, RHEL_GRUB_CONFIG, aBootEntry, aDebianGrubConfig, aGrubEnvironment, debianBoot, rhelBoot } from '../../../simulated/boot.ts';
import type { GrubOptions } from '../../../simulated/boot.ts';
import { simulatedClock } from '../../../simulated/clock.ts';
import { SimulatedMachine } from '../../../simulated/host.ts';

const OLD = '6.12.107+deb13-cloud-amd64';
const NEW = '6.12.117+deb13-cloud-amd64';
const RHEL_OLD = '5.14.0-503.40.1.el9_5.x86_64';
const RHEL_NEW = '5.14.0-570.12.1.el9_6.x86_64';
const LOADER_INFO = '/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f';

function aMachine(files: ReadonlyMap<string, Buffer>): SimulatedMachine {
  const machine = new SimulatedMachine(simulatedClock());
  for (const path of machine.files.keys()) if (path.startsWith('/boot/')) machine.files.delete(path);
  for (const [path, bytes] of files) machine.files.set(path, bytes);
  return machine;
}

const debian = (options: GrubOptions = {}) => aMachine(debianBoot([NEW, OLD], options));
const rhel = () => aMachine(rhelBoot([RHEL_OLD, RHEL_NEW]));
const nextBootOf = async ({ host }: Pick<SimulatedMachine, 'host'>): Promise<NextBoot> => (await makeBootLayoutReader(host).look()).nextBoot;

function moved(files: ReadonlyMap<string, Buffer>, from: string, to: string): ReadonlyMap<string, Buffer> {
  return new Map([...files].map(([path, bytes]) => [path.startsWith(from) ? `${to}${path.slice(from.length)}` : path, bytes]));
}

const loaderInfo = (text: string) => Buffer.concat([Buffer.from([6, 0, 0, 0]), Buffer.from(`${text}\0`, 'utf16le')]);

interface Case {
  readonly machine: SimulatedMachine;
  readonly alter?: (machine: SimulatedMachine) => void;
  readonly release: string;
  readonly source: string | undefined;
  readonly says?: RegExp;
}

const CASES: Readonly<Record<string, Case>> = {
  'Debian starts its newest kernel': { machine: debian(), release: NEW, source: '/boot/grub/grub.cfg', says: /^GRUB starts "Debian GNU\/Linux"$/ },
  'Debian starts an older one once': {
    machine: debian(), alter: (m) => m.files.set('/boot/grub/grubenv', aGrubEnvironment({ next_entry: '1>2' })), release: OLD, source: '/boot/grub/grub.cfg', says: /with Linux 6\.12\.107.*" once, as grub-reboot asked for$/,
  },
  'RHEL starts its newest kernel': { machine: rhel(), release: RHEL_NEW, source: '/boot/grub2/grub.cfg', says: /Red Hat Enterprise Linux \(5\.14\.0-570/ },
  'RHEL starts the saved one': { machine: rhel(), alter: (m) => m.files.set('/boot/grub2/grubenv', aGrubEnvironment({ saved_entry: `${MACHINE_ID}-${RHEL_OLD}` })), release: RHEL_OLD, source: '/boot/grub2/grub.cfg' },
  'RHEL 8 with EFI has its configuration beside its boot loader': { machine: aMachine(moved(rhelBoot([RHEL_NEW]), '/boot/grub2/', '/boot/efi/EFI/redhat/')), release: RHEL_NEW, source: '/boot/efi/EFI/redhat/grub.cfg' },
  'a /boot that is a file system of its own has the same names': {
    machine: debian(), alter: (m) => m.set('/boot/grub/grub.cfg', aDebianGrubConfig([NEW, OLD]).replaceAll('/boot/vmlinuz', '/vmlinuz')), release: NEW, source: '/boot/grub/grub.cfg',
  },
  'a subvolume of btrfs too': { machine: debian(), alter: (m) => m.set('/boot/grub/grub.cfg', aDebianGrubConfig([NEW, OLD]).replaceAll('/boot/vmlinuz', '/@/boot/vmlinuz')), release: NEW, source: '/boot/grub/grub.cfg' },
  'a boot loader that says it is GRUB is read': { machine: debian(), alter: (m) => m.files.set(LOADER_INFO, loaderInfo('GRUB 2.12')), release: NEW, source: '/boot/grub/grub.cfg' },

  'a kernel that is gone is unknown': { machine: debian(), alter: (m) => m.files.delete(`/boot/vmlinuz-${NEW}`), release: 'unknown', source: '/boot/grub/grub.cfg', says: /^\/boot\/grub\/grub\.cfg: GRUB starts "Debian GNU\/Linux" with \/boot\/vmlinuz-6\.12\.117\S*, which is no installed kernel/ },
  'systemd-boot is unknown, whatever lies in /boot/grub': { machine: debian(), alter: (m) => m.files.set(LOADER_INFO, loaderInfo('systemd-boot 257.9-1')), release: 'unknown', source: undefined, says: /boots with systemd-boot 257\.9-1/ },
  'no configuration is unknown': { machine: debian(), alter: (m) => m.files.delete('/boot/grub/grub.cfg'), release: 'unknown', source: undefined, says: /no grub\.cfg in \/boot\/grub, \/boot\/grub2/ },
  'two configurations are unknown': { machine: debian(), alter: (m) => m.set('/boot/grub2/grub.cfg', RHEL_GRUB_CONFIG), release: 'unknown', source: undefined, says: /in \/boot\/grub and \/boot\/grub2: remove/ },
  'a configuration written by hand is unknown': { machine: debian(), alter: (m) => m.set('/boot/grub/grub.cfg', 'configfile (hd1)/grub.cfg'), release: 'unknown', source: '/boot/grub/grub.cfg', says: /^\/boot\/grub\/grub\.cfg: line 1 has the command "configfile"/ },
  'a configuration that is too large is unknown': { machine: debian(), alter: (m) => m.set('/boot/grub/grub.cfg', '#'.repeat(300_000)), release: 'unknown', source: '/boot/grub/grub.cfg', says: /larger than 262144 bytes/ },
  'more entries than anybody has are unknown': {
    machine: rhel(),
    alter(m) {
      for (let index = 0; index < 300; index += 1) m.set(`/boot/loader/entries/${index}.conf`, aBootEntry(RHEL_OLD));
    },
    release: 'unknown', source: undefined, says: /has 302 entries, more than 256/,
  },
};

for (const [what, { machine, alter, release, source, says = /./ }] of Object.entries(CASES)) {
  test(what, async () => {
    alter?.(machine);
    const nextBoot = await nextBootOf(machine);
    assert.deepEqual([nextBoot.release, nextBoot.source], [release, source], nextBoot.message);
    assert.match(nextBoot.message, says);
  });
}

test('a file that can not be read leaves the next boot unknown, with the reason, and the kernels known', async () => {
  const { host } = debian();
  for (const broken of ['/boot/grub/grub.cfg', '/boot/grub/grubenv']) {
    const read = async (path: string, limit: number) => {
      if (path === broken) throw new KernelPatchError('HostUnreadable', `${path} can not be read: EIO`);
      return host.read(path, limit);
    };
    const { kernels, nextBoot } = await makeBootLayoutReader({ ...host, read }).look();
    assert.deepEqual([nextBoot.release, kernels.length], ['unknown', 2]);
    assert.match(nextBoot.message, new RegExp(`${broken} can not be read: EIO`));
  }
});

test('files are read again when one of them has changed, and only then', async () => {
  const machine = rhel();
  const { host } = machine;
  const reads: string[] = [];
  const reader = makeBootLayoutReader({ ...host, read: async (path, limit) => {
    if (path !== LOADER_INFO) reads.push(path);
    return host.read(path, limit);
  } });
  const look = async () => {
    reads.length = 0;
    const { nextBoot } = await reader.look();
    return [nextBoot.release, reads.length];
  };
  assert.deepEqual(await look(), [RHEL_NEW, 4]);
  assert.deepEqual(await look(), [RHEL_NEW, 0]);
  machine.files.set('/boot/grub2/grubenv', aGrubEnvironment({ saved_entry: `${MACHINE_ID}-${RHEL_OLD}` }));
  assert.deepEqual(await look(), [RHEL_OLD, 4]);
  machine.files.delete(`/boot/vmlinuz-${RHEL_OLD}`);
  assert.deepEqual(await look(), ['unknown', 4]);
  machine.files.delete(`/boot/loader/entries/${MACHINE_ID}-${RHEL_OLD}.conf`);
  assert.deepEqual(await look(), [RHEL_NEW, 3]);
  machine.set('/boot/grub2/custom.cfg', 'set default=1');
  assert.deepEqual(await look(), ['unknown', 3]);
  assert.deepEqual(await look(), ['unknown', 0]);
});
