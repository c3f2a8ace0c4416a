/** What a node's /boot says: the kernels there, and which of them the firmware's next boot starts. Read anew when a file has changed. */
import { codeOf } from '../errors.ts';
import type { Host } from '../host.ts';
import { chooseEntry, takesSavedEntry } from './choice.ts';
import { configOf, describeUnsaved, findGrub, mustBeGrub, readGrub, unknown } from './grub.ts';
import type { GrubFiles, Obstacle } from './grub.ts';
import { BOOT, kernelOf, makeInstalledReader } from './installed.ts';
import type { InstalledKernel } from './installed.ts';

export interface NextBoot {
  /** A release, or unknown. */
  readonly release: string;
  /** The file that says so; undefined: there is none that is known. */
  readonly source: string | undefined;
  readonly message: string;
  /** Why no other kernel can be made the default by the boot loader's own programs; absent: nothing is known against it. */
  readonly unsettable?: Obstacle;
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

export function makeBootLayoutReader(host: Host): BootLayoutReader {
  const installed = makeInstalledReader(host);
  let isGrub = false;
  let last: { readonly version: string; readonly nextBoot: NextBoot } | undefined;

  async function findNextBoot(kernels: readonly InstalledKernel[]): Promise<NextBoot> {
    if (!isGrub) await mustBeGrub(host);
    isGrub = true;
    const found = await findGrub(host);
    const version = JSON.stringify([found.version, kernels.map(({ image }) => image)]);
    if (last?.version !== version) last = { version, nextBoot: await orUnknown(() => readNextBoot(host, found, kernels), configOf(found)) };
    return last.nextBoot;
  }

  return {
    async look() {
      const kernels = await installed.look();
      return { kernels, nextBoot: await orUnknown(() => findNextBoot(kernels), undefined) };
    },
  };
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

async function readNextBoot(host: Host, found: GrubFiles, kernels: readonly InstalledKernel[]): Promise<NextBoot> {
  const { config, surroundings } = await readGrub(host, found);
  const { title, image, once } = chooseEntry(config, surroundings);
  const kernel = kernelOf(image, kernels);
  if (kernel === undefined) throw unknown(`GRUB starts "${title}" with ${image}, which is no installed kernel in ${BOOT}`);
  return {
    release: kernel.release,
    source: configOf(found),
    message: `GRUB starts "${title}"${once ? ' once, as grub-reboot asked for' : ''}`,
    ...(!takesSavedEntry(config, surroundings) && { unsettable: describeUnsaved(found.directory) }),
  };
}
