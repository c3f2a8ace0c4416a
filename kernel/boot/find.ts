/** The files of one installed kernel, for kexec. */
import type { Failure } from '../errno.ts';
import { KernelPatchError } from '../errors.ts';
import type { Host } from '../host.ts';
import type { KernelFiles } from '../kexec.ts';
import { BOOT, makeInstalledReader } from './installed.ts';

/** Files that may be given to kexec, or why there are none. They are looked at anew: the kernel takes an image that is cut short. */
export async function findKernelFiles(host: Host, release: string): Promise<KernelFiles | Failure> {
  const unreadable = await whyUnreadable(host);
  if (unreadable !== undefined) return { reason: 'BootUnreadable', message: `${unreadable}: mount ${BOOT} on the node, or repair it`, retry: true };
  const kernel = (await makeInstalledReader(host).look()).find((each) => each.release === release);
  if (kernel === undefined) return { reason: 'KernelMissing', message: `there is no kernel ${release} on the node (an image in ${BOOT} and modules in /lib/modules): install its package`, retry: true };
  const { image, initrd, fault } = kernel;
  if (initrd === undefined || fault !== undefined) return { reason: fault?.reason ?? 'InitrdMissing', message: fault?.message ?? `there is no initrd of kernel ${release} in ${BOOT}`, retry: true };
  return { image, initrd };
}

async function whyUnreadable(host: Host): Promise<string | undefined> {
  try {
    await host.list(BOOT);
    return undefined;
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    return error.message;
  }
}
