/** Which files the agent trusts: by the policy that the chart has set, never by an object that others write. */
import type { WantedLivePatch } from '../../crds/nodekernel.ts';
import { codeOf } from '../../kernel/errors.ts';
import type { Host } from '../../kernel/host.ts';
import type { Vouch } from '../../kernel/livepatch.ts';
import { refuseContent, refuseOrder, refuseRunning } from '../../trust/compare.ts';
import type { RunningKernel } from '../../trust/compare.ts';
import { MAX_BUNDLE_BYTES } from '../../trust/envelope.ts';
import { readKeys } from '../../trust/keys.ts';
import type { KeyFile, KeyRing } from '../../trust/keys.ts';
import type { TrustRefusal } from '../../trust/refusal.ts';
import { bundleNameOf, sha256Of, verifyFile } from '../../trust/verify.ts';

/** Require: nothing is loaded that no installed key has signed. Off: the digest alone counts. */
export const VERIFICATION_POLICIES = ['Require', 'Off'] as const;

export interface Verification {
  readonly policy: (typeof VERIFICATION_POLICIES)[number];
  /** The installed keys as they are now, or why they can not be read. */
  readonly readKeyFiles: () => Promise<readonly KeyFile[] | string>;
}

/** Nobody has to have signed anything. */
export const ANYBODY: Vouch = () => Promise.resolve(() => undefined);

/** For the file of this live patch, on the kernel that runs; undefined where only the file is in question. */
export function voucherOf(host: Host, verification: Verification, wanted: WantedLivePatch, running: RunningKernel | undefined): Vouch {
  if (verification.policy === 'Off') return ANYBODY;
  return async (sha256) => {
    const bundle = await readBundleFile(host, bundleNameOf(wanted.hostPath));
    if (!Buffer.isBuffer(bundle) && bundle !== undefined) return bundle;
    const judged = verifyFile({ name: wanted.hostPath, sha256, bundle }, await readRing(verification));
    if (!judged.ok) return judged.refusal;
    const { claims } = judged.value;
    return refuseOrder(wanted, claims) ?? (running && refuseRunning(running, claims)) ?? ((module) => refuseContent(module, claims));
  };
}

export async function readRing({ readKeyFiles }: Verification): Promise<KeyRing> {
  const files = await readKeyFiles();
  return typeof files === 'string' ? { keys: [], unusable: [files] } : readKeys(files);
}

/** Another text once the policy or a key is another one. */
export async function describeTrust({ policy, readKeyFiles }: Verification): Promise<string> {
  return policy === 'Off' ? policy : sha256Of(Buffer.from(JSON.stringify(await readKeyFiles())));
}

async function readBundleFile(host: Host, path: string): Promise<Buffer | TrustRefusal | undefined> {
  try {
    return await host.read(path, MAX_BUNDLE_BYTES);
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return { reason: 'SignatureMalformed', message: `${(error as Error).message}: it is to be the Sigstore bundle of the live patch` };
  }
}
