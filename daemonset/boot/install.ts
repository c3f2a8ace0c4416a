/** Puts on the node what loads its live patches at boot, and takes it away. Everything is looked at first, and only what differs is written. */
import { basename, dirname } from 'node:path';
import type { WantedLivePatch } from '../../crds/nodekernel.ts';
import type { KernelFacts } from '../../kernel/facts.ts';
import type { Host } from '../../kernel/host.ts';
import { readModuleFile } from '../../kernel/livepatch.ts';
import type { Refusal } from '../../kernel/preflight.ts';
import { refuseFile } from '../../kernel/preflight.ts';
import { MAX_BUNDLE_BYTES } from '../../trust/envelope.ts';
import { bundleNameOf } from '../../trust/verify.ts';
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
  /** The digests of the copies that were found to be trusted, by the keys that are installed now. What is found is added. */
  readonly vouched: Set<string>;
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
export async function install(host: Host, installation: Installation): Promise<Refusal | undefined> {
  const { files, facts, modules } = installation;
  const directory = `${BOOT_DIRECTORY}/${facts.release}`;
  // What is dropped goes first: this needs no space on the disk, and a manifest that still lists it loads nothing.
  await removeOthers(host, BOOT_DIRECTORY, [LOADER, facts.release]);
  await removeOthers(host, directory, [MANIFEST, ...modules.map(fileOf).flatMap((name) => [name, bundleNameOf(name)])]);
  await ensureText(host, `${BOOT_DIRECTORY}/${LOADER}`, files.loader);
  let refusal: Refusal | undefined;
  for (const module of modules) refusal = (await keepModule(host, `${directory}/${fileOf(module)}`, module, installation)) ?? refusal;
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

/** A copy that is trusted is at `path`, or none and the reason is returned: what nobody vouches for any more is not loaded by the next boot. */
async function keepModule(host: Host, path: string, { sha256 }: BootModule, { facts, wanted, verification, vouched }: Installation): Promise<Refusal | undefined> {
  const order = wanted.find((each) => each.sha256 === sha256);
  const there = await isThere(host, path);
  if (order === undefined || (there && vouched.has(sha256))) return undefined;
  const read = async (from: WantedLivePatch) => {
    const { bytes, finding } = await readModuleFile(host, from.hostPath, voucherOf(host, verification, from, facts));
    return { bytes, refusal: refuseFile(from, finding) };
  };
  const copy = { ...order, hostPath: path };
  if (!there || (await read(copy)).refusal !== undefined) {
    const { bytes, refusal } = await read(order);
    if (refusal !== undefined) {
      if (there) await host.remove(path);
      return refusal;
    }
    const bundle = await host.read(bundleNameOf(order.hostPath), MAX_BUNDLE_BYTES);
    if (bundle !== undefined) await host.replace(bundleNameOf(path), bundle);
    await host.replace(path, bytes);
  }
  vouched.add(sha256);
  return undefined;
}
