/** Everything that is checked before the kernel is asked to load a module. Pure over what was read. The first reason wins. */
import type { KernelFacts } from './facts.ts';
import type { ModuleInfo } from './elf.ts';
import { releaseOf } from './elf.ts';
import type { PatchedFunction } from './functions.ts';
import type { FunctionFacts } from './tracing.ts';

/** Why a module is not given to the kernel. */
export type RefusalReason =
  | 'BuildIDMismatch'
  | 'BuildIDUnknown'
  | 'DigestMismatch'
  | 'FileMissing'
  | 'FileTooLarge'
  | 'FileUnreadable'
  | 'FtraceDisabled'
  | 'FunctionAmbiguous'
  | 'FunctionInUse'
  | 'FunctionMissing'
  | 'FunctionNotTraceable'
  | 'LivePatchingUnavailable'
  | 'LockedDown'
  | 'ModulesDisabled'
  | 'NameMismatch'
  | 'NoBuildID'
  | 'NotALivePatch'
  | 'NotAModule'
  | 'NotEnoughMemory'
  | 'ReplaceMismatch'
  | 'SignatureRequired'
  | 'WouldHideForeign'
  | 'WrongKernel';

export interface Refusal {
  /** A RefusalReason, or why a file is not trusted. */
  readonly reason: string;
  readonly message: string;
}

/** What is asked for. */
export interface ModuleOrder {
  readonly name: string;
  readonly release: string;
  readonly buildID?: string | undefined;
  readonly hostPath: string;
  readonly sha256: string;
  /** It is said to be cumulative. */
  readonly replace: boolean;
}

/** A live patch in the kernel that somebody else answers for. */
export interface ForeignLivePatch {
  readonly name: string;
  /** Who loaded it, as far as it can be told, to stand behind "loaded by". */
  readonly owner: string;
  /** Of all its objects, as vmlinux:version_proc_show. */
  readonly functions: readonly string[];
}

/** What was found at hostPath. `invalid` says why the bytes are no module. */
export type FileFinding =
  | { readonly kind: 'Missing' }
  | { readonly kind: 'TooLarge'; readonly detail: string }
  | { readonly kind: 'Unreadable'; readonly detail: string }
  | { readonly kind: 'Distrusted'; readonly sha256: string; readonly refusal: Refusal }
  | { readonly kind: 'Read'; readonly sha256: string; readonly module: ModuleInfo | undefined; readonly invalid: string };

/** The file is the one that was asked for, and can be recognised in the kernel by its build id. */
export function refuseFile(order: ModuleOrder, file: FileFinding): Refusal | undefined {
  switch (file.kind) {
    case 'Missing':
      return refusal('FileMissing', `${order.hostPath} is not on this node: put the module there, or correct source.hostPath`);
    case 'TooLarge':
      return refusal('FileTooLarge', `${file.detail}: correct source.hostPath, or strip the module of its debug information`);
    case 'Unreadable':
      return refusal('FileUnreadable', `${file.detail}: check the file and the disk of this node`);
    case 'Distrusted':
      return refuseDigest(order, file.sha256) ?? file.refusal;
    case 'Read':
      return refuseDigest(order, file.sha256) ?? refuseContent(order, file.module, file.invalid);
    default:
      return file satisfies never;
  }
}

/** The kernel may be asked to load the file. */
export function refuseLoad(order: ModuleOrder, facts: KernelFacts, file: FileFinding): Refusal | undefined {
  return (
    refuseKernel(order, facts) ??
    refuseFile(order, file) ??
    (file.kind === 'Read' && file.module !== undefined ? refuseModule(order, facts, file.module) : undefined)
  );
}

/** While it is loaded a module is there three times: as read, in the memory file system for insmod, and in the kernel. */
const COPIES = 3;

/** There is room for the module. `availableBytes` of -1 is unknown. */
export function refuseMemory({ hostPath }: Pick<ModuleOrder, 'hostPath'>, moduleBytes: number, availableBytes: number): Refusal | undefined {
  if (availableBytes < 0 || availableBytes >= moduleBytes * COPIES) return undefined;
  return refusal('NotEnoughMemory', `loading ${hostPath} takes ${mebibytes(moduleBytes * COPIES)} MiB of memory, the node has ${mebibytes(availableBytes)} MiB available: free some, or strip the module of its debug information`);
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}

/** The kernel can hook every function that the module is to change. What is unknown does not refuse: the kernel is asked and answers itself. */
export function refuseFunctions(order: Pick<ModuleOrder, 'hostPath'>, release: string, functions: readonly FunctionFacts[]): Refusal | undefined {
  for (const facts of functions) {
    const found = refuseFunction(order.hostPath, release, facts);
    if (found !== undefined) return found;
  }
  return undefined;
}

function refuseFunction(hostPath: string, release: string, { function: { object, name, position }, symbols, traceable, user }: FunctionFacts): Refusal | undefined {
  const where = object === 'vmlinux' ? `kernel ${release}` : `module ${object} of kernel ${release}`;
  if (symbols === 0) return refusal('FunctionMissing', `${hostPath} patches ${name}, which ${where} does not have: build it from the sources of exactly this kernel`);
  if (symbols !== 'unknown' && position > symbols) {
    return refusal('FunctionMissing', `${hostPath} patches number ${position} of the functions ${name}, and ${where} has ${symbols}: correct old_sympos`);
  }
  if (symbols !== 'unknown' && symbols > 1 && position === 0) {
    return refusal('FunctionAmbiguous', `${hostPath} patches ${name}, and ${where} has ${symbols} functions of that name: say which one with old_sympos`);
  }
  if (traceable === false) {
    return refusal('FunctionNotTraceable', `${hostPath} patches ${name}, which can not be hooked in ${where} (notrace, noinstr or __init; it is not in available_filter_functions): patch its callers instead`);
  }
  if (user !== undefined) return refusal('FunctionInUse', `${hostPath} patches ${name}, and ${user} holds it in a way that leaves no room for a live patch: end that tracer`);
  return undefined;
}

