/** Why a kernel is not, or was not, put in place for kexec. Pure over what was read and answered; the first reason wins. */
import { MAX_COMMAND_LINE_BYTES } from './cmdline.ts';
import type { Errno, Failure } from './errno.ts';
import type { KernelFiles, KexecFacts } from './kexec.ts';

export interface StageContext {
  /** The kernel that is to run. */
  readonly release: string;
  readonly files: KernelFiles;
  /** Read after the kernel has answered. */
  readonly facts: KexecFacts;
}

const BY_FIRMWARE = 'or allow a reboot by the firmware';

/** Found before the kernel is asked; it is looked at again, since most of it can be changed. undefined: the kernel may be asked. */
export function refuseKexec({ supported, loadDisabled, loadsLeft, capable }: KexecFacts): Failure | undefined {
  if (supported === 'off') return again('KexecUnsupported', `this kernel is built without kexec (kernel.kexec_load_disabled is missing): start one that has it, ${BY_FIRMWARE}`);
  if (capable === 'off') return again('CapabilityMissing', "the agent lacks CAP_SYS_BOOT, so it can not ask for a kexec: its pod must be privileged");
  if (loadDisabled === 'on') return again('KexecLoadDisabled', `kexec is switched off until the next boot (kernel.kexec_load_disabled=1): remove that setting, ${BY_FIRMWARE}`);
  if (loadsLeft === 0) return again('KexecLoadLimit', `this kernel takes no further image until the next boot (kernel.kexec_load_limit_reboot=0): raise that limit, ${BY_FIRMWARE}`);
  return undefined;
}

export function refuseCommandLine(merged: string): Failure | undefined {
  const bytes = Buffer.byteLength(merged);
  if (bytes <= MAX_COMMAND_LINE_BYTES) return undefined;
  return again('CommandLineTooLong', `the command line of the new kernel would have ${bytes} bytes, and it takes ${MAX_COMMAND_LINE_BYTES}: shorten that of the node's boot loader, ${BY_FIRMWARE}`);
}

/** Why the kernel did not take the image. */
export function describeStageError(errno: Errno, context: StageContext, stderr: string): Failure {
  return (STAGE_ERRORS[errno] ?? unexplained)(errno, context, stderr);
}

/** Why it did not give the image back. */
export function describeUnstageError(errno: Errno, facts: KexecFacts, stderr: string): Failure {
  const why = refuseKexec(facts)?.message ?? (stderr.trim().slice(-200) || 'nothing was printed');
  return again('UnstageFailed', `the image could not be taken out of the kernel (${errno}), and a reboot of this node may start it: ${why}`);
}

type Describe = (errno: Errno, context: StageContext, stderr: string) => Failure;

const rejected: Describe = (errno, { release, files: { image, initrd } }) =>
  forGood('ImageRejected', `the kernel refused ${image} (${errno}): it is damaged, or is no kernel that this one can start; install the package of ${release} again, which also makes ${initrd}`);
const unreadable: Describe = (errno, { files }, stderr) => again('BootUnreadable', `${files.image} or ${files.initrd} can not be read (${errno}): ${lastLine(stderr)}`);
const outOfMemory: Describe = (errno, { release }) => again('NotEnoughMemory', `there is no room for kernel ${release} and its initrd (${errno}): free some memory on the node, ${BY_FIRMWARE}`);
const untrusted: Describe = (errno, { files, facts }) =>
  facts.secureBoot === 'on'
    ? forGood('SecureBoot', `Secure Boot is on, and the kernel does not trust ${files.image} (${errno}): install a kernel that is signed with an enrolled key, ${BY_FIRMWARE}`)
    : forGood('SignatureRejected', `the kernel does not trust the signature of ${files.image} (${errno}): install a kernel that is signed with a key it trusts, ${BY_FIRMWARE}`);
const unexplained: Describe = (errno, { files }, stderr) =>
  forGood('StageFailed', `kexec failed for ${files.image} (${errno}): ${lastLine(stderr) || 'it printed nothing'}; the node's kernel log may say more`);

/** The kernel has one errno for all that is not allowed. */
const forbidden: Describe = (errno, context) => {
  const { facts, files } = context;
  const found = refuseKexec(facts);
  if (found !== undefined) return found;
  if (facts.lockdown === 'none' || facts.lockdown === 'unknown') return again('PermissionDenied', `the agent may not ask for a kexec (${errno}): no security module of the node may forbid it`);
  if (facts.secureBoot === 'on') return untrusted(errno, context, '');
  return forGood('LockedDown', `the kernel is locked down (${facts.lockdown}) and does not trust ${files.image} (${errno}): install a kernel that is signed with a key it trusts, ${BY_FIRMWARE}`);
};

const STAGE_ERRORS: Readonly<Partial<Record<Errno, Describe>>> = {
  // Of a kernel that has kexec: kexec_file_load did not know the image, and kexec_load is not there.
  ENOSYS: (errno, context, stderr) => (context.facts.supported === 'on' ? rejected(errno, context, stderr) : forGood('KexecUnsupported', `this kernel is built without kexec (${errno}): start one that has it, ${BY_FIRMWARE}`)),
  EPERM: forbidden,
  EACCES: unreadable,
  ENOENT: unreadable,
  EIO: unreadable,
  ETXTBSY: (errno, { files }) => again('ImageBusy', `${files.image} or ${files.initrd} is being written (${errno}): wait until the package is installed`),
  EBUSY: (errno) => again('KexecBusy', `the kernel is taking another image at this moment (${errno})`),
  ENOMEM: outOfMemory,
  EADDRNOTAVAIL: outOfMemory,
  EFBIG: outOfMemory,
  ENOEXEC: rejected,
  EINVAL: rejected,
  ENOTSUP: rejected,
  EKEYREJECTED: untrusted,
  ENOKEY: untrusted,
  ENODATA: untrusted,
  ENOPKG: untrusted,
  EBADMSG: untrusted,
  EMSGSIZE: untrusted,
  ELIBBAD: untrusted,
};

function lastLine(stderr: string): string {
  return stderr.trim().split('\n').at(-1)?.slice(-200) ?? '';
}

function again(reason: string, message: string): Failure {
  return { reason, message, retry: true };
}

function forGood(reason: string, message: string): Failure {
  return { reason, message, retry: false };
}
