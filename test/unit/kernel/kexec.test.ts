import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { codeOf } from '../../../kernel/errors.ts';
import type { Errno } from '../../../kernel/errno.ts';
import type { Host } from '../../../kernel/host.ts';
import { parseKexecErrno, readKexecFacts, stageKernel, unstageKernel } from '../../../kernel/kexec.ts';
import type { KexecFacts } from '../../../kernel/kexec.ts';
import { simulatedClock } from '../../simulated/clock.ts';
import { SimulatedMachine } from '../../simulated/host.ts';
import { TARGET } from '../../simulated/reboot.ts';

/** As kexec-tools 2.0.25 to 2.0.31 print it. */
const PRINTED: readonly (readonly [stderr: string, errno: Errno])[] = [
  ['syscall kexec_file_load not available.\n', 'ENOSYS'],
  ['kexec_file_load failed: Operation not permitted\n', 'EPERM'],
  ['kexec_file_load failed: Key was rejected by service\n', 'EKEYREJECTED'],
  ['kexec_file_load failed: Required key not available\n', 'ENOKEY'],
  ['kexec_file_load failed: No data available\n', 'ENODATA'],
  ['kexec_file_load failed: Package not installed\n', 'ENOPKG'],
  ['kexec_file_load failed: Accessing a corrupted shared library\n', 'ELIBBAD'],
  ['kexec_file_load failed: Cannot assign requested address\n', 'EADDRNOTAVAIL'],
  ['kexec_file_load failed: Cannot allocate memory\n', 'ENOMEM'],
  ['kexec_file_load failed: Text file busy\n', 'ETXTBSY'],
  ['kexec_file_load failed: File too large\n', 'EFBIG'],
  ['kexec_load failed: Device or resource busy\nentry       = 0x7f5f9f6c0 flags = 0x3e0000\nnr_segments = 1\nsegment[0].buf   = 0x5566\nsegment[0].memsz = 0x1000\n', 'EBUSY'],
  ['kexec_load failed: Function not implemented\nentry       = 0x0 flags = 0x3e0000\nnr_segments = 0\n', 'ENOSYS'],
  ['kexec unload failed: Operation not permitted\n', 'EPERM'],
  ['kexec_file_load(unload) failed: Operation not permitted\n', 'EPERM'],
  ['Failed to open file /host/boot/vmlinuz-6.12:No such file or directory\n', 'ENOENT'],
  ['Could not open initrd file /host/boot/initrd.img-6.12:Permission denied\nCannot load /host/boot/vmlinuz-6.12\n', 'EACCES'],
  ["Cannot open `/host/boot/vmlinuz-6.12': Input/output error\n", 'EIO'],
  ['Cannot determine the file type of /host/boot/vmlinuz-6.12\n', 'ENOEXEC'],
  ['Could not find a free area of memory of 0x3c00000 bytes...\nlocate_hole failed\n', 'ENOMEM'],
  ['BzImage truncated?\nCannot load /host/boot/vmlinuz-6.12\n', 'ENOEXEC'],
  ['kexec: unknown\n', 'unknown'],
  ['', 'unknown'],
];

for (const [stderr, errno] of PRINTED) test(`${JSON.stringify(stderr)} is ${errno}`, () => assert.equal(parseKexecErrno(stderr), errno));

test('whatever kexec prints, reading it never throws', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), fc.constantFrom(...PRINTED.map(([text]) => text)), (text, printed) => typeof parseKexecErrno(`${text}\n${printed}`) === 'string'), { numRuns: 10_000 });
});

const FILES = { image: `/boot/vmlinuz-${TARGET}`, initrd: `/boot/initrd.img-${TARGET}` };

/** The programs answer one after the other with an exit code and what they print. */
function aHost(...answers: readonly (readonly [exitCode: number, stderr: string])[]): { readonly host: Host; readonly machine: SimulatedMachine; readonly ran: string[][] } {
  const machine = new SimulatedMachine(simulatedClock());
  machine.installKernel(TARGET);
  const ran: string[][] = [];
  const host: Host = {
    ...machine.host,
    run: async (argv) => {
      const [exitCode, stderr] = answers[ran.length] ?? [0, ''];
      ran.push([...argv]);
      return { exitCode, stderr };
    },
  };
  return { host, machine, ran };
}

const UNAVAILABLE = [253, 'syscall kexec_file_load not available.\n'] as const;

test('the image is given by kexec_file_load, with the files where the agent finds them and the command line as it is', async () => {
  const { host, ran } = aHost();
  assert.deepEqual(await stageKernel(host, FILES, 'a="b c" -- single', 'none'), { ok: true, syscall: 'kexec_file_load' });
  assert.deepEqual(ran, [['kexec', '-s', '-l', `/host${FILES.image}`, `--initrd=/host${FILES.initrd}`, '--command-line=a="b c" -- single']]);
});

