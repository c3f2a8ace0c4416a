/** Finds the files of an installed kernel by their names in /boot, as Debian, Fedora's family and SUSE give them. */
import type { Failure } from './errno.ts';
import { KernelPatchError } from './errors.ts';
import type { Host } from './host.ts';
import type { KernelFiles } from './kexec.ts';

/** Files that may be given to kexec, or why there are none. */
export type FindKernel = (host: Host, release: string) => Promise<KernelFiles | Failure>;

const BOOT = '/boot';
const imagesOf = (release: string): readonly string[] => [`vmlinuz-${release}`, `vmlinux-${release}`, `Image-${release}`];
const initrdsOf = (release: string): readonly string[] => [`initrd.img-${release}`, `initramfs-${release}.img`, `initrd-${release}`];

export const findKernelFiles: FindKernel = async (host, release) => {
  try {
    const there = new Set(((await host.list(BOOT)) ?? []).map(({ name }) => name));
    const image = imagesOf(release).find((name) => there.has(name));
    const initrd = initrdsOf(release).find((name) => there.has(name));
    if (image === undefined) return refusal('KernelMissing', `${BOOT} has no image of kernel ${release}: install its package on the node`);
    if (initrd === undefined) return refusal('InitrdMissing', `${BOOT} has no initrd of kernel ${release}: make it on the node (update-initramfs -c -k ${release}, or dracut --kver ${release})`);
    return { image: `${BOOT}/${image}`, initrd: `${BOOT}/${initrd}` };
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    return refusal('BootUnreadable', `${error.message}: mount ${BOOT} on the node, or repair it`);
  }
};

function refusal(reason: string, message: string): Failure {
  return { reason, message, retry: true };
}
