/**
 * From what insmod and rmmod print to a reason. kmod ends with exit code 1 for every error and has the errno only in its message, as
 * strerror(3) in the C locale or as its own wording (kmod, tools/insmod.c, mod_strerror).
 */
import type { KernelFacts } from './facts.ts';

export type Errno =
  | 'EACCES' | 'EADDRNOTAVAIL' | 'EAGAIN' | 'EBADMSG' | 'EBUSY' | 'EEXIST' | 'EFBIG' | 'EINVAL' | 'EIO' | 'EKEYREJECTED' | 'ELIBBAD' | 'EMSGSIZE' | 'ENODATA' | 'ENODEV'
  | 'ENOENT' | 'ENOEXEC' | 'ENOKEY' | 'ENOMEM' | 'ENOPKG' | 'ENOSYS' | 'ENOTSUP' | 'EPERM' | 'ESRCH' | 'ETXTBSY' | 'unknown';

const TEXTS: readonly (readonly [text: string, errno: Errno])[] = [
  ['Invalid module format', 'ENOEXEC'],
  ['Exec format error', 'ENOEXEC'],
  ['Unknown symbol in module', 'ENOENT'],
  ['No such file or directory', 'ENOENT'],
  ['is not currently loaded', 'ENOENT'],
  ['Module has wrong symbol version', 'ESRCH'],
  ['No such process', 'ESRCH'],
  ['Invalid parameters', 'EINVAL'],
  ['Invalid argument', 'EINVAL'],
  ['Operation not permitted', 'EPERM'],
  ['Permission denied', 'EACCES'],
  ['Resource temporarily unavailable', 'EAGAIN'],
  ['is in use', 'EAGAIN'],
  ['Device or resource busy', 'EBUSY'],
  ['File exists', 'EEXIST'],
  ['Cannot allocate memory', 'ENOMEM'],
  ['Key was rejected by service', 'EKEYREJECTED'],
  ['Required key not available', 'ENOKEY'],
  ['Bad message', 'EBADMSG'],
  ['Function not implemented', 'ENOSYS'],
  ['No such device', 'ENODEV'],
  ['Input/output error', 'EIO'],
  ['Text file busy', 'ETXTBSY'],
  ['Cannot assign requested address', 'EADDRNOTAVAIL'],
  ['File too large', 'EFBIG'],
  ['Accessing a corrupted shared library', 'ELIBBAD'],
  ['Message too long', 'EMSGSIZE'],
  ['No data available', 'ENODATA'],
  ['Package not installed', 'ENOPKG'],
  ['Operation not supported', 'ENOTSUP'],
];

/** Only the last line counts (earlier ones may be warnings), and in it the end, behind the name of the module. */
export function parseErrno(stderr: string): Errno {
  const last = stderr.trim().split('\n').at(-1) ?? '';
  return TEXTS.find(([text]) => last.endsWith(text))?.[1] ?? 'unknown';
}

export interface Failure {
  readonly reason: string;
  readonly message: string;
  /** Whether asking again can help: the cause may go away without anybody changing the file or the kernel's settings. */
  readonly retry: boolean;
}

export interface LoadContext {
  readonly hostPath: string;
  readonly facts: Pick<KernelFacts, 'release' | 'ftrace' | 'lockdown' | 'modulesDisabled'>;
  /** Another live patch whose transition is running. */
  readonly otherTransition: string | undefined;
}

const KERNEL_LOG = "the node's kernel log (dmesg) names it";

const rejected = (errno: Errno, { hostPath, facts }: LoadContext): Failure =>
  failure('ModuleRejected', `the kernel refused ${hostPath} (${errno}): it is damaged, or was built with other headers or options than kernel ${facts.release}; build it with the headers of exactly this kernel`);
const signatureRejected = (errno: Errno, { hostPath }: LoadContext): Failure =>
  failure('SignatureRejected', `the kernel refused ${hostPath} (${errno}): it is not signed with a key that this kernel trusts; sign it with one that is enrolled on the node`);
const busyNow = (errno: Errno, { hostPath }: LoadContext): Failure => ({ reason: 'KernelBusy', message: `the kernel could not take ${hostPath} now (${errno})`, retry: true });
const unexplained = (errno: Errno, { hostPath }: LoadContext, stderr: string): Failure =>
  failure('LoadFailed', `insmod failed for ${hostPath} (${errno}): ${stderr.trim().slice(-200) || 'it printed nothing'}; the node's kernel log may say more`);

const LOAD_ERRORS: Readonly<Partial<Record<Errno, (errno: Errno, context: LoadContext, stderr: string) => Failure>>> = {
  ENOEXEC: rejected,
  ESRCH: rejected,
  EINVAL: (errno, { hostPath, facts }) =>
    failure('PatchNotApplicable', `the kernel refused ${hostPath} (${errno}): a function it patches is not in kernel ${facts.release}, is there more than once without a position, or can not be patched (notrace, noinstr, __init); ${KERNEL_LOG}`),
  ENOENT: (errno, { hostPath, facts }) =>
    failure('UnknownSymbol', `the kernel refused ${hostPath} (${errno}): it uses a symbol that kernel ${facts.release} does not have; ${KERNEL_LOG}`),
  EKEYREJECTED: signatureRejected,
  ENOKEY: signatureRejected,
  EBADMSG: signatureRejected,
  EPERM: describePermission,
  EACCES: describePermission,
  EBUSY: describeBusy,
  EEXIST: (errno) => ({ reason: 'AlreadyLoaded', message: `a module of this name was loaded at the same moment (${errno})`, retry: true }),
  EAGAIN: busyNow,
  ENOMEM: busyNow,
  ETXTBSY: busyNow,
};

/** Why the kernel did not take the module. */
export function describeLoadError(errno: Errno, context: LoadContext, stderr: string): Failure {
  return (LOAD_ERRORS[errno] ?? unexplained)(errno, context, stderr);
}

function failure(reason: string, message: string): Failure {
  return { reason, message, retry: false };
}

function describePermission(errno: Errno, { hostPath, facts }: LoadContext): Failure {
  if (facts.lockdown === 'integrity' || facts.lockdown === 'confidentiality') {
    return failure('LockedDown', `the kernel is locked down (${facts.lockdown}) and does not trust the signature of ${hostPath}: sign it with a key that this kernel trusts`);
  }
  if (facts.modulesDisabled === 'on') {
    return failure('ModulesDisabled', 'this kernel takes no modules until the next boot (kernel.modules_disabled=1): reboot without that setting');
  }
  return failure('PermissionDenied', `the agent may not load modules (${errno}): its pod must be privileged, and no security module of the node may forbid it`);
}

/** The kernel answers EBUSY to three things and says which only in its log; two of them can be read. */
function describeBusy(errno: Errno, { hostPath, facts, otherTransition }: LoadContext): Failure {
  if (facts.ftrace === 'off') {
    return failure('FtraceDisabled', 'ftrace is off, and live patches work through it: run `sysctl kernel.ftrace_enabled=1` on the node');
  }
  if (otherTransition !== undefined) {
    return { reason: 'TransitionInProgress', message: `the transition of live patch ${otherTransition} is running, and the kernel does one at a time (${errno})`, retry: true };
  }
  return { reason: 'FunctionInUse', message: `the kernel could not hook a function that ${hostPath} patches (${errno}): a kprobe or another tracer holds it; end that tracer`, retry: true };
}
