/** Another kernel is made the one that GRUB starts, by GRUB's own programs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forgetOnce, makeDefault, planOnce, startOnce } from '../../../../kernel/boot/setting.ts';
import { makeBootLayoutReader } from '../../../../kernel/boot/layout.ts';
import { KernelPatchError } from '../../../../kernel/errors.ts';
import type { Host } from '../../../../kernel/host.ts';
import { ADVANCED_ID, MACHINE_ID, aGrubEnvironment, advancedID, rhelBoot } from '../../../simulated/boot.ts';
import { simulatedClock } from '../../../simulated/clock.ts';
import { SimulatedMachine } from '../../../simulated/host.ts';
import { RELEASE } from '../../../simulated/module.ts';
import { TARGET } from '../../../simulated/reboot.ts';

const entryOf = (release: string) => `${ADVANCED_ID}>${advancedID(release)}`;
const RHEL_OLD = '5.14.0-503.40.1.el9_5.x86_64';
const RHEL_NEW = '5.14.0-570.12.1.el9_6.x86_64';

/** Debian with both kernels installed, the older one saved as the default. */
function debian(wanted = 'saved'): SimulatedMachine {
  const machine = new SimulatedMachine(simulatedClock());
  machine.installKernel(TARGET);
  machine.grub.update(wanted);
  machine.grub.set('saved_entry', entryOf(RELEASE));
  return machine;
}

const nextRelease = async (host: Host) => (await makeBootLayoutReader(host).look()).nextBoot.release;

test('the default is set by the ids of its entry, which name it whatever is installed later, and safe to repeat', async () => {
  const { host, asked, grub } = debian();
  assert.equal(await makeDefault(host, TARGET), undefined);
  assert.deepEqual([asked, await nextRelease(host)], [[`grub-set-default ${entryOf(TARGET)}`], TARGET]);
  assert.equal(await makeDefault(host, TARGET), undefined);
  assert.equal(asked.length, 1, 'where it is so, nobody is asked');
  assert.equal(grub.variable('saved_entry'), entryOf(TARGET));
});

test('the default is not what somebody has GRUB start once, and that stays', async () => {
  const { host, grub } = debian();
  grub.set('next_entry', entryOf(TARGET));
  assert.equal(await makeDefault(host, TARGET), undefined);
  assert.deepEqual([grub.variable('saved_entry'), grub.variable('next_entry')], [entryOf(TARGET), entryOf(TARGET)]);
});

test('where grub.cfg has its own default, the reason says what to write, and nothing is done', async () => {
  const { host, asked } = debian('1>2');
  const failure = await makeDefault(host, TARGET);
  assert.equal(failure?.reason, 'DefaultNotSaved');
  assert.match(failure.message, /set GRUB_DEFAULT=saved in \/etc\/default\/grub, then run update-grub/);
  assert.deepEqual(asked, []);
  const { nextBoot } = await makeBootLayoutReader(host).look();
  assert.equal(nextBoot.unsettable?.reason, 'DefaultNotSaved', 'it is known before');
  assert.equal((await makeBootLayoutReader(debian().host).look()).nextBoot.unsettable, undefined);
});

test('the newest kernel is the default of such a grub.cfg, so nothing is missing', async () => {
  const { host, asked } = debian('0');
  assert.deepEqual([await makeDefault(host, TARGET), asked], [undefined, []]);
});

const TROUBLES: Readonly<Record<string, readonly [reason: string, says: RegExp, alter: (machine: SimulatedMachine) => void, run?: Host['run']]>> = {
  'a menu without the kernel': ['NoMenuEntry', /run update-grub/, (machine) => { machine.files.delete(`/boot/vmlinuz-${TARGET}`); machine.grub.update('saved'); machine.installKernel(TARGET); }],
  'a node without the program': ['GrubProgramMissing', /no grub-set-default on the node .*install grub2-common/, ({ grub }) => grub.prints.push('nsenter: failed to execute grub-set-default: No such file or directory\n')],
  'a program that fails': ['GrubProgramFailed', /grub-editenv: error: cannot open/, ({ grub }) => grub.prints.push("/usr/bin/grub-editenv: error: cannot open `/boot/grub/grubenv': Read-only file system.\n")],
  'a program that works and changes nothing': ['DefaultNotSet', /has worked, and \/boot\/grub says that GRUB starts another kernel/, () => {}, async () => ({ exitCode: 0, stderr: '' })],
  'a program that does not end': ['CommandTimedOut', /did not end/, () => {}, async () => Promise.reject(new KernelPatchError('CommandTimedOut', 'nsenter did not end within 30 s'))],
  'systemd-boot': ['BootLoaderUnknown', /systemd-boot/, ({ files }) => files.set('/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f', Buffer.from('0000systemd-boot 257', 'utf16le').subarray(4))],
};
for (const [what, [reason, says, alter, run]] of Object.entries(TROUBLES)) {
  test(`${what} is ${reason}`, async () => {
    const machine = debian();
    alter(machine);
    const failure = await makeDefault({ ...machine.host, ...(run && { run }) }, TARGET);
    assert.equal(failure?.reason, reason);
    assert.match(failure.message, says);
    assert.equal(machine.grub.variable('saved_entry'), entryOf(RELEASE));
  });
}

