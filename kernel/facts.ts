/** What is true of the machine: its boot, kernel and what that kernel allows. "unknown" means that the fact could not be read. */
import { readNonce } from './cmdline.ts';
import type { Entry, Host } from './host.ts';
import { codeOf } from './errors.ts';
import { parseBuildID } from './notes.ts';

export type Lockdown = 'none' | 'integrity' | 'confidentiality' | 'unknown';
export type Availability = 'Available' | 'Unavailable' | 'Unknown';
/** A switch of the kernel. */
export type Switch = 'on' | 'off' | 'unknown';

export interface KernelFacts {
  readonly bootID: string;
  readonly release: string;
  readonly buildID: string;
  /** The bit mask of /proc/sys/kernel/tainted; -1 when unknown. */
  readonly taint: number;
  readonly taintFlags: string;
  readonly lockdown: Lockdown;
  readonly livePatching: Availability;
  readonly kexec: Availability;
  /** Off: older kernels take a live patch and patch nothing (kpatch issue 387), newer ones answer EBUSY. */
  readonly ftrace: Switch;
  /** On: the kernel takes no module until the next boot. */
  readonly modulesDisabled: Switch;
  /** On: the kernel takes signed modules only. */
  readonly signaturesEnforced: Switch;
  /** The id of the reboot order by which this kernel was started by kexec; undefined: it was not; or unknown. */
  readonly rebootID: string | undefined;
  readonly hardware: Hardware;
}

/** What makes machines alike. */
export interface Hardware {
  readonly vendor: string;
  readonly product: string;
  /** The version of the firmware. */
  readonly firmware: string;
}

/** Documentation/admin-guide/tainted-kernels.rst, bit 0 first; J (fwctl) came with 6.15. */
const TAINT_LETTERS = 'PFSRMBUDAWCIOELKXTNJ';
/** One page, what a sysfs attribute can have; /sys/kernel/notes has some hundred bytes. */
export const SYSFS_BYTES = 4096;
/** As the protocol's bound on the names of hardware. */
const MAX_NAME_CHARACTERS = 128;
/** COMMAND_LINE_SIZE is 2048 on x86 and arm64, 4096 on s390. */
const MAX_COMMAND_LINE_BYTES = 64 * 1024;

export async function readFacts(host: Host): Promise<KernelFacts> {
  const taint = parseTaint(await readText(host, '/proc/sys/kernel/tainted'));
  const lockdown = await readLockdown(host);
  const notes = await orUnknown(() => host.read('/sys/kernel/notes', SYSFS_BYTES), undefined);
  return {
    bootID: (await readText(host, '/proc/sys/kernel/random/boot_id')) ?? 'unknown',
    release: (await readText(host, '/proc/sys/kernel/osrelease')) ?? 'unknown',
    buildID: (notes && parseBuildID(notes, host.littleEndian)) ?? 'unknown',
    taint,
    taintFlags: describeTaint(taint),
    lockdown,
    livePatching: await readLivePatching(host),
    kexec: await readKexec(host, lockdown),
    ftrace: await readSwitch(host, '/proc/sys/kernel/ftrace_enabled'),
    modulesDisabled: await readSwitch(host, '/proc/sys/kernel/modules_disabled'),
    signaturesEnforced: await readSwitch(host, '/sys/module/module/parameters/sig_enforce'),
    rebootID: await readRebootID(host),
    hardware: { vendor: await readDMI(host, 'sys_vendor'), product: await readDMI(host, 'product_name'), firmware: await readDMI(host, 'bios_version') },
  };
}

/** Seconds since the boot; -1 when unknown. Clock of the kernel log, but for the time that a machine was suspended. */
export async function readUptime(host: Host): Promise<number> {
  const seconds = /^\d+(\.\d+)?/.exec((await readText(host, '/proc/uptime')) ?? '')?.[0];
  return seconds === undefined ? -1 : Number(seconds);
}

/** Bytes that the kernel could give without swapping (MemAvailable); -1 when unknown. */
export async function readAvailableMemory(host: Host): Promise<number> {
  const kibibytes = /^MemAvailable: +(\d{1,12}) kB$/m.exec((await readText(host, '/proc/meminfo')) ?? '')?.[1];
  return kibibytes === undefined ? -1 : Number(kibibytes) * 1024;
}

