import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Host } from '../../../kernel/host.ts';
import { describeDownError, findInhibitor, goDown, refuseInhibited } from '../../../kernel/shutdown.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';

/** As systemd 249 to 258, and nsenter of util-linux and of busybox, print it. */
const PRINTED: readonly (readonly [stderr: string, reason: string | undefined])[] = [
  ["Failed to kexec reboot system via logind: There's already a shutdown or sleep operation in progress\n", undefined],
  ['Call to RebootWithFlags failed: Operation already in progress\n', undefined],
  ['Failed to kexec reboot system via logind: Access denied\n', 'ShutdownRefused'],
  ['Call to RebootWithFlags failed: Access denied\n', 'ShutdownRefused'],
  ['Failed to connect to bus: No such file or directory\n', 'ShutdownRefused'],
  ['No kexec kernel loaded and autodetection failed.\nAutomatic loading works only on systems booted with EFI.\n', 'ImageGone'],
  ['/usr/sbin/kexec is not available: No such file or directory\n', 'ImageGone'],
  ['nsenter: cannot open /proc/1/ns/mnt: Permission denied\n', 'PermissionDenied'],
  ["nsenter: can't open '/proc/1/ns/ipc': Permission denied\n", 'PermissionDenied'],
  ["nsenter: reassociate to namespace 'ns/ipc' failed: Operation not permitted\n", 'PermissionDenied'],
  ['nsenter: failed to execute systemctl: No such file or directory\n', 'NoSystemd'],
  ["nsenter: can't execute 'systemctl': No such file or directory\n", 'NoSystemd'],
  ["env: 'systemctl': No such file or directory\n", 'NoSystemd'],
  ['', 'ShutdownRefused'],
];

for (const [stderr, reason] of PRINTED) test(`${JSON.stringify(stderr)} is ${reason ?? 'a node that goes down'}`, () => assert.equal(describeDownError(stderr)?.reason, reason));

async function commandOf(method: 'Kexec' | 'Firmware'): Promise<readonly string[]> {
  const machine = new SimulatedMachine(simulatedClock());
  let ran: readonly string[] = [];
  const host: Host = {
    ...machine.host,
    run: async (argv) => {
      ran = argv;
      return { exitCode: 0, stderr: '' };
    },
  };
  assert.equal(await goDown(host, method), undefined);
  return ran;
}

test('systemctl is run where the node’s init is, and a reboot by the firmware is never made a kexec or a soft reboot', async () => {
  const there = ['nsenter', '-t', '1', '-m', '-u', '-i', '-n', '-p', '--'];
  assert.deepEqual(await commandOf('Kexec'), [...there, 'systemctl', 'kexec']);
  assert.deepEqual(await commandOf('Firmware'), [...there, 'env', 'SYSTEMCTL_SKIP_AUTO_KEXEC=1', 'SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT=1', 'systemctl', 'reboot']);
});

test('a systemctl that is ended by the shutdown which it has asked for was heard', async () => {
  const { host } = new SimulatedMachine(simulatedClock());
  for (const [exitCode, stderr] of [[128, 'nsenter was ended by SIGTERM'], [143, '']] as const) assert.equal(await goDown({ ...host, run: async () => ({ exitCode, stderr }) }, 'Kexec'), undefined);
  assert.equal((await goDown({ ...host, run: async () => ({ exitCode: 1, stderr: '' }) }, 'Kexec'))?.reason, 'ShutdownRefused');
});

function withInhibitors(...files: readonly string[]): Host {
  const machine = new SimulatedMachine(simulatedClock());
  for (const [index, text] of files.entries()) {
    machine.set(`/run/systemd/inhibit/${index}`, `# This is private data. Do not parse.\n${text}`);
    machine.set(`/run/systemd/inhibit/${index}.ref`, '');
  }
  return machine.host;
}

const KUBELET = 'WHAT=shutdown\nMODE=delay\nUID=0\nPID=700\nWHO=kubelet\nWHY="Kubelet needs time to handle node shutdown"';
const SLEEP = 'WHAT=sleep:idle\nMODE=block\nUID=0\nPID=701\nWHO=player\nWHY=music';
const WEAK = 'WHAT=shutdown\nMODE=block-weak\nUID=0\nPID=702\nWHO=session\nWHY=work';
const PACKAGES = 'WHAT=handle-power-key:shutdown\nMODE=block\nUID=0\nPID=812\nPIDFDID=12\nWHO="Package Manager"\nWHY="a package is being installed"\nFIFO=/run/systemd/inhibit/3.ref';

test('only what blocks a shutdown stands in its way, and is named', async () => {
  assert.equal(await findInhibitor(withInhibitors()), undefined);
  assert.equal(await findInhibitor(withInhibitors(KUBELET, SLEEP, WEAK)), undefined);
  const found = await findInhibitor(withInhibitors(KUBELET, SLEEP, WEAK, PACKAGES));
  assert.deepEqual(found, { who: 'Package Manager', why: 'a package is being installed', pid: '812' });
  assert.match(refuseInhibited(found ?? { who: '', why: '', pid: '' }).message, /Package Manager \(PID 812\)/);
});

test('whatever those files have, reading them never throws', async () => {
  await fc.assert(fc.asyncProperty(fc.string({ maxLength: 80 }), async (text) => void (await findInhibitor(withInhibitors(`MODE=block\n${text}\nWHAT=shutdown`)))), { numRuns: 1000 });
});
