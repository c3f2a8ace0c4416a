/**
 * kexec by kexec-tools: an image is put into the kernel, and taken out again. The program is the agent's own, the files are the node's, and it opens them itself: an initrd has some 100 MiB, which
 * the agent would have to hold. It ends with one exit code for most errors, and has the errno only in what it prints (kexec/kexec.c).
 */
import type { Errno } from './errno.ts';
import { parseErrno } from './errno.ts';
import { KernelPatchError } from './errors.ts';
import { listOrUnknown, readLockdown, readSwitch, readText } from './facts.ts';
import type { Lockdown, Switch } from './facts.ts';
import type { Host } from './host.ts';

/** The files of a kernel on the node. */
export interface KernelFiles {
  readonly image: string;
  readonly initrd: string;
}

export type Syscall = 'kexec_file_load' | 'kexec_load';

export type KexecAnswer = { readonly ok: true; readonly syscall: Syscall } | { readonly ok: false; readonly errno: Errno; readonly stderr: string };

/** What a kernel allows. */
export interface KexecFacts {
  readonly supported: Switch;
  /** On: no image is taken until the next boot. One that is there can not be taken out either. */
  readonly loadDisabled: Switch;
  /** How many calls the kernel still takes (kernel.kexec_load_limit_reboot, since 6.3); undefined: any number. */
  readonly loadsLeft: number | undefined;
  readonly lockdown: Lockdown;
  /** Of the firmware. */
  readonly secureBoot: Switch;
  /** The agent may ask: it has CAP_SYS_BOOT. */
  readonly capable: Switch;
}

/** A load took 2 s on an emulated node. */
const KEXEC_TIMEOUT_MILLISECONDS = 60_000;
/** include/uapi/linux/capability.h */
const CAP_SYS_BOOT = 22n;
/** EFI_GLOBAL_VARIABLE. Four bytes of attributes, then the value. */
const SECURE_BOOT = '/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c';
const ATTRIBUTE_BYTES = 4;

export async function readKexecFacts(host: Host): Promise<KexecFacts> {
  const sysctls = await listOrUnknown(host, '/proc/sys/kernel');
  const limit = Number((await readText(host, '/proc/sys/kernel/kexec_load_limit_reboot')) ?? '-1');
  return {
    supported: sysctls === undefined ? 'unknown' : sysctls.some(({ name }) => name === 'kexec_load_disabled') ? 'on' : 'off',
    loadDisabled: await readSwitch(host, '/proc/sys/kernel/kexec_load_disabled'),
    loadsLeft: limit >= 0 ? limit : undefined,
    lockdown: await readLockdown(host),
    secureBoot: await readSecureBoot(host),
    capable: await readCapability(host),
  };
}

/** On: the kernel has an image to start by kexec, whoever gave it. */
export async function readStaged(host: Host): Promise<Switch> {
  return readSwitch(host, '/sys/kernel/kexec_loaded');
}

/**
 * The kernel has the image and starts it at `systemctl kexec`, or has answered why not and has what it had. kexec_load, which takes any image, is only asked where kexec_file_load is not there or does not
 * know this form of an image, and never in a locked down kernel. Repeating it is safe: an image replaces the one before. Throws HostUnreadable, CommandMissing, CommandTimedOut.
 */
export async function stageKernel(host: Host, { image, initrd }: KernelFiles, commandLine: string, lockdown: Lockdown): Promise<KexecAnswer> {
  const args = ['-l', await locate(host, image), `--initrd=${await locate(host, initrd)}`, `--command-line=${commandLine}`];
  const answer = await ask(host, 'kexec_file_load', args);
  if (answer.ok || answer.errno !== 'ENOSYS' || lockdown === 'integrity' || lockdown === 'confidentiality') return answer;
  return ask(host, 'kexec_load', args);
}

/** The kernel has no image any more, or has answered why not. Repeating it is safe. Throws CommandMissing, CommandTimedOut. */
export async function unstageKernel(host: Host): Promise<KexecAnswer> {
  const answer = await ask(host, 'kexec_file_load', ['-u']);
  return answer.ok || answer.errno !== 'ENOSYS' ? answer : ask(host, 'kexec_load', ['-u']);
}

const OPTIONS: Readonly<Record<Syscall, string>> = { kexec_file_load: '-s', kexec_load: '-c' };

async function ask(host: Host, syscall: Syscall, args: readonly string[]): Promise<KexecAnswer> {
  const { exitCode, stderr } = await host.run(['kexec', OPTIONS[syscall], ...args], KEXEC_TIMEOUT_MILLISECONDS);
  return exitCode === 0 ? { ok: true, syscall } : { ok: false, errno: parseKexecErrno(stderr), stderr };
}

async function locate(host: Host, path: string): Promise<string> {
  const located = await host.locate(path);
  if (located === undefined) throw new KernelPatchError('HostUnreadable', `${path} can not be read: it is not there`);
  return located;
}

/** What it prints where it has no errno. */
const PRINTED: readonly (readonly [text: RegExp, errno: Errno])[] = [
  // The kernel answered ENOSYS, EINVAL, ENOEXEC or ENOTSUP; the program does not say which.
  [/^syscall kexec_file_load not available/m, 'ENOSYS'],
  [/Could not find a free area of memory|locate_hole failed|Cannot malloc/, 'ENOMEM'],
  [/Cannot determine the file type of|Not a bzImage|File is too short to be a bzImage|BzImage truncated|ended before stat said/i, 'ENOEXEC'],
];

/** Lines that end with what strerror says; others may follow. */
const ANSWERED = /^(?:(?:kexec_load|kexec_file_load(?:\(unload\))?|kexec unload) failed: |Failed to open file |Could not open initrd file |Cannot open ).*$/m;

export function parseKexecErrno(stderr: string): Errno {
  const answered = ANSWERED.exec(stderr)?.[0];
  return answered === undefined ? (PRINTED.find(([text]) => text.test(stderr))?.[1] ?? parseErrno(stderr)) : parseErrno(answered);
}

async function readSecureBoot(host: Host): Promise<Switch> {
  if ((await listOrUnknown(host, '/sys/firmware/efi')) === undefined) return (await listOrUnknown(host, '/sys/firmware')) === undefined ? 'unknown' : 'off';
  const bytes = await readBytes(host, SECURE_BOOT);
  return bytes?.length === ATTRIBUTE_BYTES + 1 ? (bytes[ATTRIBUTE_BYTES] === 1 ? 'on' : 'off') : 'unknown';
}

async function readBytes(host: Host, path: string): Promise<Buffer | undefined> {
  try {
    return await host.read(path, ATTRIBUTE_BYTES + 1);
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    return undefined;
  }
}

async function readCapability(host: Host): Promise<Switch> {
  const mask = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec((await readText(host, '/proc/self/status')) ?? '')?.[1];
  if (mask === undefined) return 'unknown';
  return ((BigInt(`0x${mask}`) >> CAP_SYS_BOOT) & 1n) === 1n ? 'on' : 'off';
}