/**
 * The module leaves the functions of other people's live patches alone. The kernel would take it, and then run its version of the function, which was
 * built without their fix, while it shows theirs as active.
 */
export function refuseHiding({ hostPath }: Pick<ModuleOrder, 'hostPath'>, functions: readonly PatchedFunction[], foreign: readonly ForeignLivePatch[]): Refusal | undefined {
  const labels = new Set(functions.map(({ object, name, position }) => `${object}:${name}${position > 1 ? `,${position}` : ''}`));
  for (const { name, owner, functions: theirs } of foreign) {
    const shared = theirs.find((label) => labels.has(label));
    if (shared !== undefined) {
      return refusal('WouldHideForeign', `${hostPath} patches ${shared}, as ${name} does, which was loaded by ${owner}: the fix of ${name} would be gone while both are shown as active. Have ${name} unloaded, or build one live patch of both`);
    }
  }
  return undefined;
}

function refusal(reason: RefusalReason, message: string): Refusal {
  return { reason, message };
}

function refuseDigest({ hostPath, sha256 }: ModuleOrder, found: string): Refusal | undefined {
  return found === sha256 ? undefined : refusal('DigestMismatch', `${hostPath} has sha256 ${found}, the KernelPatch asks for ${sha256}: replace the file, or correct sha256`);
}

function refuseContent(order: ModuleOrder, module: ModuleInfo | undefined, invalid: string): Refusal | undefined {
  const { hostPath } = order;
  if (module === undefined) return refusal('NotAModule', `${hostPath} is not a kernel module: ${invalid}. Build it again, and take the new sha256`);
  if (module.name !== order.name) {
    return refusal('NameMismatch', `${hostPath} is the module ${module.name}, the KernelPatch says ${order.name}: set livePatch.name to ${module.name}, or correct source.hostPath`);
  }
  if (!module.livePatch) return refusal('NotALivePatch', `${hostPath} is not marked as a live patch: build it with MODULE_INFO(livepatch, "Y")`);
  if (module.buildID === undefined) {
    return refusal('NoBuildID', `${hostPath} has no build id, so it can not be recognised once it is loaded: link it with --build-id=sha1`);
  }
  return undefined;
}

function refuseKernel(order: ModuleOrder, facts: KernelFacts): Refusal | undefined {
  if (facts.livePatching === 'Unavailable') {
    return refusal('LivePatchingUnavailable', `kernel ${facts.release} has no live patching (/sys/kernel/livepatch is missing): it needs CONFIG_LIVEPATCH, or a reboot into a fixed kernel`);
  }
  if (facts.release !== order.release) {
    return refusal('WrongKernel', `the node runs ${facts.release}, the live patch is for ${order.release}: list the live patch for ${facts.release} in the KernelPatch`);
  }
  if (order.buildID !== undefined && facts.buildID === 'unknown') {
    return refusal('BuildIDUnknown', `the build id of the running kernel can not be read, the live patch is for ${order.buildID}: check /sys/kernel/notes on the node`);
  }
  if (order.buildID !== undefined && facts.buildID !== order.buildID) {
    return refusal('BuildIDMismatch', `the running kernel has build id ${facts.buildID}, the live patch is for ${order.buildID}: list the live patch for this build in the KernelPatch`);
  }
  if (facts.modulesDisabled === 'on') {
    return refusal('ModulesDisabled', 'this kernel takes no modules until the next boot (kernel.modules_disabled=1): reboot without that setting');
  }
  if (facts.ftrace === 'off') {
    return refusal('FtraceDisabled', 'ftrace is off, and live patches work through it: run `sysctl kernel.ftrace_enabled=1` on the node');
  }
  return undefined;
}

function refuseModule(order: ModuleOrder, facts: KernelFacts, module: ModuleInfo): Refusal | undefined {
  const built = releaseOf(module);
  if (built !== facts.release) {
    return refusal('WrongKernel', `${order.hostPath} is built for kernel ${built}, the node runs ${facts.release}: put the module for ${facts.release} there`);
  }
  if (module.replace !== 'unknown' && module.replace !== order.replace) {
    const what = module.replace ? 'is cumulative, so loading it disables all other live patches' : 'is not cumulative, so loading it replaces nothing';
    return refusal('ReplaceMismatch', `${order.hostPath} ${what}, and the KernelPatch says replace: ${order.replace}: set replace: ${module.replace} there, or build the module again`);
  }
  if (module.signed) return undefined;
  if (facts.lockdown === 'integrity' || facts.lockdown === 'confidentiality') {
    return refusal('LockedDown', `the kernel is locked down (${facts.lockdown}) and ${order.hostPath} is not signed: sign it with a key that this kernel trusts`);
  }
  if (facts.signaturesEnforced === 'on') {
    return refusal('SignatureRequired', `the kernel takes signed modules only (module.sig_enforce) and ${order.hostPath} is not signed: sign it with a key that this kernel trusts`);
  }
  return undefined;
}
