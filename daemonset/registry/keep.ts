/**
 * Keeps on the node what it has fetched, by digest. What is kept is a file like any other: whoever uses it reads, digests and verifies it again, so nothing that
 * a power cut leaves of it, or that somebody else puts there, is ever loaded.
 */
import { basename } from 'node:path';
import type { Logger } from 'pino';
import { FETCHED_DIRECTORY, fetchedPath } from '../../crds/nodekernel.ts';
import type { WantedLivePatch } from '../../crds/nodekernel.ts';
import type { Clock } from '../../kernel/clock.ts';
import { KernelPatchError } from '../../kernel/errors.ts';
import type { Host } from '../../kernel/host.ts';
import { MAX_MODULE_BYTES } from '../../kernel/livepatch.ts';
import { parseReference } from '../../trust/artifact.ts';
import type { Mirror } from '../../trust/artifact.ts';
import { MAX_BUNDLE_BYTES } from '../../trust/envelope.ts';
import type { KeyRing } from '../../trust/keys.ts';
import { bundleNameOf, sha256Of, verifyFile } from '../../trust/verify.ts';
import { readRing } from '../trust/vouch.ts';
import type { Verification } from '../trust/vouch.ts';
import { fetchLivePatch } from './fetch.ts';
import type { Registry } from './host.ts';

export interface Registries {
  readonly registry: Registry;
  readonly mirrors: readonly Mirror[];
}

export interface KeepOptions extends Registries {
  readonly host: Host;
  readonly verification: Verification;
}

export interface Refused {
  readonly reason: string;
  readonly message: string;
}

/** With the path where its file is, or will be. Of one that is fetched this is never what somebody has written into the intent. */
export function placed(wanted: WantedLivePatch): WantedLivePatch {
  return wanted.image === undefined ? wanted : { ...wanted, hostPath: fetchedPath(wanted.sha256) };
}

/** The module and a bundle that is trusted are on the node, or what stands in the way. Fetches nothing that is there, and nothing that comes from no registry. */
export async function fetchIfMissing(options: KeepOptions, wanted: WantedLivePatch): Promise<Refused | undefined> {
  const { image, path, sha256 } = wanted;
  if (image === undefined) return undefined;
  const reference = parseReference(image);
  if (reference === undefined || path === undefined) return { reason: 'ArtifactMalformed', message: `${image} is no artifact by digest: correct source.image and source.path` };
  const { host, registry, mirrors, verification } = options;
  try {
    const ring = verification.policy === 'Off' ? undefined : await readRing(verification);
    if (await isKept(host, sha256, ring)) return undefined;
    const fetched = await fetchLivePatch({ registry, mirrors, ring }, { reference, path, sha256 });
    if (!fetched.ok) return fetched.refusal;
    await host.replace(bundleNameOf(fetchedPath(sha256)), fetched.bundle);
    await host.replace(fetchedPath(sha256), fetched.module);
    return undefined;
  } catch (error) {
    if (!(error instanceof KernelPatchError)) throw error;
    return { reason: error.code, message: `${error.message}: the live patch is kept there before it is loaded` };
  }
}

/** With a bundle that is not trusted any more it is fetched again: the artifact may have a newer one. */
async function isKept(host: Host, sha256: string, ring: KeyRing | undefined): Promise<boolean> {
  const path = fetchedPath(sha256);
  const module = await host.read(path, MAX_MODULE_BYTES);
  const bundle = await host.read(bundleNameOf(path), MAX_BUNDLE_BYTES);
  if (module === undefined || bundle === undefined || sha256Of(module) !== sha256) return false;
  return ring === undefined || verifyFile({ name: path, sha256, bundle }, ring).ok;
}

/** What somebody else puts there is found after this long. */
const LOOK_MILLISECONDS = 30_000;

export interface FetchedKeeper {
  /** Of what was fetched only what is still wanted is on the node; what can not be removed is logged, and tried again. */
  keep(wanted: readonly WantedLivePatch[]): Promise<void>;
}

export function makeFetchedKeeper(host: Host, clock: Clock, log: Logger): FetchedKeeper {
  let last: { readonly wanted: string; readonly at: number } | undefined;
  return {
    async keep(wanted) {
      const names = new Set(wanted.filter(({ image, desired }) => image !== undefined && desired === 'Loaded').map(({ sha256 }) => basename(fetchedPath(sha256))));
      const now = clock.monotonic();
      const decision = [...names].join();
      if (last?.wanted === decision && now - last.at < LOOK_MILLISECONDS) return;
      last = { wanted: decision, at: now };
      try {
        await keepOnly(host, names);
      } catch (error) {
        if (!(error instanceof KernelPatchError)) throw error;
        log.warn({ err: error }, 'what was fetched and is not wanted any more could not be removed');
      }
    },
  };
}

/** The directory goes with its last file. */
async function keepOnly(host: Host, names: ReadonlySet<string>): Promise<void> {
  const kept = new Set([...names].flatMap((name) => [name, bundleNameOf(name)]));
  const there = await host.list(FETCHED_DIRECTORY);
  if (there === undefined) return;
  if (kept.size === 0) await host.remove(FETCHED_DIRECTORY);
  else for (const { name } of there) if (!kept.has(name)) await host.remove(`${FETCHED_DIRECTORY}/${name}`);
}
