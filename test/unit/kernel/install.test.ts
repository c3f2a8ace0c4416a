import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KernelPatchError } from '../../../kernel/errors.ts';
import type { Host } from '../../../kernel/host.ts';
import { findPackageManager, isInstalling, readInstallLog, refuseSpace, startInstall } from '../../../kernel/install.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';
import { RELEASE } from '../../simulated/module.ts';

const MIB = 1024 * 1024;
const THERE = ['nsenter', '-t', '1', '-m', '-u', '-i', '-n', '-p', '--'];

function aHost(answer: { readonly exitCode: number; readonly stderr: string }, prints: (argv: readonly string[]) => string = () => '') {
  const ran: (readonly string[])[] = [];
  const host: Host = {
    ...new SimulatedMachine(simulatedClock()).host,
    run: async (argv) => {
      ran.push(argv);
      return answer;
    },
    ask: async (argv) => {
      ran.push(argv);
      return prints(argv);
    },
  };
  return { host, ran };
}

test('the package manager is a unit of the node’s systemd, so that it ends neither with the agent nor with a shutdown, and nothing of it is a shell’s', async () => {
  const { host, ran } = aHost({ exitCode: 0, stderr: '' });
  assert.equal(await startInstall(host, 'apt-get', { name: 'linux-image-x', version: '6.12.118-1' }), undefined);
  const [argv = []] = ran;
  assert.deepEqual(argv.slice(0, THERE.length + 1), [...THERE, 'systemd-run']);
  for (const option of ['--unit=kernelpatch-install.service', '--no-block', '--service-type=oneshot', '--property=KillSignal=SIGCONT', '--property=TimeoutStopSec=900', '--setenv=DEBIAN_FRONTEND=noninteractive', '--property=ExecStartPre=-/usr/bin/apt-get -q update']) assert.ok(argv.includes(option), option);
  assert.deepEqual([argv[argv.indexOf('--', THERE.length) + 1], ...argv.slice(-2)], ['/usr/bin/apt-get', 'install', 'linux-image-x=6.12.118-1']);
});

const ANSWERS: readonly (readonly [stderr: string, reason: string | undefined])[] = [
  ['Failed to start transient service unit: Unit kernelpatch-install.service was already loaded or has a fragment file.\n', undefined],
  ["nsenter: can't execute 'systemd-run': No such file or directory\n", 'NoSystemd'],
  ['nsenter: cannot open /proc/1/ns/mnt: Permission denied\n', 'PermissionDenied'],
  ['Failed to connect to bus: No such file or directory\n', 'InstallNotBegun'],
  ['', 'InstallNotBegun'],
];
for (const [stderr, reason] of ANSWERS) {
  test(`${JSON.stringify(stderr)} is ${reason ?? 'an installation that is under way'}`, async () => assert.equal((await startInstall(aHost({ exitCode: 1, stderr }).host, 'dnf', { name: 'kernel-core' }))?.reason, reason));
}

const STATES: readonly (readonly [shown: string, installing: boolean])[] = [
  ['ActiveState=activating\n', true], ['ActiveState=active\n', true], ['ActiveState=deactivating\n', true], ['ActiveState=inactive\n', false], ['ActiveState=failed\n', false], ['', true],
];
for (const [shown, installing] of STATES) {
  test(`${JSON.stringify(shown)} of the unit is ${installing ? 'an installation' : 'none'}`, async () => assert.equal(await isInstalling(aHost({ exitCode: 0, stderr: '' }, () => shown).host), installing));
}

test('an installation that can not be asked about counts as one', async () => {
  const { host } = aHost({ exitCode: 0, stderr: '' });
  assert.equal(await isInstalling({ ...host, ask: async () => Promise.reject(new KernelPatchError('CommandTimedOut', 'nsenter did not end within 30 s')) }), true);
});

test('of the log what was printed since then is read, all that journald has', async () => {
  const { host, ran } = aHost({ exitCode: 0, stderr: '' }, (argv) => (argv.includes('--sync') ? '' : 'E: Unable to locate package x\n'));
  assert.equal(await readInstallLog(host, '2026-11-24T12:00:00Z'), 'E: Unable to locate package x\n');
  assert.deepEqual(ran.map((argv) => argv.slice(THERE.length)), [['journalctl', '--sync'], ['journalctl', '--no-pager', '--quiet', '--output=cat', '--lines=200', '--since=@1795521600', '--unit=kernelpatch-install.service']]);
});

test('dpkg has the packages where it is, else dnf or yum', async () => {
  const machine = new SimulatedMachine(simulatedClock());
  machine.set('/usr/bin/dnf', '');
  machine.set('/usr/bin/yum', '');
  const found: unknown[] = [];
  for (const program of ['/usr/bin/apt-get', '/usr/bin/dnf', '/usr/bin/yum']) {
    found.push(await findPackageManager(machine.host));
    machine.files.delete(program);
  }
  const none = await findPackageManager(machine.host);
  assert.deepEqual([...found, typeof none === 'string' ? none : none.reason], ['apt-get', 'dnf', 'yum', 'NoPackageManager']);
});

const DISKS: readonly (readonly [what: string, free: Readonly<Record<string, number>>, says: RegExp | undefined])[] = [
  ['room everywhere', {}, undefined],
  ['a full root', { '/lib/modules': 511 * MIB }, /^the file system of \/lib\/modules has 511 MiB left, and a kernel may need 512/],
  ['just enough', { '/lib/modules': 512 * MIB, '/boot': 17 * MIB }, undefined],
  ['a full /boot', { '/boot': 15 * MIB }, /^the file system of \/boot has 15 MiB left/],
];
for (const [what, free, says] of DISKS) {
  test(`${what} is ${says === undefined ? 'enough' : 'too little'} for a kernel as large as the one that runs`, async () => {
    const machine = new SimulatedMachine(simulatedClock());
    for (const [path, bytes] of Object.entries(free)) machine.free.set(path, bytes);
    const refusal = await refuseSpace(machine.host, RELEASE);
    assert.equal(refusal?.reason, says && 'DiskFull');
    if (says !== undefined) assert.match(refusal?.message ?? '', says);
  });
}
