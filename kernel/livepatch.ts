/** The effects on the machine: load, disable, enable, remove. Each changes one thing and returns what the kernel answered. */
import { createHash } from 'node:crypto';
import type { Clock } from './clock.ts';
import type { ModuleInfo } from './elf.ts';
import { parseModule } from './elf.ts';
import { parseErrno } from './errno.ts';
import type { Errno } from './errno.ts';
import { KernelPatchError } from './errors.ts';
import type { Host } from './host.ts';
import { LIVEPATCH_DIRECTORY } from './patches.ts';
import type { FileFinding, Refusal } from './preflight.ts';

/** A bound, so that a wrong path can not fill the agent's memory. A cumulative live patch has a few MiB. */
export const MAX_MODULE_BYTES = 32 * 1024 * 1024;
/** insmod and rmmod took 0.3 s on an emulated node; a loaded one with slow ftrace hooks needs more. */
export const COMMAND_TIMEOUT_MILLISECONDS = 60_000;
/** After a disable the module stays held for up to 0.34 s (measured): rmmod answers EAGAIN until then. */
const REMOVE_TRIES = 20;
const REMOVE_PAUSE_MILLISECONDS = 100;

/** The bytes of a module with the finding about exactly these bytes. */
export interface ReadModule {
  readonly bytes: Buffer;
  readonly finding: FileFinding;
}

/**
 * Says of a file's digest why it is not trusted, or how to judge what is found in it. Nothing in the file is looked at before.
 */
export type Vouch = (sha256: string) => Promise<Refusal | ((module: ModuleInfo) => Refusal | undefined)>;

export type Answer = { readonly ok: true } | { readonly ok: false; readonly errno: Errno; readonly stderr: string };

/** Reads and judges the file once. What is loaded later are these bytes, never a second read of the path. */
export async function readModuleFile(host: Host, hostPath: string, vouch: Vouch): Promise<ReadModule> {
  const none = Buffer.alloc(0);
  try {
    const bytes = await host.read(hostPath, MAX_MODULE_BYTES);
    if (bytes === undefined) return { bytes: none, finding: { kind: 'Missing' } };
    return { bytes, finding: await judge(bytes, vouch) };
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    return { bytes: none, finding: { kind: error.code === 'FileTooLarge' ? 'TooLarge' : 'Unreadable', detail: error.message } };
  }
}

async function judge(bytes: Buffer, vouch: Vouch): Promise<FileFinding> {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const vouched = await vouch(sha256);
  if (typeof vouched !== 'function') return { kind: 'Distrusted', sha256, refusal: vouched };
  const parsed = tryParse(bytes);
  const refusal = parsed.module && vouched(parsed.module);
  return refusal === undefined ? { kind: 'Read', sha256, ...parsed } : { kind: 'Distrusted', sha256, refusal };
}

function tryParse(bytes: Buffer): { readonly module: ModuleInfo | undefined; readonly invalid: string } {
  try {
    return { module: parseModule(bytes), invalid: '' };
  } catch (error) {
    if (!(error instanceof KernelPatchError) || error.code !== 'NotAModule') throw error;
    return { module: undefined, invalid: error.message };
  }
}

/**
 * The kernel has taken the module and begun its transition, or has answered why not. `announce` is called when only the kernel is left to be
 * asked. The staged file is gone in every case. Repeating it is safe: a loaded name answers EEXIST. Throws HostUnwritable, CommandMissing,
 * CommandTimedOut, and what `announce` throws.
 */
export async function insertModule(host: Host, name: string, bytes: Buffer, announce: () => Promise<void>): Promise<Answer> {
  try {
    const path = await host.stage(`${name}.ko`, bytes);
    await announce();
    return await ask(host, ['insmod', path]);
  } finally {
    await host.clearStage();
  }
}

/**
 * Sets `enabled` of a live patch: 0 begins to disable it, or reverses its enabling; 1 reverses its disabling, and only that
 * (kernel/livepatch/core.c, enabled_store). Throws HostUnwritable, also when the kernel already has it so or the patch has left.
 */
export async function setEnabled(host: Host, name: string, enabled: boolean): Promise<void> {
  await host.writeSysfs(`${LIVEPATCH_DIRECTORY}/${name}/enabled`, enabled ? '1' : '0');
}

/** The module is gone, or the kernel has answered why not. Repeating it is safe. Throws CommandMissing, CommandTimedOut. */
export async function removeModule(host: Host, clock: Clock, name: string): Promise<Answer> {
  let answer: Answer = { ok: true };
  for (let tries = 0; tries < REMOVE_TRIES; tries += 1) {
    answer = await ask(host, ['rmmod', name]);
    if (answer.ok || answer.errno === 'ENOENT') return { ok: true };
    if (answer.errno !== 'EAGAIN' && answer.errno !== 'EBUSY') return answer;
    await clock.sleep(REMOVE_PAUSE_MILLISECONDS);
  }
  return answer;
}

async function ask(host: Host, argv: readonly [string, ...string[]]): Promise<Answer> {
  const { exitCode, stderr } = await host.run(argv, COMMAND_TIMEOUT_MILLISECONDS);
  return exitCode === 0 ? { ok: true } : { ok: false, errno: parseErrno(stderr), stderr };
}
