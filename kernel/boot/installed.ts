/** The kernels that are installed on a node: an image and an initrd in /boot, modules in /lib/modules, as Debian, the RHEL family, SUSE and a plain /boot name them. */
import { codeOf } from '../errors.ts';
import { listOrUnknown } from '../facts.ts';
import type { FileState, Host } from '../host.ts';
import { IMAGE_HEADER_BYTES, judgeImage } from './image.ts';

export const BOOT = '/boot';

/** Why a kernel would not boot. */
export interface Fault {
  readonly reason: 'ImageTruncated' | 'ImageUnreadable' | 'InitrdMissing' | 'InitrdUnreadable' | 'InitrdEmpty';
  readonly message: string;
}

export interface InstalledKernel {
  readonly release: string;
  readonly image: string;
  /** undefined: there is none, and `fault` says so. */
  readonly initrd: string | undefined;
  /** undefined: nothing is known against it. */
  readonly fault: Fault | undefined;
}

/** Of one release the first one is taken: a vmlinux beside a vmlinuz is for debuggers, and the image itself on ppc64le. */
const IMAGE_PREFIXES = ['vmlinuz-', 'vmlinux-', 'Image-', 'image-', 'bzImage-', 'kernel-'];
/** Debian; dracut on the RHEL family; SUSE; both by hand. */
const initrdNames = (release: string): readonly string[] => [`initrd.img-${release}`, `initramfs-${release}.img`, `initrd-${release}`, `initrd-${release}.img`, `initramfs-${release}`];
/** As the protocol's releases (crds/common.ts). */
const RELEASE = /^[0-9]+\.[0-9]+[A-Za-z0-9.+~_-]{0,60}$/;
const MAX_RELEASE_CHARACTERS = 64;
/** As the protocol's bound on installedKernels. */
const MAX_KERNELS = 64;

export interface KernelFiles {
  readonly release: string;
  /** Names in /boot. */
  readonly image: string;
  readonly initrd: string | undefined;
}

/** Releases that have an image in /boot and modules, sorted, from the names in both directories. */
export function pairKernels(boot: readonly string[], modules: readonly string[]): readonly KernelFiles[] {
  const names = new Set(boot);
  const releases = modules.filter((release) => release.length <= MAX_RELEASE_CHARACTERS && RELEASE.test(release)).sort();
  const pairs = releases.flatMap((release) => {
    const image = IMAGE_PREFIXES.map((prefix) => `${prefix}${release}`).find((name) => names.has(name));
    return image === undefined ? [] : [{ release, image, initrd: initrdNames(release).find((name) => names.has(name)) }];
  });
  return pairs.slice(0, MAX_KERNELS);
}

/** The kernel with this image as GRUB names it: its paths begin at the disk of /boot, or of the root, or at a subvolume, so the name of the file tells. */
export function kernelOf(image: string, kernels: readonly InstalledKernel[]): InstalledKernel | undefined {
  const name = image.slice(image.lastIndexOf('/') + 1);
  return kernels.find((kernel) => kernel.image === `${BOOT}/${name}`);
}

export interface InstalledReader {
  /** The kernels as they are now. An image that has not changed since the last look is not read again. */
  look(): Promise<readonly InstalledKernel[]>;
}

export function makeInstalledReader(host: Host): InstalledReader {
  let judged: ReadonlyMap<string, { readonly version: string; readonly fault: Fault | undefined }> = new Map();

  async function judge(path: string): Promise<{ readonly version: string; readonly fault: Fault | undefined }> {
    const state = await stateOf(host, path);
    if (typeof state === 'string') return { version: '', fault: { reason: 'ImageUnreadable', message: state } };
    const known = judged.get(path);
    return known?.version === state.version ? known : { version: state.version, fault: await findImageFault(host, path, state) };
  }

  return {
    async look() {
      const found = pairKernels(await namesIn(host, BOOT), await namesIn(host, '/lib/modules'));
      const images = new Map<string, Awaited<ReturnType<typeof judge>>>();
      const kernels: InstalledKernel[] = [];
      for (const { release, image, initrd } of found) {
        const path = `${BOOT}/${image}`;
        const judgement = await judge(path);
        images.set(path, judgement);
        const fault = judgement.fault ?? (await findInitrdFault(host, release, initrd));
        kernels.push({ release, image: path, initrd: initrd === undefined ? undefined : `${BOOT}/${initrd}`, fault });
      }
      judged = images;
      return kernels;
    },
  };
}

async function namesIn(host: Host, directory: string): Promise<readonly string[]> {
  return ((await listOrUnknown(host, directory)) ?? []).map(({ name }) => name);
}

/** The file, or in words why it is not there. */
async function stateOf(host: Host, path: string): Promise<FileState | string> {
  try {
    return (await host.stat(path)) ?? `${path} is a link that leads nowhere`;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return (error as Error).message;
  }
}

async function findImageFault(host: Host, path: string, { bytes }: FileState): Promise<Fault | undefined> {
  try {
    const start = (await host.readStart(path, IMAGE_HEADER_BYTES)) ?? Buffer.alloc(0);
    const wholeness = judgeImage(start, bytes);
    if (wholeness.kind !== 'Truncated') return undefined;
    return { reason: 'ImageTruncated', message: `${path} is cut short: it has ${bytes} bytes and must have at least ${wholeness.neededBytes}. Install its package again` };
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return { reason: 'ImageUnreadable', message: (error as Error).message };
  }
}

/** An initrd has no length in it, so that one that is cut short is not found. */
async function findInitrdFault(host: Host, release: string, initrd: string | undefined): Promise<Fault | undefined> {
  const remedy = `make it with update-initramfs -c -k ${release} on Debian, dracut --kver ${release} elsewhere`;
  if (initrd === undefined) return { reason: 'InitrdMissing', message: `there is no initrd for it in ${BOOT} (${initrdNames(release).slice(0, 3).join(', ')}): ${remedy}` };
  const state = await stateOf(host, `${BOOT}/${initrd}`);
  if (typeof state === 'string') return { reason: 'InitrdUnreadable', message: state };
  return state.bytes > 0 ? undefined : { reason: 'InitrdEmpty', message: `${BOOT}/${initrd} is empty: ${remedy}` };
}
