/** GRUB's files on a node: where they are, and what is in them. */
import { KernelPatchError } from '../errors.ts';
import type { Host } from '../host.ts';
import { isEntryName, parseEntries } from './entries.ts';
import type { EntryFile } from './entries.ts';
import { parseEnvironment } from './environment.ts';
import { BOOT } from './installed.ts';
import type { Surroundings } from './menu.ts';

/** What it reads, and what changes when any of it does. */
export interface GrubFiles {
  readonly directory: string;
  readonly files: ReadonlySet<string>;
  readonly entries: readonly string[];
  readonly version: string;
}

export interface Obstacle {
  readonly reason: string;
  readonly message: string;
}

/** Its script, and what that finds. */
export interface Grub {
  readonly config: string;
  readonly surroundings: Surroundings;
}

/** Debian, Ubuntu and Arch; the RHEL family and SUSE. */
const DIRECTORIES = [`${BOOT}/grub`, `${BOOT}/grub2`];
/** Where RHEL 8 and older have it on machines with EFI, below the vendor's name. */
const EFI_DIRECTORY = `${BOOT}/efi/EFI`;
const ENTRIES_DIRECTORY = `${BOOT}/loader/entries`;
const CONFIG = 'grub.cfg';
const ENVIRONMENT = 'grubenv';
/** A boot loader writes its name there for the system it starts (the Boot Loader Interface of systemd); 4 bytes of attributes stand before it. */
const LOADER_INFO = '/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f';
const LOADER_INFO_BYTES = 1024;
/** Ten kernels have 30 KiB. */
const MAX_CONFIG_BYTES = 256 * 1024;
/** grub-editenv makes 1 KiB. */
const MAX_SMALL_BYTES = 64 * 1024;
/** As many kernels as are reported, and their rescue entries. */
const MAX_ENTRIES = 256;

export function unknown(why: string): KernelPatchError {
  return new KernelPatchError('BootLoaderUnknown', why);
}

/** The boot loader that has started the node is not known to be another one. It stays until the next boot. Throws BootLoaderUnknown, HostUnreadable. */
export async function mustBeGrub(host: Host): Promise<void> {
  const bytes = await host.read(LOADER_INFO, LOADER_INFO_BYTES);
  /** As "systemd-boot 257.9-1"; empty on a machine without EFI, or with a boot loader that does not tell. */
  const loader = bytes?.subarray(4).toString('utf16le').replaceAll('\0', '') ?? '';
  if (loader.startsWith('systemd-boot')) throw unknown(`the node boots with ${loader}, whose configuration is not read`);
}

/** Why grub-set-default would change nothing. */
export function describeUnsaved(directory: string): Obstacle {
  const update = directory === '/boot/grub' ? 'update-grub (grub-mkconfig -o /boot/grub/grub.cfg where there is none)' : `grub2-mkconfig -o ${directory}/grub.cfg`;
  return { reason: 'DefaultNotSaved', message: `GRUB does not take its default from grubenv there: set GRUB_DEFAULT=saved in /etc/default/grub, then run ${update}` };
}

export const configOf = ({ directory }: Pick<GrubFiles, 'directory'>): string => `${directory}/${CONFIG}`;

/** Throws BootLoaderUnknown, HostUnreadable. */
export async function findGrub(host: Host): Promise<GrubFiles> {
  const { directory, files } = await findDirectory(host);
  const entries = (await namesIn(host, ENTRIES_DIRECTORY)).filter(isEntryName).sort();
  if (entries.length > MAX_ENTRIES) throw unknown(`${ENTRIES_DIRECTORY} has ${entries.length} entries, more than ${MAX_ENTRIES}`);
  const paths = [`${directory}/${CONFIG}`, `${directory}/${ENVIRONMENT}`, ...entries.map((name) => `${ENTRIES_DIRECTORY}/${name}`)];
  const versions: string[] = [];
  for (const path of paths) versions.push(`${path} ${(await host.stat(path))?.version ?? ''}`);
  return { directory, files, entries, version: [...versions, ...[...files].sort()].join('\n') };
}

/** Throws BootLoaderUnknown, HostUnreadable. */
export async function readGrub(host: Host, found: GrubFiles): Promise<Grub> {
  const { directory, files, entries } = found;
  const config = await readConfig(host, configOf(found), MAX_CONFIG_BYTES);
  const environment = files.has(ENVIRONMENT) ? parseEnvironment(await readConfig(host, `${directory}/${ENVIRONMENT}`, MAX_SMALL_BYTES)) : new Map<string, string>();
  const texts: EntryFile[] = [];
  for (const name of entries) texts.push({ name, text: await readConfig(host, `${ENTRIES_DIRECTORY}/${name}`, MAX_SMALL_BYTES) });
  return { config, surroundings: { directory, files, environment, entries: parseEntries(texts) } };
}

/** What it would be with another grubenv. */
export function withEnvironment({ config, surroundings }: Grub, changes: Readonly<Record<string, string>>): Grub {
  const environment = new Map([...surroundings.environment, ...Object.entries(changes)]);
  return { config, surroundings: { ...surroundings, files: new Set([...surroundings.files, ENVIRONMENT]), environment } };
}

async function namesIn(host: Host, directory: string): Promise<readonly string[]> {
  return ((await host.list(directory)) ?? []).map(({ name }) => name);
}

/** The one directory with a configuration of GRUB: of two it can not be told which one the firmware starts. */
async function findDirectory(host: Host): Promise<Pick<GrubFiles, 'directory' | 'files'>> {
  const inBoot = await withConfig(host, DIRECTORIES);
  const found = inBoot.length > 0 ? inBoot : await withConfig(host, (await namesIn(host, EFI_DIRECTORY)).map((name) => `${EFI_DIRECTORY}/${name}`));
  const [only, ...more] = found;
  if (only === undefined) throw unknown(`there is no ${CONFIG} in ${DIRECTORIES.join(', ')} or below ${EFI_DIRECTORY}: the node boots in another way than with GRUB`);
  if (more.length > 0) throw unknown(`there are several configurations of GRUB, in ${found.map(({ directory }) => directory).join(' and ')}: remove those that are not used`);
  return only;
}

async function withConfig(host: Host, directories: readonly string[]): Promise<readonly Pick<GrubFiles, 'directory' | 'files'>[]> {
  const found: Pick<GrubFiles, 'directory' | 'files'>[] = [];
  for (const directory of directories) {
    const files = new Set(await namesIn(host, directory));
    if (files.has(CONFIG)) found.push({ directory, files });
  }
  return found;
}

async function readConfig(host: Host, path: string, limitBytes: number): Promise<string> {
  const bytes = await host.read(path, limitBytes);
  if (bytes === undefined) throw unknown(`${path} has just gone`);
  return bytes.toString('utf8');
}
