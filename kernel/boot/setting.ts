/**
 * Makes an installed kernel the one that GRUB starts: by default, or once. GRUB's own programs on the node do it (ADR 16); before they are asked its script is read as if they had been, and what its files say
 * afterwards counts.
 */
import type { Failure } from '../errno.ts';
import { KernelPatchError } from '../errors.ts';
import type { Host } from '../host.ts';
import { ON_THE_NODE, describeUnreachable, lastWords } from '../namespaces.ts';
import { chooseEntry, nameEntry, takesSavedEntry } from './choice.ts';
import { describeUnsaved, findGrub, mustBeGrub, readGrub, withEnvironment } from './grub.ts';
import type { Grub } from './grub.ts';
import { kernelOf, makeInstalledReader } from './installed.ts';
import { findGrubWriteObstacle } from './writable.ts';

/** What a boot into a kernel takes that GRUB does not start by default. */
export type Once =
  | { readonly needed: false }
  | { readonly needed: true; readonly directory: string; readonly entry: string };

/** They write a kilobyte. */
const TIMEOUT_MILLISECONDS = 30_000;

/** GRUB starts this kernel at every boot, or the reason why it does not. Safe to repeat: where it is so, nothing is done. */
export async function makeDefault(host: Host, release: string): Promise<Failure | undefined> {
  return orFailure(async () => {
    const { directory, grub, releaseBy, entry } = await look(host, release);
    if (releaseBy(byDefault(grub)) === release) return undefined;
    if (entry === undefined) return describeNoEntry(release);
    if (!takesSavedEntry(grub.config, grub.surroundings)) return { ...describeUnsaved(directory), retry: true };
    if (releaseBy(withEnvironment(grub, { next_entry: '', saved_entry: entry })) !== release) return describeNoEntry(release);
    const failure = await runOnNode(host, [programOf(directory, 'set-default'), entry]);
    if (failure !== undefined) return failure;
    const after = await look(host, release);
    return after.releaseBy(byDefault(after.grub)) === release ? undefined : describeUseless(directory, 'set-default', entry);
  });
}

/** Whether GRUB has to be told to start this kernel at the next boot, and can be. Nothing is changed. */
export async function planOnce(host: Host, release: string): Promise<Once | Failure> {
  return orFailure(async (): Promise<Once | Failure> => {
    const { directory, grub, releaseBy, entry } = await look(host, release);
    if (releaseBy(grub) === release) return { needed: false };
    const obstacle = await findGrubWriteObstacle(host, directory);
    if (obstacle !== undefined) return { ...obstacle, retry: true };
    if (entry === undefined || releaseBy(withEnvironment(grub, { next_entry: entry })) !== release) return describeNoEntry(release);
    return { needed: true, directory, entry };
  });
}

/** GRUB starts this kernel at the next boot and at no later one, unless it does so by default; or the reason why it does not. Safe to repeat. */
export async function startOnce(host: Host, release: string, once: Once): Promise<Failure | undefined> {
  if (!once.needed) return undefined;
  const { directory, entry } = once;
  return orFailure(async () => {
    const failure = await runOnNode(host, [programOf(directory, 'reboot'), entry]);
    if (failure !== undefined) return failure;
    const { grub, releaseBy } = await look(host, release);
    return releaseBy(grub) === release ? undefined : describeUseless(directory, 'reboot', entry);
  });
}

/** GRUB starts at the next boot what it starts by default, unless it was told to start once what is not this kernel. Safe to repeat. */
export async function forgetOnce(host: Host, release: string): Promise<Failure | undefined> {
  return orFailure(async () => {
    const { directory, grub, releaseBy } = await look(host, release);
    const { next_entry: told = '' } = Object.fromEntries(grub.surroundings.environment);
    return told === '' || releaseBy(grub) !== release ? undefined : runOnNode(host, [programOf(directory, 'editenv'), '-', 'unset', 'next_entry']);
  });
}

interface Look {
  readonly directory: string;
  readonly grub: Grub;
  /** The installed kernel that it starts; undefined: none. */
  readonly releaseBy: (grub: Grub) => string | undefined;
  readonly entry: string | undefined;
}

async function look(host: Host, release: string): Promise<Look> {
  await mustBeGrub(host);
  const found = await findGrub(host);
  const grub = await readGrub(host, found);
  const kernels = await makeInstalledReader(host).look();
  const entry = nameEntry(grub.config, grub.surroundings, release, (image) => kernelOf(image, kernels)?.release === release);
  // Their programs would take it for an option.
  return { directory: found.directory, grub, releaseBy: ({ config, surroundings }) => kernelOf(chooseEntry(config, surroundings).image, kernels)?.release, entry: entry?.startsWith('-') ? undefined : entry };
}

function byDefault(grub: Grub): Grub {
  return withEnvironment(grub, { next_entry: '' });
}

/** The RHEL family and SUSE have a 2 in the names of the programs, too. */
function programOf(directory: string, name: 'set-default' | 'reboot' | 'editenv'): string {
  return `${directory === '/boot/grub' ? 'grub' : 'grub2'}-${name}`;
}

async function runOnNode(host: Host, argv: readonly [string, ...string[]]): Promise<Failure | undefined> {
  const { exitCode, stderr } = await host.run([...ON_THE_NODE, ...argv], TIMEOUT_MILLISECONDS);
  return exitCode === 0 ? undefined : describeError(argv[0], stderr);
}

function describeError(program: string, stderr: string): Failure {
  const printed = lastWords(stderr);
  if (/^nsenter: .*(?:No such file|not found)/m.test(stderr)) return { reason: 'GrubProgramMissing', message: `there is no ${program} on the node (${printed}): install grub2-common on Debian, grub2-tools on the RHEL family`, retry: true };
  return describeUnreachable(stderr, `run ${program}`) ?? { reason: 'GrubProgramFailed', message: `${program} on the node failed (${printed})`, retry: true };
}

function describeNoEntry(release: string): Failure {
  return { reason: 'NoMenuEntry', message: `GRUB's menu has no entry for kernel ${release} that can be named: run update-grub on the node (grub2-mkconfig on the RHEL family), or install its package again`, retry: true };
}

function describeUseless(directory: string, name: 'set-default' | 'reboot', entry: string): Failure {
  return { reason: 'DefaultNotSet', message: `${programOf(directory, name)} "${entry}" has worked, and ${directory} says that GRUB starts another kernel all the same`, retry: true };
}

async function orFailure<T>(act: () => Promise<T>): Promise<T | Failure> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    return { reason: error.code, message: error.message, retry: true };
  }
}
