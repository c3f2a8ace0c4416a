/** The one error class of kernel/ and daemonset/. Callers compare `code`, never the text. */

/**
 * HostUnreadable: a file of the node is there and can not be read (rights, I/O); look at the node's disk and the pod's mounts.
 * HostUnwritable: a sysfs file, the journal or the staging directory refused a write; `errno` says why.
 * FileTooLarge: a file is larger than its bound; the path is wrong, or the module was built with debug information: strip it.
 * NotAModule: the bytes are no ELF64 kernel module; copy or build the file again.
 * BootLoaderUnknown: the files of the boot loader do not tell what it starts next; the message says what in them.
 * CommandMissing: insmod or rmmod is not in the image; the image is broken.
 * CommandTimedOut: the command did not end in time; the kernel log of the node says where it hangs.
 */
export type KernelErrorCode = 'HostUnreadable' | 'HostUnwritable' | 'FileTooLarge' | 'NotAModule' | 'BootLoaderUnknown' | 'CommandMissing' | 'CommandTimedOut';

export class KernelPatchError<Code extends string = string> extends Error {
  override readonly name = 'KernelPatchError';
  readonly code: Code;

  constructor(code: Code, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The code of a KernelPatchError, or undefined for anything else. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof KernelPatchError ? error.code : undefined;
}

/** Node's own errno name (ENOENT) on a failed system call, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