/** One line of text, or undefined when it is not there or can not be read. */
export async function readText(host: Host, path: string): Promise<string | undefined> {
  const bytes = await orUnknown(() => host.read(path, SYSFS_BYTES), undefined);
  const text = bytes?.toString('utf8').trim();
  return text === '' ? undefined : text;
}

export async function readSwitch(host: Host, path: string): Promise<Switch> {
  const text = await readText(host, path);
  if (text === '1' || text === 'Y') return 'on';
  return text === '0' || text === 'N' ? 'off' : 'unknown';
}

/** A fact that can not be read is unknown; it must not hide the others. */
async function orUnknown<T>(read: () => Promise<T>, unknown: T): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return unknown;
  }
}

export async function listOrUnknown(host: Host, path: string): Promise<readonly Entry[] | undefined> {
  return orUnknown(() => host.list(path), undefined);
}

function parseTaint(text: string | undefined): number {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : -1;
}

/** The letters of the bits that are set, in the order of the bits; ? for a bit that this version does not know. */
export function describeTaint(taint: number): string {
  if (taint <= 0) return '';
  const bits = taint.toString(2).split('').reverse();
  return bits.map((bit, index) => (bit === '1' ? (TAINT_LETTERS[index] ?? '?') : '')).join('');
}

/** The file marks the mode in force: none [integrity] confidentiality. A securityfs without it: the kernel has no lockdown. */
export async function readLockdown(host: Host): Promise<Lockdown> {
  const text = await readText(host, '/sys/kernel/security/lockdown');
  if (text === undefined) {
    const securityfs = (await listOrUnknown(host, '/sys/kernel/security')) ?? [];
    return securityfs.length > 0 && !securityfs.some(({ name }) => name === 'lockdown') ? 'none' : 'unknown';
  }
  const mode = /\[(none|integrity|confidentiality)\]/.exec(text)?.[1];
  return (mode as Lockdown | undefined) ?? 'unknown';
}

async function readLivePatching(host: Host): Promise<Availability> {
  const kernel = await listOrUnknown(host, '/sys/kernel');
  if (kernel === undefined) return 'Unknown';
  return kernel.some(({ name }) => name === 'livepatch') ? 'Available' : 'Unavailable';
}

/** A kernel built without kexec has no kexec_load_disabled; a lockdown refuses unsigned images. */
async function readKexec(host: Host, lockdown: Lockdown): Promise<Availability> {
  const disabled = await readSwitch(host, '/proc/sys/kernel/kexec_load_disabled');
  if (disabled === 'unknown') {
    const sysctls = await listOrUnknown(host, '/proc/sys/kernel');
    if (sysctls === undefined) return 'Unknown';
    if (!sysctls.some(({ name }) => name === 'kexec_load_disabled')) return 'Unavailable';
  }
  if (disabled === 'on' || lockdown === 'integrity' || lockdown === 'confidentiality') return 'Unavailable';
  return disabled === 'off' && lockdown === 'none' ? 'Available' : 'Unknown';
}

/** The running kernel's command line; undefined when it can not be read, or is not text that could be given to another kernel as it is. */
export async function readCommandLine(host: Host): Promise<string | undefined> {
  const bytes = await readCommandLineBytes(host);
  const text = bytes?.toString('utf8') ?? '';
  return bytes !== undefined && Buffer.from(text).equals(bytes) ? text.trim() : undefined;
}

async function readRebootID(host: Host): Promise<string | undefined> {
  const bytes = await readCommandLineBytes(host);
  return bytes === undefined ? 'unknown' : readNonce(bytes.toString('utf8'));
}

async function readCommandLineBytes(host: Host): Promise<Buffer | undefined> {
  return orUnknown(() => host.read('/proc/cmdline', MAX_COMMAND_LINE_BYTES), undefined);
}

/** Machines without a DMI table have none of it. */
async function readDMI(host: Host, name: string): Promise<string> {
  return (await readText(host, `/sys/class/dmi/id/${name}`))?.slice(0, MAX_NAME_CHARACTERS) ?? 'unknown';
}