test('kexec_load is asked where the other call is not there, and its answer is what counts', async () => {
  const { host, ran } = aHost(UNAVAILABLE, [255, 'kexec_load failed: Operation not permitted\nentry       = 0x0 flags = 0x0\n']);
  const answer = await stageKernel(host, FILES, 'quiet', 'none');
  assert.deepEqual([!answer.ok && answer.errno, ran.map((argv) => argv[1])], ['EPERM', ['-s', '-c']]);
});

for (const lockdown of ['integrity', 'confidentiality'] as const) {
  test(`a kernel that is locked down (${lockdown}) is only asked by the call that checks signatures`, async () => {
    const { host, ran } = aHost(UNAVAILABLE);
    assert.equal((await stageKernel(host, FILES, 'quiet', lockdown)).ok, false);
    assert.equal(ran.length, 1);
  });
}

test('any other answer of kexec_file_load is final', async () => {
  const { host, ran } = aHost([255, 'kexec_file_load failed: Key was rejected by service\n']);
  const answer = await stageKernel(host, FILES, 'quiet', 'none');
  assert.deepEqual([!answer.ok && answer.errno, ran.length], ['EKEYREJECTED', 1]);
});

test('an image is taken out by the call that the kernel has', async () => {
  const first = aHost();
  assert.equal((await unstageKernel(first.host)).ok, true);
  assert.deepEqual(first.ran, [['kexec', '-s', '-u']]);
  const second = aHost(UNAVAILABLE);
  assert.equal((await unstageKernel(second.host)).ok, true);
  assert.deepEqual(second.ran, [['kexec', '-s', '-u'], ['kexec', '-c', '-u']]);
});

test('files that have gone since they were found are HostUnreadable, and the kernel is not asked', async () => {
  const { host, machine, ran } = aHost();
  machine.files.delete(FILES.initrd);
  await assert.rejects(stageKernel(host, FILES, 'quiet', 'none'), (error) => codeOf(error) === 'HostUnreadable' && String(error).includes(FILES.initrd));
  assert.deepEqual(ran, []);
});

const SECURE_BOOT = '/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c';
const FACTS: Readonly<Record<string, { readonly alter: (machine: SimulatedMachine) => void; readonly facts: Partial<KexecFacts> }>> = {
  'a stock machine has kexec without a limit': { alter: () => undefined, facts: { supported: 'on', loadDisabled: 'off', loadsLeft: undefined, lockdown: 'none' } },
  'a kernel without kexec has no such setting': { alter: (m) => m.files.delete('/proc/sys/kernel/kexec_load_disabled'), facts: { supported: 'off', loadDisabled: 'unknown' } },
  'a machine that tells nothing': { alter: (m) => m.files.clear(), facts: { supported: 'unknown', loadDisabled: 'unknown', loadsLeft: undefined, lockdown: 'unknown', secureBoot: 'unknown', capable: 'unknown' } },
  'kexec_load_disabled=1': { alter: (m) => m.set('/proc/sys/kernel/kexec_load_disabled', '1'), facts: { loadDisabled: 'on' } },
  'a limit without a bound': { alter: (m) => m.set('/proc/sys/kernel/kexec_load_limit_reboot', '-1'), facts: { loadsLeft: undefined } },
  'a limit that is used up': { alter: (m) => m.set('/proc/sys/kernel/kexec_load_limit_reboot', '0'), facts: { loadsLeft: 0 } },
  'Secure Boot on': { alter: (m) => m.files.set(SECURE_BOOT, Buffer.from([6, 0, 0, 0, 1])), facts: { secureBoot: 'on' } },
  'Secure Boot off': { alter: (m) => m.files.set(SECURE_BOOT, Buffer.from([6, 0, 0, 0, 0])), facts: { secureBoot: 'off' } },
  'EFI without that variable': { alter: (m) => m.set('/sys/firmware/efi/fw_platform_size', '64'), facts: { secureBoot: 'unknown' } },
  'a variable that is cut short': { alter: (m) => m.files.set(SECURE_BOOT, Buffer.from([6, 0])), facts: { secureBoot: 'unknown' } },
  'a BIOS has no Secure Boot': { alter: (m) => m.set('/sys/firmware/acpi/pm_profile', '1'), facts: { secureBoot: 'off' } },
  'a privileged agent': { alter: (m) => m.set('/proc/self/status', 'Name:\tnode\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t0'), facts: { capable: 'on' } },
  'an agent without CAP_SYS_BOOT': { alter: (m) => m.set('/proc/self/status', 'CapEff:\t000001ffffbfffff'), facts: { capable: 'off' } },
};

for (const [what, { alter, facts }] of Object.entries(FACTS)) {
  test(`${what}: ${JSON.stringify(facts)}`, async () => {
    const machine = new SimulatedMachine(simulatedClock());
    alter(machine);
    assert.partialDeepStrictEqual(await readKexecFacts(machine.host), facts);
  });
}