for (const wanted of ['saved', '1>2']) {
  test(`another kernel is started once, with GRUB_DEFAULT=${wanted}, and the default stays`, async () => {
    const { host, grub, reboots } = debian(wanted);
    reboots.byDefault = RELEASE;
    const once = await planOnce(host, TARGET);
    assert.ok('needed' in once && once.needed);
    assert.equal(await nextRelease(host), RELEASE, 'only looked at');
    assert.deepEqual([await startOnce(host, TARGET, once), await startOnce(host, TARGET, once), await nextRelease(host)], [undefined, undefined, TARGET]);
    assert.deepEqual(await planOnce(host, TARGET), { needed: false });
    assert.deepEqual([grub.start(), await nextRelease(host)], [TARGET, RELEASE]);
  });
}

test('what was to be started once is taken back, safe to repeat; another kernel of somebody else stays', async () => {
  const { host, grub } = debian();
  grub.set('next_entry', entryOf(TARGET));
  assert.deepEqual([await forgetOnce(host, TARGET), await forgetOnce(host, TARGET), grub.variable('next_entry')], [undefined, undefined, '']);
  grub.set('next_entry', entryOf(RELEASE));
  assert.deepEqual([await forgetOnce(host, TARGET), grub.variable('next_entry')], [undefined, entryOf(RELEASE)]);
});

test('a kernel is not started once where GRUB can not forget it, since one that panics would be started for ever', async () => {
  for (const mount of ['- ext4 /dev/mapper/vg-root rw', '- btrfs /dev/sda2 rw', '- ext4 /dev/md0 rw']) {
    const machine = debian();
    machine.set('/proc/1/mountinfo', `22 1 254:1 / / rw,relatime shared:1 ${mount}`);
    const once = await planOnce(machine.host, TARGET);
    assert.ok('reason' in once && once.reason === 'GrubenvNotWritable', mount);
    assert.equal(await makeDefault(machine.host, TARGET), undefined, 'a default is only read by it');
  }
});

test('nor where the name by which it is mounted does not show a volume, and sysfs does', async () => {
  for (const [source, kind] of [['/dev/vg0/root', 'dm/name'], ['/dev/root', 'md/level']] as const) {
    const machine = debian();
    machine.set('/proc/1/mountinfo', `22 1 254:1 / / rw,relatime shared:1 - ext4 ${source} rw`);
    assert.ok('needed' in (await planOnce(machine.host, TARGET)), 'a partition');
    machine.set(`/sys/dev/block/254:1/${kind}`, '');
    const once = await planOnce(machine.host, TARGET);
    assert.ok('reason' in once && once.reason === 'GrubenvNotWritable', source);
  }
});

test('the mount of the longest path counts, the last of those', async () => {
  const machine = debian();
  const mountinfo = ['22 1 0:20 / / rw - btrfs /dev/sda2 rw', '30 22 8:1 / /boot rw - btrfs /dev/sda3 rw', '30 22 8:1 / /boot rw,relatime shared:2 master:3 - xfs /dev/sda1 rw', '31 22 0:30 / /boot/grubby rw - tmpfs tmpfs rw', '32 22 8:9 / /home rw - btrfs /dev/sda9 rw'];
  machine.set('/proc/1/mountinfo', mountinfo.join('\n'));
  assert.ok('needed' in (await planOnce(machine.host, TARGET)));
  machine.files.delete('/proc/1/mountinfo');
  const once = await planOnce(machine.host, TARGET);
  assert.ok('reason' in once && once.message.includes('where /boot/grub is mounted can not be read'));
});

test('on the RHEL family the programs have a 2 in their names, and an entry is the name of its file', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  for (const path of machine.files.keys()) if (path.startsWith('/boot/')) machine.files.delete(path);
  for (const [path, bytes] of rhelBoot([RHEL_OLD, RHEL_NEW])) machine.files.set(path, bytes);
  machine.files.set('/boot/grub2/grubenv', aGrubEnvironment({ saved_entry: `${MACHINE_ID}-${RHEL_OLD}` }));
  const asked: string[] = [];
  const run: Host['run'] = async (argv) => {
    asked.push(argv.slice(argv.indexOf('--') + 1).join(' '));
    machine.files.set('/boot/grub2/grubenv', aGrubEnvironment({ saved_entry: argv.at(-1) ?? '' }));
    return { exitCode: 0, stderr: '' };
  };
  assert.equal(await makeDefault({ ...machine.host, run }, RHEL_NEW), undefined);
  assert.deepEqual([asked, await nextRelease(machine.host)], [[`grub2-set-default ${MACHINE_ID}-${RHEL_NEW}`], RHEL_NEW]);
});
