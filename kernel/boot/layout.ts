/** What a node's /boot says: the kernels there, and which of them the firmware's next boot starts. Read anew when a file has changed. */
import { KernelPatchError, codeOf } from '../errors.ts';
import type { Host } from '../host.ts';
import { chooseEntry } from './choice.ts';
import { isEntryName, parseEntries } from './entries.ts';
import type { EntryFile } from './entries.ts';
import { parseEnvironment } from './environment.ts';
import { BOOT, makeInstalledReader } from './installed.ts';
import type { InstalledKernel } from './installed.ts';

export interface NextBoot {
  /** A release, or unknown. */
  readonly release: string;
  /** The file that says so; undefined: there is none that is known. */
  readonly source: string | undefined;
  readonly message: string;
}

export interface BootLayout {
  /** Sorted by their releases. */
  readonly kernels: readonly InstalledKernel[];
  readonly nextBoot: NextBoot;
}

export interface BootLayoutReader {
  /** As it is now; what can not be read is unknown. */
  look(): Promise<BootLayout>;
}

/** Debian, Ubuntu and Arch; the RHEL family and SUSE. */
const GRUB_DIRECTORIES = [`${BOOT}/grub`, `${BOOT}/grub2`];
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

/** What a boot loader reads, and what changes when any of it does. */
interface Sources {
  readonly directory: string;
  readonly files: ReadonlySet<string>;
  readonly entries: readonly string[];
  readonly version: string;
}

export function makeBootLayoutReader(host: Host): BootLayoutReader {
  const installed = makeInstalledReader(host);
  let loader: string | undefined;
  let last: { readonly version: string; readonly nextBoot: NextBoot } | undefined;

  async function findNextBoot(kernels: readonly InstalledKernel[]): Promise<NextBoot> {
    loader ??= await readLoaderInfo(host);
    if (loader.startsWith('systemd-boot')) throw unknown(`the node boots with ${loader}, whose configuration is not read`);
    const sources = await findSources(host);
    const version = JSON.stringify([sources.version, kernels.map(({ image }) => image)]);
    if (last?.version !== version) last = { version, nextBoot: await orUnknown(() => readNextBoot(host, sources, kernels), `${sources.directory}/${CONFIG}`) };
    return last.nextBoot;
  }

  return {
    async look() {
      const kernels = await installed.look();
      return { kernels, nextBoot: await orUnknown(() => findNextBoot(kernels), undefined) };
    },
  };
}

function unknown(why: string): KernelPatchError {
  return new KernelPatchError('BootLoaderUnknown', why);
}

async function orUnknown(read: () => Promise<NextBoot>, source: string | undefined): Promise<NextBoot> {
  try {
    return await read();
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    const where = source === undefined ? '' : `${source}: `;
    return { release: 'unknown', source, message: `${where}${(error as Error).message}` };
  }
}

/** As "systemd-boot 257.9-1"; empty on a machine without EFI, or with a boot loader that does not tell. It stays until the next boot. */
async function readLoaderInfo(host: Host): Promise<string> {
  const bytes = await host.read(LOADER_INFO, LOADER_INFO_BYTES);
  return bytes?.subarray(4).toString('utf16le').replaceAll('\0', '') ?? '';
}

async function namesIn(host: Host, directory: string): Promise<readonly string[]> {
  return ((await host.list(directory)) ?? []).map(({ name }) => name);
}

async function findSources(host: Host): Promise<Sources> {
  const { directory, files } = await findDirectory(host);
  const entries = (await namesIn(host, ENTRIES_DIRECTORY)).filter(isEntryName).sort();
  if (entries.length > MAX_ENTRIES) throw unknown(`${ENTRIES_DIRECTORY} has ${entries.length} entries, more than ${MAX_ENTRIES}`);
  const paths = [`${directory}/${CONFIG}`, `${directory}/${ENVIRONMENT}`, ...entries.map((name) => `${ENTRIES_DIRECTORY}/${name}`)];
  const versions: string[] = [];
  for (const path of paths) versions.push(`${path} ${(await host.stat(path))?.version ?? ''}`);
  return { directory, files, entries, version: [...versions, ...[...files].sort()].join('\n') };
}

/** The one directory with a configuration of GRUB: of two it can not be told which one the firmware starts. */
async function findDirectory(host: Host): Promise<Pick<Sources, 'directory' | 'files'>> {
  const inBoot = await withConfig(host, GRUB_DIRECTORIES);
  const found = inBoot.length > 0 ? inBoot : await withConfig(host, (await namesIn(host, EFI_DIRECTORY)).map((name) => `${EFI_DIRECTORY}/${name}`));
  const [only, ...more] = found;
  if (only === undefined) throw unknown(`there is no ${CONFIG} in ${GRUB_DIRECTORIES.join(', ')} or below ${EFI_DIRECTORY}: the node boots in another way than with GRUB`);
  if (more.length > 0) throw unknown(`there are several configurations of GRUB, in ${found.map(({ directory }) => directory).join(' and ')}: remove those that are not used`);
  return only;
}

async function withConfig(host: Host, directories: readonly string[]): Promise<readonly Pick<Sources, 'directory' | 'files'>[]> {
  const found: Pick<Sources, 'directory' | 'files'>[] = [];
  for (const directory of directories) {
    const files = new Set(await namesIn(host, directory));
    if (files.has(CONFIG)) found.push({ directory, files });
  }
  return found;
}

async function readNextBoot(host: Host, { directory, files, entries }: Sources, kernels: readonly InstalledKernel[]): Promise<NextBoot> {
  const source = `${directory}/${CONFIG}`;
  const config = await readConfig(host, source, MAX_CONFIG_BYTES);
  const environment = files.has(ENVIRONMENT) ? parseEnvironment(await readConfig(host, `${directory}/${ENVIRONMENT}`, MAX_SMALL_BYTES)) : new Map<string, string>();
  const texts: EntryFile[] = [];
  for (const name of entries) texts.push({ name, text: await readConfig(host, `${ENTRIES_DIRECTORY}/${name}`, MAX_SMALL_BYTES) });
  const { title, image, once } = chooseEntry(config, { directory, files, environment, entries: parseEntries(texts) });
  const release = releaseOf(image, kernels);
  if (release === undefined) throw unknown(`GRUB starts "${title}" with ${image}, which is no installed kernel in ${BOOT}`);
  return { release, source, message: `GRUB starts "${title}"${once ? ' once, as grub-reboot asked for' : ''}` };
}

async function readConfig(host: Host, path: string, limitBytes: number): Promise<string> {
  const bytes = await host.read(path, limitBytes);
  if (bytes === undefined) throw unknown(`${path} has just gone`);
  return bytes.toString('utf8');
}

/** GRUB's paths begin at the disk of /boot, or of the root, or at a subvolume: the name of the file tells. */
function releaseOf(image: string, kernels: readonly InstalledKernel[]): string | undefined {
  const name = image.slice(image.lastIndexOf('/') + 1);
  return kernels.find((kernel) => kernel.image === `${BOOT}/${name}`)?.release;
}
