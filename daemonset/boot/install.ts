/** Puts on the node what loads its live patches at boot, and takes it away. Everything is looked at first, and only what differs is written. */
import { basename, dirname } from 'node:path';
import type { WantedLivePatch } from '../../crds/nodekernel.ts';
import type { KernelFacts } from '../../kernel/facts.ts';
import type { Host } from '../../kernel/host.ts';
import { readModuleFile } from '../../kernel/livepatch.ts';
import type { Refusal } from '../../kernel/preflight.ts';
import { refuseFile } from '../../kernel/preflight.ts';
import { voucherOf } from '../trust/vouch.ts';
import type { Verification } from '../trust/vouch.ts';
import { encodeManifest, parseManifest } from './manifest.ts';
import type { BootModule } from './manifest.ts';

/** In the directory of the journal, for its reason. */
export const BOOT_DIRECTORY = '/var/lib/misc/kernelpatch.boot';
export const UNIT_PATH = '/etc/systemd/system/kernelpatch-boot.service';
/** As `systemctl enable` makes it. systemd reads it at the next boot; nothing has to be told before. */
export const LINK_PATH = '/etc/systemd/system/sysinit.target.wants/kernelpatch-boot.service';
const LOADER = 'load.sh';
const MANIFEST = 'manifest';
/** 64 modules, each with a word of 64 characters, have 20 KiB. */
const MAX_TEXT_BYTES = 64 * 1024;

/** The files of this directory that are installed on the node as they are. */
export interface BootFiles {
  readonly loader: string;
  readonly unit: string;
}

export interface Installation {
  readonly files: BootFiles;
  readonly facts: KernelFacts;
  /** Not empty. */
  readonly modules: readonly BootModule[];
  /** Where the modules are copied from. */
  readonly wanted: readonly WantedLivePatch[];
  readonly verification: Verification;
}

/** What the manifest of the running kernel lists, of this build of it. Throws HostUnreadable, FileTooLarge. */
export async function readInstalled(host: Host, { release, buildID }: KernelFacts): Promise<readonly BootModule[]> {
  const text = await host.read(`${BOOT_DIRECTORY}/${release}/${MANIFEST}`, MAX_TEXT_BYTES);
  const { kernelBuildID, modules } = parseManifest(text?.toString('utf8') ?? '');
  return kernelBuildID === buildID ? modules : [];
}

/**
 * The next boot of this kernel loads these modules and no others, whenever the power fails meanwhile; and no other kernel loads any, since
 * what was kept for it may have been withdrawn. Returns why a module could not be copied; load.sh passes it over. Throws HostUnreadable, HostUnwritable.
 */
export async function install(host: Host, { files, facts, modules, wanted, verification }: Installation): Promise<Refusal | undefined> {
  const directory = `${BOOT_DIRECTORY}/${facts.release}`;
  // What is dropped goes first: this needs no space on the disk, and a manifest that still lists it loads nothing.
  await removeOthers(host, BOOT_DIRECTORY, [LOADER, facts.release]);
  await removeOthers(host, directory, [MANIFEST, ...modules.map(fileOf)]);
  await ensureText(host, `${BOOT_DIRECTORY}/${LOADER}`, files.loader);
  let refusal: Refusal | undefined;
  for (const module of modules) {
    if (!(await isThere(host, `${directory}/${fileOf(module)}`))) refusal = (await copy(host, directory, { wanted: wanted.find(({ sha256 }) => sha256 === module.sha256), verification, facts })) ?? refusal;
  }
  await ensureText(host, `${directory}/${MANIFEST}`, encodeManifest({ kernelBuildID: facts.buildID, modules }));
  await ensureText(host, UNIT_PATH, files.unit);
  if (!(await isThere(host, LINK_PATH))) await host.link(LINK_PATH, `../${basename(UNIT_PATH)}`);
  return refusal;
}

/** Nothing of it is left. Throws HostUnreadable, HostUnwritable. */
export async function uninstall(host: Host): Promise<void> {
  for (const path of [BOOT_DIRECTORY, LINK_PATH, UNIT_PATH]) if (await isThere(host, path)) await host.remove(path);
}

function fileOf({ sha256 }: BootModule): string {
  return `${sha256}.ko`;
}

async function isThere(host: Host, path: string): Promise<boolean> {
  return (await host.list(dirname(path)))?.some(({ name }) => name === basename(path)) ?? false;
}

async function removeOthers(host: Host, directory: string, names: readonly string[]): Promise<void> {
  for (const { name } of (await host.list(directory)) ?? []) if (!names.includes(name)) await host.remove(`${directory}/${name}`);
}

async function ensureText(host: Host, path: string, text: string): Promise<void> {
  const found = await host.read(path, MAX_TEXT_BYTES);
  if (found?.toString('utf8') !== text) await host.replace(path, text);
}

interface Copy extends Pick<Installation, 'verification' | 'facts'> {
  readonly wanted: WantedLivePatch | undefined;
}

async function copy(host: Host, directory: string, { wanted, verification, facts }: Copy): Promise<Refusal | undefined> {
  if (wanted === undefined) return undefined;
  const { bytes, finding } = await readModuleFile(host, wanted.hostPath, voucherOf(host, verification, wanted, facts));
  const refusal = refuseFile(wanted, finding);
  if (refusal === undefined) await host.replace(`${directory}/${wanted.sha256}.ko`, bytes);
  return refusal;
}
